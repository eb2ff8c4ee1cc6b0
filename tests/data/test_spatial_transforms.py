"""Sounds (L, C) and volumes (D, H, W, C) become samples, as pictures do."""

import numpy as np
import pytest
import torch

from carrara.data import Transform
from carrara.data.transforms import resize
from carrara.pixels import to_pixels, to_tensor
from carrara.seeds import Draws

DRAWS = Draws(0, torch.arange(64))
SIZES = [(10,), (4, 6), (4, 6, 5)]


def filled(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32)


def tensor(pixels: np.ndarray) -> torch.Tensor:
    """Channels first, in [-1, 1]."""
    return torch.from_numpy(2 * np.moveaxis(pixels, -1, 0) - 1)


@pytest.mark.parametrize("size", SIZES)
def test_what_has_the_size_is_taken_as_it_is(size: tuple[int, ...]) -> None:
    pixels = filled(*size, 2)
    for fit in ("cover", "contain", "stretch"):
        transform = Transform(size=size, channels=2, fit=fit)
        assert np.array_equal(transform.prepare(pixels), pixels)
    assert torch.allclose(transform.finish([pixels], DRAWS)[0], tensor(pixels), atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_the_middle_is_cropped_along_every_axis(size: tuple[int, ...]) -> None:
    """One axis is longer, as much on both sides, and no other has to be scaled."""
    for axis in range(len(size)):
        native = [edge + 6 * (k == axis) for k, edge in enumerate(size)]
        pixels = filled(*native, 2)
        middle = tuple(slice(3, 3 + edge) if k == axis else slice(None) for k, edge in enumerate(size))
        assert np.array_equal(Transform(size=size, channels=2).prepare(pixels), pixels[middle])


@pytest.mark.parametrize("size", SIZES)
def test_random_crops_are_parts_and_reach_both_ends_of_every_axis(size: tuple[int, ...]) -> None:
    for axis in range(len(size)):
        native = [edge + 2 * (k == axis) for k, edge in enumerate(size)]
        pixels, transform = filled(*native, 1), Transform(size=size, channels=1, crop="random")
        made = transform.finish([transform.prepare(pixels)] * 64, DRAWS)
        parts = [pixels.take(range(k, k + size[axis]), axis) for k in range(3)]
        found = {k for x in made for k, part in enumerate(parts) if torch.allclose(x, tensor(part), atol=1e-6)}
        assert found == {0, 1, 2}
        assert all(any(torch.allclose(x, tensor(part), atol=1e-6) for part in parts) for x in made)


@pytest.mark.parametrize("size", SIZES)
def test_half_are_mirrored_along_the_last_axis(size: tuple[int, ...]) -> None:
    pixels, transform = filled(*size, 2), Transform(size=size, channels=2, flip=True)
    made = transform.finish([pixels] * 64, DRAWS)
    mirrored = (DRAWS.uniform("flip") < 0.5).tolist()
    assert 16 < sum(mirrored) < 48
    for x, turned in zip(made, mirrored, strict=True):
        assert torch.allclose(x, tensor(pixels[..., ::-1, :].copy() if turned else pixels), atol=1e-6)


def test_a_short_sound_lies_in_silence_and_keeps_its_pace() -> None:
    for dtype, silence in ((np.float32, 0.5), (np.uint8, 127)):
        sound = (filled(4, 1) * (1 if dtype is np.float32 else 255)).astype(dtype)
        for fit in ("cover", "contain"):
            made = Transform(size=(9,), channels=1, fit=fit).prepare(sound)
            assert np.array_equal(made[2:6], sound) and (made[[0, 1, 6, 7, 8]] == silence).all()
    long = filled(90, 1)
    contained = Transform(size=(9,), channels=1, fit="contain").prepare(long)
    assert np.array_equal(contained, resize(long, (9,)))
    assert np.array_equal(Transform(size=(9,), channels=1, fit="stretch").prepare(long), contained)


def test_a_volume_that_is_contained_lies_in_darkness() -> None:
    volume = np.ones((8, 4, 4, 1), np.float32)
    made = Transform(size=(8, 8, 8), channels=1, fit="contain").prepare(volume)
    assert (made[:, 2:6, 2:6] == 1).all() and made.sum() == volume.sum()


@pytest.mark.parametrize("size", [(8,), (8, 6), (4, 6, 10)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_flat_data_stay_flat_in_any_size(size: tuple[int, ...], dtype: type) -> None:
    value = dtype(0.75) if dtype is np.float32 else dtype(201)
    made = resize(np.full((*[7] * len(size), 2), value, dtype), size)
    assert made.shape == (*size, 2) and made.dtype == dtype
    assert np.abs(made.astype(float) - float(value)).max() < 1e-6


@pytest.mark.parametrize("length", [5, 40])
def test_a_sound_is_resized_as_every_row_of_a_picture(length: int) -> None:
    sound = filled(16, 2)
    picture = resize(np.repeat(sound[None], 3, axis=0), (3, length))
    np.testing.assert_allclose(resize(sound, (length,)), picture[1], atol=1e-6)


def test_maps_go_where_their_volumes_go() -> None:
    volume = np.zeros((8, 6, 10, 1), np.uint8)
    volume[2:5, 1:3, 4:9] = 255
    numbers = (volume > 0).astype(np.uint8)
    transform = Transform(size=(4, 5, 6), channels=1, crop="random", flip=True, fit="cover")
    draws = Draws(0, torch.arange(8))
    x = transform.finish([transform.prepare(volume)] * 8, draws)
    found = transform.finish_maps([transform.prepare_map(numbers)] * 8, draws)
    assert found.shape == (8, 4, 5, 6)
    assert ((x[:, 0] > 0) == (found == 1)).float().mean() > 0.9


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_arrays_become_tensors_and_come_back(spatial: int) -> None:
    size = (4, 5, 6)[:spatial]
    pixels = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    x = to_tensor(pixels, spatial)
    assert x.shape == (2, 3, *size)
    assert np.array_equal(to_pixels(x, spatial=spatial), pixels)
    assert torch.equal(to_tensor(pixels[0, ..., 0], spatial), x[0, :1])
