r"""What a picture looks like, in a few numbers: enough to find copies, blanks, and what is blurred or turned.

* A hash: the signs of the 63 lowest coefficients of the cosine transform of 32x32 grey values, less their median.
  Copies that were scaled, compressed or brightened keep nearly all of its bits (C. Zauner, "Implementation and
  Benchmarking of Perceptual Image Hash Functions", 2010). The coefficients themselves are kept, because those of a
  turned picture are the same with other signs, transposed.
* Sharpness: with :math:`E_0`, :math:`E_1`, :math:`E_2` the mean squared second differences of the picture at its own
  size, at half and at a quarter of it,

  .. math:: s = \min(E_0 / E_1, E_1 / E_2).                                                                        (1)

  Where a picture is smooth, s = 1/16; where it has as much detail at its own size as at half of it, s is about 1. The
  second ratio is for what is blurred so much that only the traces of compression are left at its own size.
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
BLURRED = 0.25
"""Pictures of less sharpness are blurred. Of drawings of OpenMoji at 48, 64 and 128 pixels the least sharp has 0.27, of
made photographs, in JPEG of qualities from 30 on, 0.36; by a Gaussian of 1 pixel these come below 0.25."""
_GREY = 32
_LOOKED_AT = 512  # the least pixels of the shorter edge at which sharpness is measured; larger pictures are halved
_CROP = 384  # pixels around the centre in which that is done
_ROUNDING = 1.0  # what whole numbers add to the mean squared second difference: 2 (1 + 4 + 1) / 12
_FAINT = 1.0  # where there is less detail, a ratio says nothing
_BEHIND = 128  # transparency is laid over grey, on which white and black are seen

LOOK = np.dtype([
    ("low", "<f2", (LOW, LOW)),
    ("thumb", "u1", (THUMB, THUMB, 3)),
    ("sharpness", "<f4"),
    ("spread", "<f4"),
    ("transparent", "?"),
])  # fmt: skip
"""One picture's numbers. ``sharpness`` is NaN where it is not known; ``spread`` is the standard deviation of grey over
all pixels, 0..255, where the ``thumb`` may have less: it knows nothing of noise, text and fine patterns."""

Looks = NDArray[Any]
"""(N,) of ``LOOK``."""


def _cosines() -> NDArray[np.float32]:
    k, x = np.arange(LOW)[:, None], np.arange(_GREY)[None]
    return np.cos(math.pi / _GREY * (x + 0.5) * k).astype(np.float32) * np.where(k == 0, 0.5**0.5, 1).astype(np.float32)


_COSINES = _cosines() * (2 / _GREY) ** 0.5
_VIVID = 32  # a thumb of which a colour differs by more is not flat
_LEVELS = np.arange(256, dtype=np.float64)
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
    found["sharpness"], found["spread"] = _sharpness(grey), _spread(grey, found["thumb"][0])
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
    own = np.asarray(grey, np.float32)
    half = _halved(own)
    details = _bent(own) - _ROUNDING, _bent(half) - _ROUNDING / 4, _bent(_halved(half)) - _ROUNDING / 16
    if min(details[1:]) <= _FAINT:
        return math.nan
    return max(0.0, min(details[0] / details[1], details[1] / details[2]))


def _halved(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The means of 2x2 values each."""
    height, width = (edge // 2 * 2 for edge in values.shape)
    rows = values[0:height:2, :width] + values[1:height:2, :width]
    return np.multiply(rows[:, ::2] + rows[:, 1::2], 0.25, dtype=np.float32)


def _bent(values: NDArray[np.float32]) -> float:
    """The mean squared second difference along both axes."""
    down, across = values[1:] - values[:-1], values[:, 1:] - values[:, :-1]
    down, across = down[1:] - down[:-1], across[:, 1:] - across[:, :-1]
    return float(np.vdot(down, down)) / down.size + float(np.vdot(across, across)) / across.size


def _spread(grey: Image.Image, thumb: NDArray[np.uint8]) -> float:
    """The standard deviation of all pixels; NaN where the thumb is not nearly flat, and nobody asks."""
    if (thumb.max((0, 1)).astype(np.int16) - thumb.min((0, 1))).max() > _VIVID:
        return math.nan
    counts = np.array(grey.histogram(), np.float64)
    mean = counts @ _LEVELS / counts.sum()
    return math.sqrt(float(counts @ (_LEVELS - mean) ** 2 / counts.sum()))
