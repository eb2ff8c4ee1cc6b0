r"""Encoder and decoder for pictures whose feature maps are too large: the same numbers, a band of rows at a time.

Tiles that are encoded or decoded alone and blended show seams, because group normalisation looks at the whole map:

.. math:: y = a \odot x + b, \quad a = \gamma / s, \quad b = \beta - \gamma m / s, \quad
          m = \tfrac{1}{n} \sum x, \quad s^2 = \tfrac{1}{n} \sum x^2 - m^2 + \epsilon.                           (1)

But its two sums add up over bands. So each norm first has its sums taken band by band, in float64, which makes it a
product and a sum for each channel; all else is local, and gives the right rows if a band brings the few rows above and
below that its convolutions see. What a band computes is forgotten. One map at a time is kept whole, after each residual
block, and a block writes where it read, if it keeps the channels. The first convolution of a block is computed twice,
and one that changes the size before it three times. Attention, which is at the lowest resolution, gets its map whole.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, prod
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from carrara.autoencoder.convolutional import Decoder, Encoder
from carrara.nn import ResidualBlock, doubled, folded, unfolded
from carrara.shapes import Signals, expand_channels, padded

BAND, FEWEST = 1 << 14, 16
"""Places of a band, and its rows at least."""
MOST_BYTES = 1 << 29
"""Bytes of a picture's largest map, or so, up to which it is made as a whole: Stable Diffusion's at 1024 x 1024."""

_Local = Callable[[Tensor], Tensor]


@final
@dataclass(frozen=True)
class _Map:
    """A feature map (B, C, *size) that is made when it is asked for. Its rows lie along the first axis of its places.

    Attributes:
        rows: makes the rows from ``top`` to ``bottom``.
        kept: the map itself, where it was made and kept.
    """

    size: tuple[int, ...]
    rows: Callable[[int, int], Tensor]
    kept: Tensor | None = None

    def bands(self) -> Iterator[tuple[int, Tensor]]:
        """All rows, and where they begin."""
        count = max(FEWEST, BAND // prod(self.size[1:]))
        for top in range(0, self.size[0], count):
            yield top, self.rows(top, min(top + count, self.size[0]))


def wanted(channels: int, *size: int) -> bool:
    """Whether pictures whose first or last map has this shape are for this module: large, and not to train on."""
    return 4 * channels * prod(size) > MOST_BYTES and not torch.is_grad_enabled()


@torch.no_grad()
def encode_in_bands(encoder: Encoder, x: Signals) -> Tensor:
    """What the encoder makes of pictures (B, C, *N), one after the other, without gradients."""
    return torch.cat([_encode(encoder, picture) for picture in x.split(1)])


@torch.no_grad()
def decode_in_bands(decoder: Decoder, z: Tensor) -> Tensor:
    """What the decoder makes of features (B, C, *n), one after the other, without gradients."""
    return torch.cat([_decode(decoder, features) for features in z.split(1)])


def _encode(encoder: Encoder, x: Signals) -> Tensor:
    patch = encoder.patch
    h = _through(
        _kept(padded(x, encoder.factor)),
        lambda part: encoder.inp(folded(part, patch)),
        halo=patch,
        scale=Fraction(1, patch),
    )
    for k, level in enumerate(encoder.levels):
        h = _blocks(level, h)
        if k < len(encoder.reduce):
            h = _through(h, encoder.reduce[k], halo=2, scale=Fraction(1, 2))
    h = _blocks(encoder.middle, h)
    return _whole(_last(encoder.norm, encoder.out, h))


def _decode(decoder: Decoder, z: Tensor) -> Tensor:
    h = _blocks(decoder.middle, _kept(decoder.inp(z)))
    for k, level in enumerate(decoder.levels):
        h = _blocks(level, h)
        if k < len(decoder.enlarge):
            h = _through(h, _doubling(decoder.enlarge[k]), halo=1, scale=Fraction(2))
    last = _last(decoder.norm, decoder.out, h)
    return unfolded(_whole(last), decoder.patch)


def _blocks(level: nn.Module, h: _Map) -> _Map:
    for block in level.children():
        h = _block(block, h) if isinstance(block, ResidualBlock) else _kept(block(_whole(h)))
    return h


def _block(block: ResidualBlock, x: _Map) -> _Map:
    """A residual block's map, kept; in the place of ``x``, if that is kept and has the same channels."""
    norm1 = _norm(block.norm1, x)

    def first(part: Tensor) -> Tensor:
        return block.conv1(F.silu(norm1(part)))

    norm2 = _norm(block.norm2, _through(x, first, halo=1))

    def both(part: Tensor) -> Tensor:
        return block.skip(part) + block.conv2(F.silu(norm2(first(part))))

    same = block.norm1.num_channels == block.norm2.num_channels
    return _kept(_whole(_through(x, both, halo=2), into=x.kept if same else None))


