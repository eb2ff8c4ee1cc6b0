"""Small layers that several networks share."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from carrara.nn import winograd
from carrara.nn.ways import Choosing
from carrara.shapes import cropped, lengthened

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
"""A layer of any rank."""


class Rank(NamedTuple):
    """What torch has under another name for each number of axes of places."""

    convolution: type[Convolution]
    convolved: Callable[..., Tensor]
    transposed: Callable[..., Tensor]
    averaged: Callable[..., Tensor]
    highest: Callable[..., Tensor]


RANKS: Mapping[int, Rank] = {
    1: Rank(nn.Conv1d, F.conv1d, F.conv_transpose1d, F.avg_pool1d, F.max_pool1d),
    2: Rank(nn.Conv2d, F.conv2d, F.conv_transpose2d, F.avg_pool2d, F.max_pool2d),
    3: Rank(nn.Conv3d, F.conv3d, F.conv_transpose3d, F.avg_pool3d, F.max_pool3d),
}
"""By ``spatial``: 1 for sounds, 2 for pictures, 3 for volumes. Weights have the same names in all of them."""

_M = TypeVar("_M", bound=nn.Linear | Convolution)
_P = TypeVar("_P", bound=nn.Module)
_KEEPING = (3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros"
"""Kernel, stride, padding, dilation, groups and the places around of a convolution that keeps the size."""
_SIDES = 1 << 16
"""Of a coin."""


def modules_of(network: nn.Module, kind: type[_P]) -> list[_P]:
    """All parts of a network that are of a kind, itself included, in its order."""
    return [part for part in network.modules() if isinstance(part, kind)]


def zeroed(layer: _M) -> _M:
    """Sets weights and bias to zero, so that a residual branch starts as nothing and a network as its skip path."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def rank_of(x: Tensor) -> Rank:
    """What suits maps (B, C, *N)."""
    return RANKS[x.ndim - 2]


def conv1(inp: int, out: int, *, spatial: int = 2) -> Convolution:
    """A convolution of single places: a linear layer on their channels."""
    return RANKS[spatial].convolution(inp, out, 1)


class Convolution3(Choosing, nn.Conv2d):
    """A convolution of pictures: by torch; or by ``winograd``, if it is 3 places wide and keeps the size.

    It is made as torch's own, because other libraries make layers of the kind that they find.
    """

    @property
    def ways(self) -> tuple[str, ...]:
        made = self.kernel_size, self.stride, self.padding, self.dilation, self.groups, self.padding_mode
        return ("direct", "winograd") if made == _KEEPING else ("direct",)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        return tuple(self.weight.shape)

    def forward(self, input: Tensor) -> Tensor:  # torch's own name
        if self.way(input) == "winograd" and winograd.fits(input, self.weight):
            return winograd.convolved(input, self.weight, self.bias)
        return super().forward(input)


def conv3(inp: int, out: int, stride: int = 1, *, spatial: int = 2) -> Convolution:
    """A convolution 3 places wide along each axis: keeps the size, or halves it (rounding up) with ``stride`` 2."""
    if (spatial, stride) == (2, 1):
        return Convolution3(inp, out, 3, padding=1)
    return RANKS[spatial].convolution(inp, out, 3, stride=stride, padding=1)


