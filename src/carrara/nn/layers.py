"""Small layers that several networks share."""

from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_M = TypeVar("_M", bound=nn.Linear | nn.Conv2d)
_SIDES = 1 << 16
"""Of a coin."""


def zeroed(layer: _M) -> _M:
    """Sets weights and bias to zero, so that a residual branch starts as nothing and a network as its skip path."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def conv3(inp: int, out: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, or halves it (rounding up) with ``stride`` 2."""
    return nn.Conv2d(inp, out, 3, stride=stride, padding=1)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation in at most 32 groups of at least 4 channels, the most that divide ``channels``."""
    groups = next(g for g in range(min(32, max(1, channels // 4)), 0, -1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)


def cut(x: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) to (B, C patch^2, rows, columns), each patch of pixels as channels; the last ones filled up with
    zeros."""
    below, right = (-n % patch for n in x.shape[2:])
    return F.pixel_unshuffle(F.pad(x, (0, right, 0, below)), patch)


def joined(patches: Tensor, patch: int, size: Sequence[int]) -> Tensor:
    """The inverse of ``cut``, to (B, C, *size): what was filled up is cut off."""
    return F.pixel_shuffle(patches, patch)[..., : size[0], : size[1]]


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


class Upsample(nn.Module):
    r"""Repeats pixels up to a given size, then convolves: any size works, odd ones too.

    At twice the size, each row k = -1, 0, 1 of the kernel w meets one of two equal rows. Both steps are then one
    transposed convolution of stride 2 that multiplies 16 times per pixel of the input, not 36, and whose rows are

    .. math:: (w_1, \; w_0 + w_1, \; w_{-1} + w_0, \; w_{-1})                                                   (1)

    and likewise its columns.

    Attributes:
        kernel: what ``doubling`` gives, where the weights do not change any more; None makes it anew at each call.
    """

    kernel: Tensor | None = None

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(channels, channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, C, h, w) to (B, C, *size)."""
        if size == (2 * x.shape[2], 2 * x.shape[3]):
            kernel = self.doubling() if self.kernel is None else self.kernel
            return F.conv_transpose2d(x, kernel, self.conv.bias, stride=2, padding=1)
        return self.conv(F.interpolate(x, size=size, mode="nearest"))

    def doubling(self) -> Tensor:
        """The kernel of the transposed convolution, (C, C, 4, 4)."""
        return _repeated(_repeated(self.conv.weight, 2), 3).transpose(0, 1)


def _repeated(weight: Tensor, dim: int) -> Tensor:
    """Equation (1) along one dimension of a kernel."""
    before, here, after = weight.split(1, dim)
    return torch.cat([after, here + after, before + here, before], dim)
