"""How curves, pictures and volumes of numbers are shown and written."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carrara.medium import medium_of
from carrara.medium.numbers import ANGLES, NumbersMedium, slices, turning
from carrara.modality import Numbers
from carrara.seeds import Draws

FLOATS = Numbers(dtype="float32", low=-10.0, high=30.0)


def samples(*shape: int, count: int = 5) -> torch.Tensor:
    return Draws(0, torch.arange(count)).normal("samples", *shape)


@pytest.mark.parametrize(
    "shape", [(1, 40), (3, 40), (1, 8, 9), (2, 8, 9), (3, 8, 9), (5, 8, 9), (1, 6, 7, 8), (2, 6, 7, 8)]
)
def test_samples_are_shown_and_written_in_their_units(shape: tuple[int, ...], tmp_path: Path) -> None:
    medium, x = medium_of(shape, FLOATS), samples(*shape)
    assert isinstance(medium, NumbersMedium) and not medium.of_levels and medium.single(x[0]) is None
    assert min(medium.grid(x).size) > 8 and min(medium.strip([x[:2], x[:2]]).size) > 8
    paths = [path for path in medium.write_all(x, tmp_path, lambda k: {}) if path.suffix == ".npy"]
    assert [path.name for path in paths] == [f"{k:04d}.npy" for k in range(5)]
    for path, sample in zip(paths, x, strict=True):
        found = np.load(path)
        assert found.dtype == np.float32
        expected = -10 + (sample.double().numpy() + 1) * 20  # beyond the range, too
        expected = expected[0] if len(expected) == 1 else np.moveaxis(expected, 0, -1)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


def test_whole_numbers_are_rounded_and_what_does_not_fit_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    medium = NumbersMedium(Numbers(dtype="uint8", low=0.0, high=255.0), 1)
    x = torch.tensor([[[-1.5, -1.0, 0.001, 1.0, 1.001, 1.1]]])
    with caplog.at_level(logging.WARNING):
        medium.write_all(x, tmp_path, lambda k: {})
    assert np.load(tmp_path / "0000.npy").tolist() == [0, 0, 128, 255, 255, 255]
    assert caplog.messages == ["2 of 6 values lie beyond what uint8 holds, and were brought to its ends"]
    assert medium.beyond(x) == 2 and NumbersMedium(FLOATS, 1).beyond(x) == 0


def test_a_volume_turns(tmp_path: Path) -> None:
    medium = NumbersMedium(FLOATS, 3)
    paths = medium.write(samples(1, 6, 7, 8)[0], tmp_path / "a", {})
    assert [path.name for path in paths] == ["a.npy", "a.gif"]
    with Image.open(paths[1]) as image:
        assert image.n_frames > 1 and image.info["loop"] == 0


def test_the_greatest_value_is_seen_from_all_sides() -> None:
    """A bright point moves as its projection does, and nothing in a corner is lost."""
    volume = torch.full((1, 5, 9, 9), -1.0)
    volume[0, 2, 4, 4] = 1.0  # on the axis
    views = turning(volume)
    assert views.shape == (ANGLES, 1, 5, 13)
    assert views[:, 0, 2, 6].min().item() > 0.99 and views[:, 0, :2].max() == -1
    corner = torch.full((1, 5, 9, 9), -1.0)
    corner[0, 1, 0, 0] = 1.0
    seen = turning(corner)[:, 0, 1]
    assert bool((seen.amax(1) > -0.5).all())
    centre = torch.arange(13) - 6.0
    places = ((seen + 1) * centre).sum(1) / (seen + 1).sum(1)
    angle = 2 * torch.pi * torch.arange(ANGLES) / ANGLES
    by_hand = -4 * (angle.cos() + angle.sin())
    other = -4 * (angle.cos() - angle.sin())
    assert min((places - by_hand).abs().max(), (places - other).abs().max()) < 0.3


def test_slices_are_those_of_the_middle() -> None:
    volume = samples(1, 4, 6, 8, count=2)
    sheet = slices(volume)
    assert sheet.shape == (2, 1, 6, 8 + 1 + 8 + 1 + 6)
    assert torch.equal(sheet[..., :8], volume[:, :, 2])
    assert torch.equal(sheet[..., :4, 9:17], volume[:, :, :, 3])
    assert torch.equal(sheet[..., :4, 18:], volume[..., 4])


def test_what_is_not_known_is_dark() -> None:
    x = samples(1, 8, 8)
    x[0, 0, 2, 2] = torch.nan
    assert NumbersMedium(FLOATS, 2).grid(x).getextrema()[0] == 0
    NumbersMedium(FLOATS, 1).grid(x[0])
