"""From a picture of any shape to one of the model's shape, in two parts.

``prepare`` depends on the picture alone, so its result can be kept: size, then channels. ``finish`` depends on the
picture's position in the training too: where to crop, whether to mirror. Reduction is antialiased.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from carrara.data.base import Dataset, Map, Unreadable
from carrara.data.buckets import Size, nearest
from carrara.pixels import WHITE, Pictures, Pixels, largest, to_image, to_tensor, with_channels
from carrara.seeds import Draws
from carrara.types import NOWHERE


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Brings pictures to one shape.

    Attributes:
        size: (height, width).
        channels: 1 grey, 3 colour, 4 colour with transparency, or as many as the arrays have.
        fit: ``cover`` fills the size and crops the rest, ``contain`` shows all and adds a border, ``stretch`` distorts.
        crop: where ``cover`` crops: the centre, or at random.
        flip: mirrors half of the pictures, left to right.
        background: the colour behind transparent pictures and of borders, in 0..255; borders are transparent where
            pictures can be, and black where they are neither grey nor colour.
        buckets: sizes in the place of the one, where each picture takes the one that is most like it.
    """

    size: tuple[int, int]
    channels: int = 3
    fit: Literal["cover", "contain", "stretch"] = "cover"
    crop: Literal["center", "random"] = "center"
    flip: bool = False
    background: tuple[int, int, int] = WHITE
    buckets: tuple[Size, ...] = ()

    def __post_init__(self) -> None:
        if min(self.size) < 1 or self.channels < 1:
            raise ValueError(f"pictures have at least one pixel and one channel, got {self.size} and {self.channels}")

    def suited(self, dataset: Dataset, index: int) -> "Transform":
        """The same with one size: that of an example's bucket."""
        if not self.buckets:
            return self
        return replace(self, size=nearest(dataset.native(index), self.buckets), buckets=())

    def prepare(self, pixels: Pixels) -> Pixels:
        """Brings (H, W, C) to its channels and its size, or to a larger size if it will be cropped at random.

        Raises:
            Unreadable: the picture has other channels, and they do not convert.
        """
        pixels = resize(pixels, self._inner(pixels.shape[0], pixels.shape[1]))
        try:
            pixels = with_channels(pixels, self.channels, self.background)
        except ValueError as error:
            raise Unreadable(str(error)) from None
        if self.fit == "contain":
            return self._framed(pixels, _border(pixels.dtype, self.channels, self.background))
        return pixels if self.crop == "random" else _crop(pixels, self.size, 0.5, 0.5)

    def plain(self) -> "Transform":
        """The same without anything random, and with one size for all."""
        return replace(self, crop="center", flip=False, buckets=())

    def finish(self, prepared: Sequence[Pixels], draws: Draws) -> Pictures:
        """Makes float32 (B, C, H, W) in [-1, 1] of prepared pictures, one per sample of ``draws``."""
        return _stack(self._placed(prepared, draws))

    def prepare_map(self, numbers: Map) -> Map:
        """Brings a map (H, W, 1) to where ``prepare`` brings its picture; borders and what is behind have no colour."""
        height, width = self._inner(*numbers.shape[:2])
        rows, columns = (_nearest(new, old) for new, old in zip((height, width), numbers.shape, strict=False))
        moved = numbers[rows][:, columns]
        if self.fit == "contain":
            return self._framed(moved, np.full(1, NOWHERE, np.uint8))
        return moved if self.crop == "random" else _crop(moved, self.size, 0.5, 0.5)

    def finish_maps(self, prepared: Sequence[Map], draws: Draws) -> Tensor:
        """Makes (B, H, W) of prepared maps, cropped and mirrored as their pictures are."""
        return torch.from_numpy(np.stack(self._placed(prepared, draws))[..., 0])

    def _placed(self, prepared: Sequence[Pixels], draws: Draws) -> Sequence[Pixels]:
        """The part of each that its position shows, mirrored if it says so."""
        if self.crop == "random":
            places = zip(prepared, *draws.uniform("crop", 2).T.tolist(), strict=True)
            prepared = [_crop(pixels, self.size, *place) for pixels, *place in places]
        if self.flip:
            mirrored = (draws.uniform("flip") < 0.5).tolist()
            prepared = [pixels[:, ::-1] if m else pixels for pixels, m in zip(prepared, mirrored, strict=True)]
        return prepared

    def _inner(self, height: int, width: int) -> tuple[int, int]:
        ratios = self.size[0] / height, self.size[1] / width
        match self.fit:
            case "stretch":
                return self.size
            case "cover":
                scale = max(ratios)
                return max(self.size[0], round(height * scale)), max(self.size[1], round(width * scale))
            case "contain":
                scale = min(ratios)
                return max(1, round(height * scale)), max(1, round(width * scale))

    def _framed(self, pixels: Pixels, border: Pixels) -> Pixels:
        framed = np.empty((*self.size, pixels.shape[2]), pixels.dtype)
        framed[:] = border
        top, left = (self.size[0] - pixels.shape[0]) // 2, (self.size[1] - pixels.shape[1]) // 2
        framed[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        return framed


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Resizes (H, W, C) with antialiasing.

    8-bit pictures shrink by Pillow's Lanczos kernel, which would leave faint echoes of edges in enlarged ones; all else
    is done by cubic kernels, Pillow's or torch's.
    """
    if pixels.shape[:2] == size:
        return pixels
    if pixels.dtype == np.uint8 and pixels.shape[-1] in (1, 3, 4):
        smaller = size[0] < pixels.shape[0] or size[1] < pixels.shape[1]
        kernel = Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC
        return np.atleast_3d(np.asarray(to_image(pixels).resize((size[1], size[0]), kernel)))
    x = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
    y = F.interpolate(x, size, mode="bicubic", antialias=True, align_corners=False)
    value = y[0].permute(1, 2, 0).clamp(0, largest(pixels.dtype)).numpy()
    return (value if pixels.dtype.kind == "f" else value.round()).astype(pixels.dtype)


def _nearest(new: int, old: int) -> NDArray[np.int64]:
    """Which of ``old`` places lies in the middle of each of ``new`` ones."""
    return np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)


def _crop(pixels: Pixels, size: tuple[int, int], down: float, right: float) -> Pixels:
    top = int(down * (pixels.shape[0] - size[0] + 1))
    left = int(right * (pixels.shape[1] - size[1] + 1))
    return pixels[top : top + size[0], left : left + size[1]]


def _border(dtype: np.dtype[Any], channels: int, background: tuple[int, int, int]) -> NDArray[Any]:
    if channels not in (1, 3):
        return np.zeros(channels, dtype)
    colour = (np.array([[background]]) * (largest(dtype) / 255)).astype(dtype)
    return with_channels(colour, channels)[0, 0]


def _stack(pictures: Sequence[Pixels]) -> Tensor:
    if len({picture.dtype for picture in pictures}) > 1:
        return torch.from_numpy(np.stack([to_tensor(picture).numpy() for picture in pictures]))
    return to_tensor(np.stack(pictures))
