"""From a picture of any shape to one of the model's shape, in two parts; from a sound or a volume likewise.

``prepare`` depends on the picture alone, so its result can be kept: size, then channels. ``finish`` depends on the
picture's position in the training too: where to crop, whether to mirror. Reduction is antialiased.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from carrara.data.base import ClassMap, Dataset, Preparation, Unreadable
from carrara.data.buckets import Size, nearest_size
from carrara.pixels import WHITE, Pixels, largest, to_image, to_tensor, with_channels
from carrara.seeds import Draws
from carrara.shapes import Signals, resized, window
from carrara.types import NOWHERE


@dataclass(frozen=True, kw_only=True)
class Transform(Preparation):
    """Brings pictures (H, W, C), sounds (L, C) or volumes (D, H, W, C) to one shape.

    Attributes:
        size: (height, width), (length,), or (depth, height, width).
        channels: 1 grey, 3 colour, 4 colour with transparency, or as many as the arrays have.
        fit: ``cover`` fills the size and crops the rest, ``contain`` shows all and adds a border, ``stretch`` distorts.
            Sounds keep their pace: ``cover`` does not stretch short ones, and ``contain`` neither; silence is added.
        crop: where ``cover`` crops: the centre, or at random.
        flip: mirrors half of the pictures, left to right; half of the sounds are played backwards.
        background: the colour behind transparent pictures and of borders, in 0..255; borders are transparent where
            pictures can be, black where they are neither grey nor colour and around volumes, and silent around sounds.
        buckets: sizes in the place of the one, where each picture takes the one that is most like it.
        missing: whether NaN are values that nobody knows; then borders are such.
    """

    size: tuple[int, ...]
    channels: int = 3
    fit: Literal["cover", "contain", "stretch"] = "cover"
    crop: Literal["center", "random"] = "center"
    flip: bool = False
    background: tuple[int, int, int] = WHITE
    buckets: tuple[Size, ...] = ()
    missing: bool = field(default=False, repr=False)  # as names of caches were

    def __post_init__(self) -> None:
        if min(self.size) < 1 or self.channels < 1:
            raise ValueError(f"pictures have at least one pixel and one channel, got {self.size} and {self.channels}")

    def suited(self, dataset: Dataset, index: int) -> "Transform":
        """The same with one size: that of an example's bucket."""
        if not self.buckets:
            return self
        return replace(self, size=nearest_size(dataset.native(index), self.buckets), buckets=())

    def prepare(self, pixels: Pixels) -> Pixels:
        """Brings (*N, C) to its channels and its size, or to a larger size if it will be cropped at random.

        Raises:
            Unreadable: the picture has other channels, and they do not convert.
        """
        pixels = resize(pixels, self._inner(pixels.shape[:-1]))
        try:
            pixels = _converted(pixels, self.channels, self.background)
        except ValueError as error:
            raise Unreadable(str(error)) from None
        nowhere = np.full(pixels.shape[-1], np.nan, pixels.dtype) if self.missing else None
        return self._cut(pixels, _border(pixels, self.background) if nowhere is None else nowhere)

    def plain(self) -> "Transform":
        """The same without anything random, and with one size for all."""
        return replace(self, crop="center", flip=False, buckets=())

    def finish(self, prepared: Sequence[Pixels], draws: Draws) -> Signals:
        """Makes float32 (B, C, *N) in [-1, 1] of prepared pictures, one per sample of ``draws``."""
        return _stack(self._placed(prepared, draws))

    def prepare_map(self, numbers: ClassMap) -> ClassMap:
        """Brings a map (*N, 1) to where ``prepare`` brings its picture; borders and what is behind have no colour."""
        native = numbers.shape[:-1]
        places = (_nearest(new, old) for new, old in zip(self._inner(native), native, strict=True))
        return self._cut(numbers[np.ix_(*places)], np.full(1, NOWHERE, np.uint8))

    def finish_maps(self, prepared: Sequence[ClassMap], draws: Draws) -> Tensor:
        """Makes (B, *N) of prepared maps, cropped and mirrored as their pictures are."""
        return torch.from_numpy(np.stack(self._placed(prepared, draws))[..., 0])

    def _placed(self, prepared: Sequence[Pixels], draws: Draws) -> Sequence[Pixels]:
        """The part of each that its position shows, mirrored if it says so."""
        if self.crop == "random":
            places = draws.uniform("crop", len(self.size)).tolist()
            prepared = [_crop(pixels, self.size, place) for pixels, place in zip(prepared, places, strict=True)]
        if self.flip:
            mirrored = (draws.uniform("flip") < 0.5).tolist()
            prepared = [pixels[..., ::-1, :] if m else pixels for pixels, m in zip(prepared, mirrored, strict=True)]
        return prepared

    def _inner(self, native: tuple[int, ...]) -> tuple[int, ...]:
        """The size to which one of a native size is scaled."""
        ratios = [edge / old for edge, old in zip(self.size, native, strict=True)]
        match self.fit:
            case "stretch":
                return self.size
            case "cover":
                if len(native) == 1:
                    return native
                scale = max(ratios)
                return tuple(max(edge, round(old * scale)) for edge, old in zip(self.size, native, strict=True))
            case "contain":
                scale = min(ratios) if len(native) > 1 else min(*ratios, 1.0)
                return tuple(max(1, round(old * scale)) for old in native)

    def _cut(self, pixels: Pixels, border: Pixels) -> Pixels:
        """Adds a border where there is too little, and takes the middle, unless that is left to chance."""
        pixels = _framed(pixels, self.size, border)
        return pixels if self.crop == "random" else _crop(pixels, self.size, [0.5] * len(self.size))


