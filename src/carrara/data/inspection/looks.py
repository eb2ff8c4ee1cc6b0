r"""What a picture looks like, in a few numbers: enough to find copies, blanks, and what is blurred or turned.

* A hash: the signs of the 63 lowest coefficients of the cosine transform of 32x32 grey values, less their median.
  Copies that were scaled, compressed or brightened keep nearly all of its bits (C. Zauner, "Implementation and
  Benchmarking of Perceptual Image Hash Functions", 2010). The coefficients themselves are kept, because those of a
  turned picture are the same with other signs, transposed.
* Sharpness: with :math:`E_0` the mean squared second difference of the picture, and :math:`E_1` that of the picture at
  half its size,

  .. math:: s = E_0 / E_1.                                                                                        (1)

  Where a picture is smooth, s = 1/16; where it has as much detail at its own size as at half of it, s is about 1.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from carrara.pixels import to_pixels, to_tensor

THUMB = 12
"""The edge of the colours that are kept of a picture."""
LOW = 8
"""Coefficients along each axis."""
SMALLEST = 48
"""Pictures with a shorter edge than that have no sharpness."""
BLURRED = 0.2
"""Pictures of less sharpness are blurred."""
_GREY = 32
_LOOKED_AT = 512  # the least pixels of the shorter edge at which sharpness is measured; larger pictures are halved
_CROP = 384  # pixels around the centre in which that is done
_ROUNDING = 1.0  # what whole numbers add to the mean squared second difference: 2 (1 + 4 + 1) / 12
_BEHIND = 128  # transparency is laid over grey, on which white and black are seen

LOOK = np.dtype([
    ("low", "<f2", (LOW, LOW)),
    ("thumb", "u1", (THUMB, THUMB, 3)),
    ("sharpness", "<f4"),
    ("transparent", "?"),
])  # fmt: skip
"""One picture's numbers. ``sharpness`` is NaN where it is not known."""

Looks = NDArray[Any]
"""(N,) of ``LOOK``."""


def _cosines() -> NDArray[np.float32]:
    k, x = np.arange(LOW)[:, None], np.arange(_GREY)[None]
    return np.cos(math.pi / _GREY * (x + 0.5) * k).astype(np.float32) * np.where(k == 0, 0.5**0.5, 1).astype(np.float32)


_COSINES = _cosines() * (2 / _GREY) ** 0.5
_SIGNS = (-1.0) ** np.arange(LOW, dtype=np.float32)


def look_at(pixels: NDArray[Any]) -> "np.void":
    """The numbers of a picture (H, W, C)."""
    image, transparent = _seen(pixels)
    grey = image if image.mode == "L" else image.convert("L")
    factor = max(1, min(image.size) // 64)
    small = np.asarray(_small(grey, factor, _GREY), np.float32)
    found = np.zeros(1, LOOK)
    found["low"] = _COSINES @ small @ _COSINES.T
    found["thumb"] = np.asarray(_small(image, factor, THUMB).convert("RGB"))
    found["sharpness"] = _sharpness(grey)
    found["transparent"] = transparent
    return found[0]


def _small(image: Image.Image, factor: int, edge: int) -> Image.Image:
    """The mean colours of a picture's parts."""
    return (image.reduce(factor) if factor > 1 else image).resize((edge, edge), Image.Resampling.BOX)


def hashes(looks: Looks, turns: int = 0) -> NDArray[np.uint64]:
    """The hashes (N,) of pictures that were turned by so many quarters, counter-clockwise."""
    low = looks["low"].astype(np.float32)
    for _ in range(turns % 4):  # the transpose, upside down
        low = low.transpose(0, 2, 1) * _SIGNS[:, None]
    flat = low.reshape(len(low), LOW * LOW)[:, 1:]
    bits = flat > np.median(flat, axis=1, keepdims=True)
    padded = np.concatenate([bits, np.zeros((len(bits), 1), bool)], axis=1)
    return np.ascontiguousarray(np.packbits(padded, axis=1)).view(np.uint64)[:, 0]


def _seen(pixels: NDArray[Any]) -> tuple[Image.Image, bool]:
    """A picture of 8 bits as one sees it, and whether one sees through it."""
    if pixels.dtype != np.uint8:
        pixels = to_pixels(to_tensor(pixels))
    channels = pixels.shape[2]
    if channels == 1:
        return Image.fromarray(pixels[..., 0]), False
    if channels == 4:
        image = Image.fromarray(pixels)
        alpha = image.getchannel("A")
        if alpha.getextrema()[0] == 255:  # type: ignore[comparison-overlap]
            return image.convert("RGB"), False
        behind = Image.new("RGBA", image.size, (_BEHIND,) * 3 + (255,))
        return Image.alpha_composite(behind, image).convert("RGB"), True
    if channels != 3:  # not pictures that one sees: their mean
        return Image.fromarray(pixels.mean(2).astype(np.uint8)), False
    return Image.fromarray(pixels), False


def _sharpness(grey: Image.Image) -> float:
    """Equation (1), around the centre; NaN for small or flat pictures."""
    if min(grey.size) < SMALLEST:
        return math.nan
    if (factor := min(grey.size) // _LOOKED_AT) > 1:
        grey = grey.reduce(factor)
    width, height = grey.size
    if max(width, height) > _CROP:
        left, top = max(0, (width - _CROP) // 2), max(0, (height - _CROP) // 2)
        grey = grey.crop((left, top, min(width, left + _CROP), min(height, top + _CROP)))
    half = _bent(grey.reduce(2))
    return _bent(grey) / half if half > 1 else math.nan


def _bent(grey: Image.Image) -> float:
    """The mean squared second difference along both axes, less that of rounding."""
    values = np.asarray(grey, np.int16)
    down = (values[2:] + values[:-2] - 2 * values[1:-1]).astype(np.float32).ravel()
    across = (values[:, 2:] + values[:, :-2] - 2 * values[:, 1:-1]).astype(np.float32).ravel()
    return max(0.0, float(down @ down / down.size + across @ across / across.size) - _ROUNDING)
