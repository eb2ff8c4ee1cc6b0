"""Sounds and volumes are drawn, measured, saved and loaded as pictures are; no picture alone holds what they are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from carrara.backbone import DiTConfig, UNetConfig
from carrara.draw import Ask, collect, editable, request, sample
from carrara.errors import UserError
from carrara.measure.likelihood import diffusion_bound, flow_bound
from carrara.medium import medium_of
from carrara.model import DiffusionModel, ModelConfig, load_model
from carrara.noise import Cosine, V
from carrara.sample import SampleSettings
from carrara.seeds import Draws, torch_generator
from carrara.store import OpenModel
from carrara.types import Batch

SHAPES = {"sounds": (1, 64), "volumes": (1, 8, 8, 8)}
CALLED = {"sounds": "curves", "volumes": "volumes"}
NAMES = pytest.mark.parametrize("name", SHAPES)


def model(name: str) -> DiffusionModel:
    config = ModelConfig(
        shape=SHAPES[name],
        backbone=UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,)),
        schedule=Cosine(steps=20),
        parameterization=V(),
        sample=SampleSettings(steps=3),
    )
    with torch_generator(0):
        made = DiffusionModel(config).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter += 0.05 * torch.randn(parameter.shape)
    return made


@NAMES
def test_samples_are_those_of_their_seeds_and_written_as_numbers(name: str, tmp_path: Path) -> None:
    opened = OpenModel(model=model(name))
    made = collect(opened, request(opened, Ask(count=5)), strip=True)
    assert made.values.shape == (5, *SHAPES[name])
    alone = collect(opened, request(opened, Ask(count=1, seed=3)))
    torch.testing.assert_close(alone.values[0], made.values[3])
    paths = made.save(tmp_path, {})
    assert [path.name for path in paths] == ["grid.png", "strip.png", "samples.npy"]
    np.testing.assert_array_equal(np.load(paths[-1]), made.values.numpy())


@NAMES
def test_other_sizes_can_be_asked_of_what_draws_them(name: str) -> None:
    opened = OpenModel(model=model(name))
    larger = tuple(2 * edge for edge in opened.model.size)
    asked = request(opened, Ask(count=1, size=larger))
    *_, last = sample(opened, asked)
    assert last.pixels is not None
    assert last.pixels.shape[2:] == larger
    by_windows = request(opened, Ask(count=1, size=larger, tile=opened.model.size))
    assert collect(opened, by_windows).values.shape[2:] == larger


@NAMES
def test_a_size_of_pictures_is_refused(name: str) -> None:
    opened = OpenModel(model=model(name))
    with pytest.raises(UserError, match=f"{CALLED[name]} of 16x24 cannot be made: this model's are"):
        next(iter(sample(opened, request(opened, Ask(size="16x24")))))


@NAMES
def test_likelihoods_are_densities_per_dimension(name: str) -> None:
    made, position = model(name), torch.arange(2)
    batch = Batch(x=Draws(1, position).normal("x", *SHAPES[name]), position=position)
    bound = diffusion_bound(made, batch, Draws(0, position), evaluations=None)
    assert bound.dimensions == made.latents_of(None)[0] * batch.x[0, 0].numel()
    flow = flow_bound(made, batch, Draws(0, position), steps=4)
    for cost in (bound, flow):
        assert cost.nats.isfinite().all()
        assert cost.nats.shape == (2,)


@NAMES
def test_a_saved_model_is_the_same_one(name: str, tmp_path: Path) -> None:
    before = model(name)
    before.save(tmp_path)
    after = load_model(tmp_path)
    assert after.digest() == before.digest()
    assert after.shape == SHAPES[name]


@NAMES
def test_nothing_else_is_called_a_picture(name: str) -> None:
    assert medium_of(SHAPES[name]).name == CALLED[name]
    assert medium_of(SHAPES[name]).single(torch.zeros(SHAPES[name])) is None
    with pytest.raises(UserError, match=f"this model makes {CALLED[name]}, and pictures are edited"):
        editable(model(name))


def test_what_was_padded_is_cut_off_along_every_axis() -> None:
    config = ModelConfig(
        shape=(2, 30),
        backbone=DiTConfig(width=16, depth=1, heads=2, patch=4),
        schedule=Cosine(),
        parameterization=V(),
    )
    made = DiffusionModel(config)
    assert made.pixels(torch.zeros(1, 2, 32)).shape == (1, 2, 30)
