"""Pictures drawn again, in part and beyond their edges: what is kept is kept exactly."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from carrara.autoencoder import VaeConfig
from carrara.backbone import MlpConfig
from carrara.draw import Drawing, editable, finish
from carrara.draw.edit import feathered, img2img, inpaint, latents_in, placed, rest
from carrara.errors import UserError
from carrara.model import Autoencoder, AutoencoderConfig, DiffusionModel
from carrara.noise import Cosine
from carrara.pixels import to_uint8
from carrara.sample import Repaint, SampleSettings, Uniform
from carrara.seeds import Draws
from drawings import LATENTS, PIXELS, awake, drawing_of

CONFIGS = {"pixels": PIXELS, "latents": LATENTS}
HOW = Repaint(resamplings=2)


@cache
def model(name: str) -> DiffusionModel:
    return awake(CONFIGS[name])


def asked(name: str, *seeds: int, **changes: Any) -> Drawing:
    settings = SampleSettings(**{"steps": 4, **changes})
    return drawing_of(model(name), *["dog"] * len(seeds), seeds=seeds, settings=settings)


def texture(height: int, width: int) -> Tensor:
    """A picture (1, 3, H, W) of values that 8 bits hold."""
    value = (Draws(0, torch.tensor([1])).uniform("texture", 3, height, width) * 256).floor().clamp(0, 255)
    return value / 127.5 - 1


def some(height: int, width: int) -> Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[2:5, 3:6] = True
    return mask


@pytest.mark.parametrize(("strength", "steps"), [(1.0, 20), (0.6, 12), (0.59, 11), (0.05, 1)])
def test_the_strength_says_how_many_steps_run(strength: float, steps: int) -> None:
    times = rest(Uniform()(20, Cosine()), strength)
    assert len(times) - 1 == steps
    assert strength - 0.05 < times[0].item() <= strength + 1e-9


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan"), 0.01])
def test_a_strength_that_is_none(strength: float) -> None:
    with pytest.raises(UserError, match="strength"):
        rest(Uniform()(20, Cosine()), strength)


def test_no_strength_keeps_the_picture() -> None:
    x = texture(8, 8)
    assert torch.equal(finish(img2img(asked("pixels", 1, 2), x, 0.0)), x.expand(2, -1, -1, -1))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_seed_gives_the_same_in_any_batch_and_size(name: str) -> None:
    x = texture(10, 15)
    together = finish(img2img(asked(name, 5, 6, 7), x, 0.5))
    assert together.shape == (3, 3, 10, 15)
    assert not torch.equal(together[0], together[1])
    torch.testing.assert_close(finish(img2img(asked(name, 6), x, 0.5))[0], together[1], rtol=1e-4, atol=1e-4)
    alone = finish(img2img(asked(name, 5, 6, 7), x, 0.5, batch=1))
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "feather"), [("pixels", 0), ("pixels", 1), ("latents", 0), ("latents", 3)])
def test_untouched_pixels_are_bit_equal(name: str, feather: int) -> None:
    x, mask = texture(17, 13), some(17, 13)
    made = finish(inpaint(asked(name, 1, 2), x, mask, HOW, feather=feather))
    changed = torch.from_numpy((to_uint8(made) != to_uint8(x)).any(-1))
    assert not bool(changed[:, feathered(mask, feather) == 0].any())
    assert bool(changed[:, mask].double().mean() > 0.9)
    beside = (feathered(mask, feather) > 0) & ~mask
    assert bool(changed[:, beside].any()) == (name == "latents" and feather > 0)


def test_in_pixels_what_the_mask_hides_has_no_influence() -> None:
    x, mask = texture(8, 8), some(8, 8)
    other = torch.where(mask, -x, x)
    made = [finish(inpaint(asked("pixels", 3), of, mask, HOW)) for of in (x, other)]
    assert torch.equal(*made)


def test_each_touched_latent_is_new() -> None:
    new = latents_in(model("latents"), some(17, 13))
    step = round(16 / model("latents").latent_shape[1])
    expected = {(row // step, column // step) for row in range(2, 5) for column in range(3, 6)}
    assert {(int(a), int(b)) for a, b in new[0, 0].nonzero()} == expected


def test_the_feather_falls_in_equal_steps() -> None:
    mask = torch.zeros(5, 9, dtype=torch.bool)
    mask[:, :2] = True
    torch.testing.assert_close(feathered(mask, 3)[2], torch.tensor([1, 1, 0.75, 0.5, 0.25, 0, 0, 0, 0]))
    assert torch.equal(feathered(mask, 0), mask.float())


@pytest.mark.parametrize("name", CONFIGS)
def test_outpainting_keeps_the_picture(name: str) -> None:
    x = texture(8, 10)
    made = finish(inpaint(asked(name, 1), *placed(x, (12, 18), (3, 5)), HOW))
    assert made.shape == (1, 3, 12, 18)
    assert torch.equal(torch.from_numpy(to_uint8(made[..., 3:11, 5:15])), torch.from_numpy(to_uint8(x)))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.zeros(8, 8, dtype=torch.bool), "black everywhere"),
        (torch.ones(8, 8, dtype=torch.bool), "white everywhere"),
        (some(8, 9), "the mask is 8x9 and the picture 8x8"),
    ],
)
def test_masks_that_do_not_fit(mask: Tensor, words: str) -> None:
    with pytest.raises(UserError, match=words):
        finish(inpaint(asked("pixels", 1), texture(8, 8), mask))


def test_what_cannot_be_edited_is_told() -> None:
    points = DiffusionModel(replace(PIXELS, shape=(2,), backbone=MlpConfig(width=8, depth=1)))
    coded = replace(points.config, shape=(3, 8, 8), first_stage=VaeConfig(latents=(4,), hidden=8))
    for wrong, words in (
        (points, "points"),
        (Autoencoder(AutoencoderConfig(shape=(3, 8, 8), first_stage=coded.first_stage)), "without diffusion"),
    ):
        with pytest.raises(UserError, match=words):
            editable(wrong)
    with pytest.raises(UserError, match="without places"):
        finish(inpaint(drawing_of(DiffusionModel(coded), "dog"), texture(8, 8), some(8, 8)))
    with pytest.raises(UserError, match="does not hold"):
        placed(texture(8, 8), (8, 7), (0, 0))
    with pytest.raises(UserError, match="feather of -1"):
        feathered(some(8, 8), -1)
