"""Pictures of other sizes than the model's own, as a whole and by windows."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import drawings
from carrara.autoencoder import IdentityConfig, KlConfig, VaeConfig
from carrara.backbone import DiTConfig, MlpConfig
from carrara.errors import UserError
from carrara.medium import read_size
from carrara.model import Autoencoder, AutoencoderConfig, DiffusionModel, Model, ModelConfig
from carrara.sample import SampleSettings
from carrara.store import OpenModel
from carrara.toolkit import Toolkit
from drawings import awake, drawn

PIXELS = replace(drawings.PIXELS, sample=SampleSettings(steps=2, guidance=2.0))
PATCHES = replace(PIXELS, backbone=DiTConfig(width=8, depth=1, heads=2))
LATENTS = replace(drawings.LATENTS, sample=PIXELS.sample)
POINTS = replace(PIXELS, shape=(2,), backbone=MlpConfig(width=8, depth=1))
VAE = VaeConfig(latents=(4,), hidden=8)
CODED = replace(POINTS, shape=(3, 8, 8), first_stage=VAE)
MODELS = {"pixels": PIXELS, "patches": PATCHES, "latents": LATENTS}


def made(of: Model, seeds: list[int], **options: Any) -> Tensor:
    wish = "cat" if isinstance(of, DiffusionModel) else None
    return drawn(of, *[wish] * len(seeds), seeds=tuple(seeds), **options)


@pytest.mark.parametrize("size", [(4, 4), (9, 31), (32, 12)])
@pytest.mark.parametrize("name", MODELS)
def test_any_size(name: str, size: tuple[int, int]) -> None:
    of = awake(MODELS[name])
    together = made(of, [5, 6, 7], size=size)
    assert together.shape == (3, 3, *size)
    assert bool(together.isfinite().all())
    torch.testing.assert_close(made(of, [6], size=size)[0], together[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_the_models_own_size_is_the_same_as_none(name: str) -> None:
    of = awake(MODELS[name])
    own = (of.shape[1], of.shape[2])
    assert torch.equal(made(of, [1, 2], size=own), made(of, [1, 2]))
    torch.testing.assert_close(made(of, [1, 2], tile=own), made(of, [1, 2]))


@pytest.mark.parametrize(("name", "tile", "window"), [("pixels", (8, 6), (8, 6)), ("latents", (16, 10), (4, 3))])
def test_the_network_sees_windows_alone(name: str, tile: tuple[int, int], window: tuple[int, int]) -> None:
    of, seen = awake(MODELS[name]), set[tuple[int, ...]]()
    of.denoiser.backbone.register_forward_pre_hook(lambda _, inputs: seen.add(tuple(inputs[0].shape[2:])))
    assert made(of, [1], size=(24, 40), tile=tile).shape == (1, 3, 24, 40)
    assert seen == {window}


def test_fewer_large_pictures_are_made_at_a_time() -> None:
    of, seen = awake(PIXELS), list[int]()
    of.denoiser.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    made(of, [1, 2, 3], size=(16, 16), batch=8)
    assert set(seen) == {2 * 1, 2 * 2}  # both sides of guidance at once
    seen.clear()
    made(of, [1, 2, 3], size=(4, 4), batch=2)
    assert set(seen) == {2 * 1, 2 * 2}  # both sides of guidance at once


@pytest.mark.parametrize(
    ("of", "size", "words"),
    [
        (PIXELS, (2, 8), "pictures of 2x8 cannot be made: take edges of 4 or more"),
        (PIXELS, (100_000, 100_000), "at most 67 million pixels"),
        (POINTS, (8, 8), "points, which have no size"),
        (CODED, (16, 16), "made for samples of shape"),
    ],
)
@pytest.mark.parametrize("option", ["size", "tile"])
def test_sizes_that_cannot_be_made(of: ModelConfig, size: tuple[int, int], words: str, option: str) -> None:
    with pytest.raises(UserError, match=words):
        made(awake(of), [1], **{option: size})


@pytest.mark.parametrize("first_stage", [VAE, KlConfig(channels=8, multipliers=(1,), blocks=1)])
def test_an_autoencoder_has_no_other_size(first_stage: Any) -> None:
    of = Autoencoder(AutoencoderConfig(shape=(3, 8, 8), first_stage=first_stage)).eval()
    with pytest.raises(UserError, match="one size"):
        made(of, [1], size=(8, 16))


def test_the_other_front_door() -> None:
    model = Toolkit(OpenModel(model=awake(replace(PIXELS, first_stage=IdentityConfig()))))
    (picture,) = model.generate("cat", size=(8, 12), tile=6)
    assert picture.size == (12, 8), "Pillow says width first"
    assert model.samples("cat", count=1, size="8x12").shape == (1, 3, 8, 12)


@pytest.mark.parametrize(("said", "meant"), [("96x64", (96, 64)), ("96", (96, 96)), (7, (7, 7)), ((3, 4), (3, 4))])
def test_what_a_size_is(said: Any, meant: tuple[int, int]) -> None:
    assert read_size(said) == meant
    assert read_size(None) is None


@pytest.mark.parametrize("said", ["", "x", "96x", "96x64x3x2", "-5", "big", "1.5"])
def test_what_no_size_is(said: str) -> None:
    with pytest.raises(UserError, match="is no size: say height x width"):
        read_size(said)
