"""What a recipe leaves open is filled in from the data, and every choice has a reason."""

from dataclasses import replace

import pytest
import torch

from carrara.backbone import MlpConfig, UNetConfig
from carrara.conditioning import AnyConditioner, LabelsConfig, UnconditionalConfig, VectorsConfig
from carrara.data import DataInfo
from carrara.errors import UserError
from carrara.recipe import build
from carrara.recipe.loading import load
from carrara.recipe.resolve import differences, resolve
from carrara.recipe.schema import Recipe

PHOTOS = DataInfo(name="photos", channels=3, native=(480, 640), classes=("cat", "dog"))


def told(conditioner: str, info: DataInfo) -> AnyConditioner | None:
    return resolve(load("pixel", [f"model.conditioner={conditioner}"]), info, "cpu").recipe.model.conditioner


@pytest.mark.parametrize(
    ("native", "device", "size", "reason"),
    [
        ((480, 640), "cpu", (32, 40), "480x640 at the median; at most 32 on a CPU"),
        ((640, 480), "cuda", (88, 64), "at most 64 on a CUDA"),
        ((32, 32), "cpu", (32, 32), "their own size"),
        ((16, 16), "cuda", (16, 16), "their own size"),
        ((20, 20), "cpu", (16, 16), "the nearest size that a network halves well"),
        ((5, 5), "cpu", (8, 8), "the nearest size that a network halves well"),
        ((16, 48), "cpu", (16, 48), "their own size"),
    ],
)
def test_sizes(native: tuple[int, int], device: str, size: tuple[int, int], reason: str) -> None:
    resolved = resolve(load("pixel"), replace(PHOTOS, native=native), device)
    assert resolved.recipe.data.size == size
    assert reason in next(r for r in resolved.reasons if r.startswith("size "))


def test_a_size_that_is_given_is_kept_without_a_reason() -> None:
    resolved = resolve(load("pixel", ["data.size=[24, 40]", "data.channels=1"]), PHOTOS, "cpu")
    assert (resolved.recipe.data.size, resolved.recipe.data.channels) == ((24, 40), 1)
    assert not any(reason.startswith(("size", "1 channels")) for reason in resolved.reasons)


@pytest.mark.parametrize(("has", "gets"), [(1, 1), (3, 3), (4, 3), (5, 5)])
def test_channels(has: int, gets: int) -> None:
    resolved = resolve(load("pixel"), replace(PHOTOS, channels=has), "cpu")
    assert resolved.recipe.data.channels == gets
    kept = "transparency is laid over white; data.channels=4 keeps it"
    assert any(kept in reason for reason in resolved.reasons) == (has == 4)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("side", [4, 8, 9, 16, 17, 24, 32, 48, 64, 100, 128, 256, 512, 1024])
def test_the_network_fits_any_size(side: int, device: str) -> None:
    resolved = resolve(load("pixel", [f"data.size={side}"]), PHOTOS, device)
    network = resolved.recipe.model.backbone
    assert isinstance(network, UNetConfig)
    lowest = side / 2 ** (len(network.multipliers) - 1)
    assert lowest >= 2
    if side <= 256:
        assert lowest <= 8
        assert network.attention_levels
        assert side / 2 ** min(network.attention_levels) < 9
    with torch.device("meta"):
        network.build((3, side, side))


@pytest.mark.parametrize(("side", "levels", "attention"), [(8, 2, (0, 1)), (16, 2, (1,)), (32, 3, (2,)), (64, 4, (3,))])
def test_the_usual_networks(side: int, levels: int, attention: tuple[int, ...]) -> None:
    network = resolve(load("pixel", [f"data.size={side}"]), PHOTOS, "cpu").recipe.model.backbone
    assert isinstance(network, UNetConfig)
    assert (len(network.multipliers), network.attention_levels) == (levels, attention)