def resize(pixels: Pixels, size: tuple[int, ...]) -> Pixels:
    """Resizes (H, W, C), (L, C) or (D, H, W, C) with antialiasing.

    What is beyond [0, 1] stays so; of missing values (NaN) see ``_resized``. 8-bit pictures shrink by Pillow's Lanczos
    kernel, which would leave faint echoes of edges in enlarged ones; all else is done by cubic kernels, Pillow's or
    torch's.
    """
    if pixels.shape[:-1] == size:
        return pixels
    if pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[-1] in (1, 3, 4):
        smaller = size[0] < pixels.shape[0] or size[1] < pixels.shape[1]
        kernel = Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC
        return np.atleast_3d(np.asarray(to_image(pixels).resize((size[1], size[0]), kernel)))
    x = torch.from_numpy(np.moveaxis(pixels, -1, 0)[None].astype(np.float32))
    low, high = (min(0.0, x.nan_to_num(0).min().item()), max(1.0, x.nan_to_num(1).max().item()))
    bounds = (low, high) if pixels.dtype.kind == "f" else (0.0, largest(pixels.dtype))
    value = _resized(x, size)[0].movedim(0, -1).clamp(*bounds).numpy()
    return (value if pixels.dtype.kind == "f" else value.round()).astype(pixels.dtype)


def _converted(pixels: Pixels, channels: int, background: tuple[int, int, int]) -> Pixels:
    """With other channels: as ``with_channels`` has it, and sounds of one become two that are equal, or any their mean.

    Raises:
        ValueError: they do not convert.
    """
    have = pixels.shape[-1]
    if pixels.ndim != 2 or have == channels or 1 not in (have, channels):
        return with_channels(pixels, channels, background)
    if have == 1:
        return pixels.repeat(channels, -1)
    mean = pixels.mean(-1, keepdims=True)
    return (mean if pixels.dtype.kind == "f" else mean.round()).astype(pixels.dtype)


def _resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """``resized`` of the known values alone: with m = 1 where they are known, R(m x) / R(m) where R(m) is at least
    1/2, and NaN elsewhere (Knutsson and Westin, "Normalized and differential convolution", 1993)."""
    known = ~x.isnan()
    if known.all():
        return resized(x, size)
    weight = resized(known.float(), size)
    return (resized(x.nan_to_num(0), size) / weight).masked_fill(weight < 0.5, torch.nan)


def _nearest(new: int, old: int) -> NDArray[np.int64]:
    """Which of ``old`` places lies in the middle of each of ``new`` ones."""
    return np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)


def _crop(pixels: Pixels, size: Sequence[int], place: Sequence[float]) -> Pixels:
    """The part of a size that begins at a place in [0, 1) of where it can, along each axis."""
    firsts = [int(u * (whole - edge + 1)) for u, whole, edge in zip(place, pixels.shape, size, strict=False)]
    return pixels[window(firsts, size)]


def _framed(pixels: Pixels, size: Sequence[int], border: Pixels) -> Pixels:
    """The same in the middle of a border, where it is smaller than ``size``."""
    native = pixels.shape[:-1]
    whole = tuple(map(max, size, native))
    if whole == native:
        return pixels
    framed = np.empty((*whole, pixels.shape[-1]), pixels.dtype)
    framed[:] = border
    firsts = [(edge - old) // 2 for edge, old in zip(whole, native, strict=True)]
    framed[window(firsts, native)] = pixels
    return framed


def _border(like: Pixels, background: tuple[int, int, int]) -> NDArray[Any]:
    """What lies around ``like``, (C,)."""
    spatial, channels, dtype = like.ndim - 1, like.shape[-1], like.dtype
    if spatial != 2 or channels not in (1, 3):
        return np.full(channels, largest(dtype) / 2 if spatial == 1 else 0, dtype)
    colour = (np.array([[background]]) * (largest(dtype) / 255)).astype(dtype)
    return with_channels(colour, channels)[0, 0]


def _stack(pictures: Sequence[Pixels]) -> Tensor:
    spatial = pictures[0].ndim - 1
    if len({picture.dtype for picture in pictures}) > 1:
        return torch.from_numpy(np.stack([to_tensor(picture, spatial).numpy() for picture in pictures]))
    return to_tensor(np.stack(pictures), spatial)