def group_norm(channels: int, groups: int | None = None, eps: float = 1e-5) -> nn.GroupNorm:
    """Group normalisation in at most 32 groups of at least 4 channels, the most that divide ``channels``; or in as many
    as are wanted."""
    most = next(g for g in range(min(32, max(1, channels // 4)), 0, -1) if channels % g == 0)
    return nn.GroupNorm(groups or most, channels, eps=eps)


def patchify(x: Tensor, patch: int) -> Tensor:
    """``folded``, where the last patches are filled up with zeros."""
    return folded(lengthened(x, [-edge % patch for edge in x.shape[2:]]), patch)


def unpatchify(patches: Tensor, patch: int, size: Sequence[int]) -> Tensor:
    """The inverse of ``patchify``, to (B, C, *size): what was filled up is cut off."""
    return cropped(unfolded(patches, patch), size)


def folded(x: Tensor, patch: int) -> Tensor:
    """(B, C, *N) to (B, C patch^n, *N / patch): the places of each patch of n axes as channels."""
    if x.ndim == 4:
        return F.pixel_unshuffle(x, patch)  # the same, and faster
    axes = range(2, 2 * x.ndim - 2, 2)
    split = x.reshape(*x.shape[:2], *(part for edge in x.shape[2:] for part in (edge // patch, patch)))
    return split.permute(0, 1, *(axis + 1 for axis in axes), *axes).flatten(1, x.ndim - 1)


def unfolded(patches: Tensor, patch: int) -> Tensor:
    """The inverse of ``folded``."""
    if patches.ndim == 4:
        return F.pixel_shuffle(patches, patch)
    n = patches.ndim - 2
    split = patches.unflatten(1, (-1, *[patch] * n))
    woven = split.permute(0, 1, *(axis for k in range(2, 2 + n) for axis in (n + k, k)))
    return woven.reshape(*woven.shape[:2], *(patch * edge for edge in patches.shape[2:]))


class Dropout(nn.Module):
    """In training, values become 0 with probability p, and the others are scaled by 1 / (1 - p) (Srivastava et al.,
    2014).

    torch draws 64 random bits for each value on a CPU, one after the other. Here they are four coins of 16 bits, so p
    is rounded to a multiple of 2^-16.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.p)
        dropped = min(round(self.p * _SIDES), _SIDES - 1)
        kept = _coins(x.shape) >= dropped - _SIDES // 2
        return x * kept.to(x.dtype).mul_(_SIDES / (_SIDES - dropped))


def _coins(shape: torch.Size) -> Tensor:
    """Whole numbers, uniform in [-2^15, 2^15), from torch's generator."""
    words = torch.empty(-(-shape.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    return words.view(torch.int16)[: shape.numel()].view(shape)


class Upsample(Choosing):
    r"""Repeats pixels up to a given size, then convolves: any size works, odd ones too.

    At twice the size, each row k = -1, 0, 1 of the kernel w meets one of two equal rows. Both steps are then one
    transposed convolution of stride 2 that multiplies 16 times per pixel of the input, not 36, and whose rows are

    .. math:: (w_1, \; w_0 + w_1, \; w_{-1} + w_0, \; w_{-1})                                                   (1)

    and likewise its columns, and all other axes.

    Attributes:
        kernel: what ``doubling`` gives, where the weights do not change any more; None makes it anew at each call.
    """

    kernel: Tensor | None = None

    def __init__(self, channels: int, *, spatial: int = 2) -> None:
        super().__init__()
        self.conv = conv3(channels, channels, spatial=spatial)

    @property
    def ways(self) -> tuple[str, ...]:
        return "in one step", "in two steps", "in two steps, by winograd"

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        return tuple(self.conv.weight.shape)

    def forward(self, x: Tensor, size: tuple[int, ...]) -> Tensor:
        """(B, C, *N) to (B, C, *size)."""
        way = self.way(x)
        if size == doubled(x) and way == self.ways[0]:
            kernel = self.doubling() if self.kernel is None else self.kernel
            return rank_of(x).transposed(x, kernel, self.conv.bias, stride=2, padding=1)
        x = F.interpolate(x, size=size, mode="nearest")
        if way == self.ways[2] and winograd.fits(x, self.conv.weight):
            return winograd.convolved(x, self.conv.weight, self.conv.bias)
        return self.conv(x)

    def doubling(self) -> Tensor:
        """The kernel of the transposed convolution, (C, C, 4, 4) for pictures."""
        return reduce(_repeated, range(2, self.conv.weight.ndim), self.conv.weight).transpose(0, 1)


def rescaled(x: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, *N) to (B, C, *size), twice as large or half as large: repeats places, or averages two along each axis;
    a last one that is alone stays."""
    if size[0] >= x.shape[2]:
        return F.interpolate(x, size=tuple(size), mode="nearest")
    return rank_of(x).averaged(x, 2, ceil_mode=True)


def doubled(x: Tensor) -> tuple[int, ...]:
    """Twice the size of maps (B, C, *N)."""
    return tuple(2 * edge for edge in x.shape[2:])


def _repeated(weight: Tensor, dim: int) -> Tensor:
    """Equation (1) along one dimension of a kernel."""
    before, here, after = weight.split(1, dim)
    return torch.cat([after, here + after, before + here, before], dim)
