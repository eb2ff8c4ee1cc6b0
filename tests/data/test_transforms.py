import numpy as np
import pytest
import torch
from picture_files import array

from carrara.data import Transform, Unreadable
from carrara.data.transforms import resize
from carrara.pixels import largest
from carrara.seeds import Draws

DRAWS = Draws(0, torch.arange(64))


def one(transform: Transform, pixels: np.ndarray) -> torch.Tensor:
    return transform.finish([transform.prepare(pixels)], Draws(0, torch.zeros(1, dtype=torch.int64)))[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4, 5])
@pytest.mark.parametrize("size", [(4, 6), (12, 16), (30, 20)])
def test_resizing_keeps_flat_pictures_flat(dtype: type, channels: int, size: tuple[int, int]) -> None:
    value = dtype(0.75) if dtype is np.float32 else dtype(201)
    pixels = np.full((12, 16, channels), value, dtype)
    if channels == 4:
        pixels[..., 3] = largest(pixels.dtype)
    resized = resize(pixels, size)
    assert resized.shape == (*size, channels) and resized.dtype == dtype
    assert np.abs(resized.astype(float) - pixels[0, 0].astype(float)).max() < 1e-6


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_reduction_is_antialiased(channels: int) -> None:
    stripes = np.zeros((64, 64, channels), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize(stripes, (16, 16)).astype(int) - 127).max() <= 12


def test_both_ways_to_resize_agree() -> None:
    smooth = array(48, 64, 1)
    wide = resize(smooth.astype(np.uint16) * 257, (24, 32)) / 257
    assert np.abs(wide - resize(smooth, (24, 32))).mean() < 1.0


def test_cover_crops_the_centre() -> None:
    pixels = np.zeros((8, 16, 1), np.uint8)
    pixels[:, 4:12] = 255
    assert (one(Transform(size=(8, 8), channels=1), pixels) == 1).all()


def test_contain_shows_all_within_a_border() -> None:
    x = one(Transform(size=(8, 8), fit="contain", background=(255, 0, 0)), np.zeros((4, 8, 3), np.uint8))
    assert (x[:, 2:6] == -1).all()
    assert (x[0, :2] == 1).all() and (x[1:, 6:] == -1).all()
    alpha = one(Transform(size=(8, 8), channels=4, fit="contain"), np.full((4, 8, 3), 9, np.uint8))[3]
    assert (alpha[2:6] == 1).all() and (alpha[:2] == -1).all()


def test_stretch_uses_every_row_and_column() -> None:
    assert np.array_equal(Transform(size=(24, 8), fit="stretch").prepare(array()), resize(array(), (24, 8)))


def test_transparent_pictures_have_no_dark_fringes() -> None:
    rgba = np.zeros((32, 32, 4), np.uint8)
    rgba[8:24, 8:24] = 255
    assert (one(Transform(size=(8, 8)), rgba) > 0.98).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_transform_of_the_same_size_loses_nothing(dtype: type) -> None:
    top = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    pixels = np.random.default_rng(0).uniform(0, top, (6, 7, 5)).astype(dtype)
    x = one(Transform(size=(6, 7), channels=5), pixels)
    np.testing.assert_allclose((x.permute(1, 2, 0) + 1) / 2, pixels / top, atol=1e-6)


def test_pictures_of_different_types_make_one_batch() -> None:
    transform = Transform(size=(2, 2), channels=1)
    parts = [np.full((2, 2, 1), v, d) for v, d in ((255, np.uint8), (65535, np.uint16), (1.0, np.float32))]
    draws = Draws(0, torch.arange(3))
    assert torch.equal(transform.finish([transform.prepare(p) for p in parts], draws), torch.ones(3, 1, 2, 2))


def test_other_channels_are_unreadable() -> None:
    with pytest.raises(Unreadable, match="5 channels cannot become one of 3"):
        Transform(size=(8, 8)).prepare(array(channels=5))


def test_half_of_the_pictures_are_mirrored_by_position() -> None:
    transform = Transform(size=(12, 16), flip=True)
    prepared = transform.prepare(array())
    x = transform.finish([prepared] * 64, DRAWS)
    plain = one(Transform(size=(12, 16)), array())
    mirrored = [bool(torch.equal(sample, plain.flip(-1))) for sample in x]
    assert all(m != torch.equal(sample, plain) for m, sample in zip(mirrored, x, strict=True))
    assert 20 < sum(mirrored) < 44
    part = Draws(0, torch.arange(40, 64))
    assert torch.equal(transform.finish([prepared] * 24, part), x[40:])


def test_random_crops_reach_both_ends() -> None:
    pixels = np.repeat(np.arange(0, 200, 10, dtype=np.uint8)[None, :, None], 8, axis=0)
    transform = Transform(size=(8, 8), channels=1, crop="random")
    x = transform.finish([transform.prepare(pixels)] * 64, DRAWS)
    starts = ((x[:, 0, 0, 0] + 1) * 12.75).round().int()
    assert starts.min() == 0 and starts.max() == 12 and len(starts.unique()) > 8
    assert torch.equal(transform.plain().prepare(pixels).shape and x[:, 0, 0, 7] > x[:, 0, 0, 0], torch.ones(64).bool())


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        Transform(size=(0, 8))