def _last(norm: nn.GroupNorm, out: nn.Module, x: _Map) -> _Map:
    fixed = _norm(norm, x)
    return _through(x, lambda part: out(F.silu(fixed(part))), halo=1)


def _doubling(enlarge: nn.Module) -> _Local:
    return lambda part: enlarge(part, doubled(part))


def _kept(x: Tensor) -> _Map:
    return _Map(tuple(x.shape[2:]), lambda top, bottom: x[:, :, top:bottom], x)


def _through(x: _Map, f: _Local, *, halo: int, scale: Fraction = Fraction(1)) -> _Map:
    """The map f(x), of ``scale`` times as many rows, if no row of it sees further than ``halo`` rows of x.

    A band gets ``halo`` rows of x too many at each side, unless it ends there, and loses what f makes of them: there f
    sees the end of the band, where the whole map goes on.
    """

    def rows(top: int, bottom: int) -> Tensor:
        first = max(0, floor(top / scale) - halo)
        last = min(x.size[0], ceil(bottom / scale) + halo)
        skipped = top - int(first * scale)
        return f(x.rows(first, last))[:, :, skipped : skipped + bottom - top]

    return _Map(tuple(int(edge * scale) for edge in x.size), rows)


def _norm(norm: nn.GroupNorm, x: _Map) -> _Local:
    """Equation (1), for the whole of x."""
    count, sums = 0, torch.zeros(())
    for _, part in x.bands():
        groups = part.float().unflatten(1, (norm.num_groups, -1)).flatten(2)
        variance, mean = (v.double() for v in torch.var_mean(groups, dim=2, correction=0))
        count += groups.shape[2]
        sums = sums.to(mean) + groups.shape[2] * torch.stack([mean, mean.square() + variance])
    m, square = (sums / count).repeat_interleave(norm.num_channels // norm.num_groups, dim=2)
    a = norm.weight / (square - m.square() + norm.eps).sqrt()
    b = norm.bias - a * m
    a, b = a.float(), b.float()

    def fixed(part: Tensor) -> Tensor:
        return torch.addcmul(expand_channels(b, part), part.float(), expand_channels(a, part)).to(norm.weight.dtype)

    return fixed


def _whole(x: _Map, into: Tensor | None = None) -> Tensor:
    """All of x as one tensor (B, C, *N).

    Args:
        into: is overwritten. x may be made of it, if no band of x looks beyond the two next to it: a band is written
            when the next one is made.
    """
    if x.kept is not None:
        return x.kept
    waiting: tuple[int, Tensor] | None = None
    for top, part in x.bands():
        into = part.new_empty(*part.shape[:2], *x.size) if into is None else into
        if waiting is not None:
            _write(into, *waiting)
        waiting = top, part
    assert into is not None and waiting is not None
    _write(into, *waiting)
    return into


def _write(whole: Tensor, top: int, part: Tensor) -> None:
    whole[:, :, top : top + part.shape[2]] = part
