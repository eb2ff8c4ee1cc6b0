"""A model's folder: what is read is what was written, and what is damaged is said in one sentence."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from analytic import SCHEDULES
from carrara.backbone import MlpConfig, UNetConfig
from carrara.conditioning import AnyConditioner, LabelsConfig, UnconditionalConfig, VectorsConfig
from carrara.draw import Request, finish, sample
from carrara.errors import UserError
from carrara.model import DiffusionModel, ModelConfig, load_model
from carrara.noise import X0, Cosine, Edm, Eps, Flow, V, Velocity
from carrara.sample import Ddpm, DpmPp, Heun, Karras, SampleSettings, Trailing
from carrara.seeds import torch_generator
from carrara.store import OpenModel

LABELS = LabelsConfig(classes=("cat", "dog"))
CONDITIONERS: list[AnyConditioner] = [UnconditionalConfig(), LABELS, VectorsConfig(size=2)]
WISHES: dict[str, list[str | None]] = {
    "none": [None, None],
    "labels": ["cat:0.5+dog", None],
    "vectors": [None, "0.5,-1"],
}
POINTS = ModelConfig(
    shape=(2,), backbone=MlpConfig(width=8, depth=1), schedule=Cosine(), parameterization=V(), conditioner=LABELS
)
PICTURES = replace(
    POINTS,
    shape=(3, 8, 6),
    backbone=UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,), dropout=0.5),
    sample=SampleSettings(sampler=Ddpm(), grid=Trailing(), steps=4, guidance=2.0, clip=True),
)


def trained(config: ModelConfig = POINTS, seed: int = 0) -> DiffusionModel:
    with torch_generator(seed):
        model = DiffusionModel(config, about={"data": "none"})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.2 * torch.randn(parameter.shape)
    return model.eval()


def samples(model: DiffusionModel, wishes: list[str | None], seeds: list[int], batch: int = 64) -> Tensor:
    asked = Request(wishes=tuple(wishes), seeds=tuple(seeds), settings=model.config.sample)
    return finish(sample(OpenModel(model=model), asked, batch=batch))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    trained().save(tmp_path / "model", steps=3)
    return tmp_path / "model"


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_what_is_loaded_samples_to_the_bit_like_what_was_saved(schedule: Cosine, tmp_path: Path) -> None:
    for parameterization in (Eps(), X0(), V(), Flow(), Velocity(), Edm(sigma_data=0.7)):
        if parameterization.needs_signal and schedule(torch.ones(()))[0] == 0:
            continue
        for conditioner in CONDITIONERS:
            guidance = 1.0 if conditioner.kind == "none" else 1.5
            config = replace(
                POINTS,
                schedule=schedule,
                parameterization=parameterization,
                conditioner=conditioner,
                sample=SampleSettings(sampler=DpmPp(), steps=2, guidance=guidance),
            )
            model, folder = trained(config), tmp_path / f"{parameterization.kind} {conditioner.kind}"
            model.save(folder)
            loaded = load_model(folder)
            assert loaded.config == config
            assert loaded.digest() == model.digest()
            wishes = WISHES[conditioner.kind]
            first = samples(model, wishes, [0, 1])
            assert torch.equal(samples(loaded, wishes, [0, 1]), first)
            assert bool(first.isfinite().all())


def test_a_saved_model_knows_everything(tmp_path: Path) -> None:
    model = trained(PICTURES)
    model.save(tmp_path, step=7, metrics={"kid": 0.5}, note="ä")
    loaded = load_model(tmp_path)
    assert loaded.config == PICTURES
    assert loaded.about == {"data": "none", "step": 7, "metrics": {"kid": 0.5}, "note": "ä"}
    assert not loaded.training
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "conditioner.safetensors",
        "config.json",
        "denoiser.safetensors",
        "manifest.json",
    ]
    assert load_file(tmp_path / "conditioner.safetensors").keys() == {"table", "nothing"}
    assert torch.equal(samples(loaded, ["dog"], [5]), samples(model, ["dog"], [5]))


def test_the_digest_changes_with_any_weight_and_with_the_configuration() -> None:
    model = trained()
    digest = model.digest()
    assert len(digest) == 16
    assert trained().digest() == digest
    for parameter in model.parameters():
        before = parameter.data.view(-1)[0].clone()
        parameter.data.view(-1)[0] = before + 1e-6 * (1 + before.abs())
        assert model.digest() != digest
        parameter.data.view(-1)[0] = before
    assert model.digest() == digest
    other = DiffusionModel(replace(POINTS, sample=SampleSettings(steps=7)))
    other.load_state_dict(model.state_dict())
    assert other.digest() != digest


def edited(change: Callable[[dict[str, object]], None]) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        document = json.loads((folder / "config.json").read_text())
        change(document)
        (folder / "config.json").write_text(json.dumps(document))

    return edit


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def section(document: dict[str, object]) -> dict[str, object]:
    model = document["model"]
    assert isinstance(model, dict)
    return model


class Explosive:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "holds no model: there is no config.json in it"),
        (lambda folder: (folder / "config.json").write_text(""), "config.json' is damaged .*restore it"),
        (cut("config.json", 100), "config.json' is damaged .*restore it"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"), "config.json' is damaged"),
        (lambda folder: (folder / "config.json").write_text("[1, 2]"), "config.json' is damaged"),
        (lambda folder: (folder / "config.json").write_text('{"_class_name": "UNet2DModel"}'), "is damaged"),
        (
            edited(lambda d: d.update(format=2, carrara="9.0")),
            "newer Carrara, in format 2, .*update Carrara",
        ),
        (edited(lambda d: d.update(format="new")), "config.json' is damaged"),
        (edited(lambda d: d.update(model=None)), "config.json' is damaged"),
        (edited(lambda d: section(d).update(schedule="cosin")), "config.json' is damaged"),
        (edited(lambda d: section(d).pop("backbone")), "config.json' is damaged"),
        (edited(lambda d: section(d).update(shape=[3, 8, 8])), "describes no model that works: an MLP takes points"),
        (
            edited(lambda d: section(d).update(schedule="rectified_flow", parameterization="eps")),
            "describes no model that works: eps cannot be trained",
        ),
        (
            edited(lambda d: section(d).update(backbone={"kind": "mlp", "width": 6})),
            "safetensors' does not fit its config",
        ),
        (lambda folder: (folder / "denoiser.safetensors").unlink(), "denoiser.safetensors' is missing: restore it"),
        (cut("denoiser.safetensors", 200), "denoiser.safetensors' does not fit its config.json, or is damaged"),
        (cut("denoiser.safetensors", 0), "denoiser.safetensors' does not fit its config.json, or is damaged"),
        (cut("conditioner.safetensors", 60), "conditioner.safetensors' does not fit its config.json, or is damaged"),
        (
            lambda folder: (folder / "denoiser.safetensors").write_bytes(pickle.dumps(Explosive())),
            "denoiser.safetensors' does not fit its config.json, or is damaged",
        ),
        (
            lambda folder: (folder / "conditioner.safetensors").replace(folder / "denoiser.safetensors"),
            "safetensors' (does not fit|is missing)",
        ),
    ],
)
def test_damage_is_told_in_one_sentence(saved: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(saved)
    with pytest.raises(UserError, match=message) as error:
        load_model(saved)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_there_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no model"):
        load_model(tmp_path / "nothing")


def test_conditions_mix_wishes_and_silence() -> None:
    model = trained()
    told, null = model.conditions(["cat", None, "cat:0.5+dog:0.5", None]), model.conditions([None] * 4)
    assert told.vector is not None
    assert null.vector is not None
    table = model.conditioner.get_parameter("table")
    torch.testing.assert_close(told.vector[0], table[0])
    torch.testing.assert_close(told.vector[2], table.mean(0))
    assert torch.equal(told.vector[[1, 3]], null.vector[[1, 3]])
    assert torch.equal(null.vector, model.conditioner.get_parameter("nothing").expand(4, -1))


def test_conditions_of_an_unconditional_model_say_nothing() -> None:
    model = trained(replace(POINTS, conditioner=UnconditionalConfig()))
    assert model.conditions([None, None]).vector is None
    with pytest.raises(UserError, match="this model is unconditional, so it cannot be asked for 'cat'"):
        model.conditions([None, "cat"])


def test_guidance_needs_a_condition() -> None:
    model = trained(replace(POINTS, conditioner=UnconditionalConfig()))
    with pytest.raises(UserError, match=r"guidance 3 needs a model with a condition.*leave the guidance at 1"):
        model.settings(guidance=3.0)
    assert not model.guidable
    assert model.settings(guidance=1.0, steps=None) == model.config.sample
    assert trained().settings(guidance=3.0, steps=5) == SampleSettings(guidance=3.0, steps=5)


@pytest.mark.parametrize("sampler", [Ddpm(), DpmPp(), Heun()], ids=lambda s: s.kind)
def test_sample_k_is_the_same_alone_and_among_64(sampler: Ddpm) -> None:
    settings = replace(PICTURES.sample, sampler=sampler, grid=Karras(), steps=4)
    model = trained(replace(PICTURES, sample=settings))
    wishes: list[str | None] = [["cat", None, "dog"][k % 3] for k in range(64)]
    together = samples(model, wishes, list(range(64)))
    for size, count in ((1, 3), (7, 21)):
        parts = samples(model, wishes[:count], list(range(count)), batch=size)
        torch.testing.assert_close(parts, together[:count], atol=1e-4, rtol=1e-5)
        levels = [(127.5 * (x.clamp(-1, 1) + 1)).round() for x in (parts, together[:count])]
        assert (levels[0] - levels[1]).abs().max() <= 1
    last = samples(model, [wishes[63]], [63])
    torch.testing.assert_close(last, together[63:], atol=1e-4, rtol=1e-5)
    assert together.flatten(1).unique(dim=0).shape[0] == 64


def test_the_wish_and_its_guidance_change_the_sample() -> None:
    model = trained(PICTURES)
    cat, dog, none = samples(model, ["cat", "dog", None], [3, 3, 3])
    assert (cat - dog).abs().max() > 1e-2
    assert (cat - none).abs().max() > 1e-2
    asked = Request(wishes=("cat",), seeds=(3,), settings=model.settings(guidance=6.0))
    strong = finish(sample(OpenModel(model=model), asked))
    assert (cat - strong[0]).abs().max() > 1e-2


def test_sampling_leaves_torch_as_it_was() -> None:
    state, model = torch.get_rng_state(), trained()
    asked = Request(wishes=("cat",), seeds=(0,), settings=SampleSettings(sampler=Ddpm(), steps=2))
    for _ in sample(OpenModel(model=model), asked):
        assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