def test_pixels_on_a_cpu_have_a_narrow_network_from_24_pixels_on() -> None:
    def width(side: int, device: str, *changes: str) -> tuple[int, tuple[int, ...], int]:
        network = resolve(load("pixel", [f"data.size={side}", *changes]), PHOTOS, device).recipe.model.backbone
        assert isinstance(network, UNetConfig)
        return network.channels, network.multipliers, network.blocks

    assert width(32, "cpu") == (32, (1, 2, 4), 1)
    assert width(16, "cpu") == (64, (1, 2), 2)
    assert width(32, "cuda") == (128, (1, 2, 2), 2)
    latents = "model.first_stage={kind: kl, channels: 32, multipliers: [1, 2, 2]}"
    assert width(128, "cpu", latents) == (64, (1, 2, 2), 2)


def test_points_get_a_perceptron() -> None:
    recipe = Recipe.model_validate({"train": {"steps": 1}, "data": {"source": "swissroll"}})
    resolved = resolve(recipe, DataInfo(name="swissroll", dimension=2), "cpu")
    assert resolved.recipe.model.backbone == MlpConfig()
    assert resolved.recipe.data.size is None
    assert build.model(resolved.recipe).latent_shape == (2,)


def test_what_the_data_has_becomes_the_condition() -> None:
    assert told("null", PHOTOS) == LabelsConfig(classes=("cat", "dog"))
    plain = replace(PHOTOS, classes=())
    assert told("null", replace(plain, vector_size=5)) == VectorsConfig(size=5)
    assert told("null", plain) == UnconditionalConfig()
    assert told("null", replace(PHOTOS, classes=("all",))) == UnconditionalConfig()
    assert told("none", PHOTOS) == UnconditionalConfig()
    assert told("labels", PHOTOS) == told("{kind: labels, classes: [cat, dog]}", PHOTOS)
    assert told("vectors", replace(plain, vector_size=5)) == VectorsConfig(size=5)


@pytest.mark.parametrize(
    ("conditioner", "message"),
    [
        ("labels", "is labels, but the data has none: make one sub-folder per class"),
        ("vectors", 'is vectors, but the data has none: put "vector" into metadata.jsonl'),
        ("{kind: labels, classes: [cat]}", "classes are cat, but the data's are none: leave them out"),
        ("{kind: vectors, size: 3}", "size is 3, but the data has 0 numbers per picture: leave it out"),
    ],
)
def test_what_the_data_does_not_have_is_refused(conditioner: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        told(conditioner, replace(PHOTOS, classes=()))


@pytest.mark.parametrize("classes", ["[dog, cat]", "[cat]", "[cat, dog, hat]"])
def test_other_classes_than_the_data_s_are_refused(classes: str) -> None:
    """The column's order is the data's: other names would be silently wrong."""
    with pytest.raises(UserError, match="but the data's are cat, dog"):
        told(f"{{kind: labels, classes: {classes}}}", PHOTOS)


def test_resolving_twice_changes_nothing_and_gives_no_reasons() -> None:
    once = resolve(load("pixel"), PHOTOS, "cpu")
    assert [reason.partition(":")[0] for reason in once.reasons] == ["size 32x40", "3 channels", "condition", "network"]
    again = resolve(once.recipe, PHOTOS, "cpu")
    assert again.recipe == once.recipe
    assert again.reasons == ()
    assert build.model(once.recipe).latent_shape == (3, 32, 40)


def test_a_preset_s_own_choices_are_kept() -> None:
    recipe = load("ddpm-cifar")
    assert resolve(recipe, replace(PHOTOS, classes=()), "cpu").recipe == recipe


def test_what_cannot_be_built_is_told_in_one_sentence() -> None:
    for overrides, message in (
        (["model.backbone=mlp"], "cannot be built: an MLP takes points"),
        (["model.schedule=rectified_flow", "model.parameterization=eps"], "cannot be built: eps cannot be trained"),
    ):
        with pytest.raises(UserError, match=message):
            build.model(resolve(load("pixel", overrides), PHOTOS, "cpu").recipe)
    with pytest.raises(UserError, match="leaves the network open"):
        build.model(load("pixel", ["data.size=8", "data.channels=1"]))


def test_differences_name_the_key_and_both_values() -> None:
    old, new = ({"data": {"size": s, "flip": True}, "seed": 0} for s in (16, 32))
    assert list(differences(old, new)) == ["data.size is 16, not 32"]
    assert list(differences(old, old)) == []
