"""Shape annotations, executed under the tests, and what is done alike to sounds, pictures and volumes.

Letters: ``B`` batch, ``S`` everything else of a sample: ``D`` for points, or channels ``C`` at places ``N``, which are
``L`` for sounds, ``H W`` for pictures, and ``D H W`` for volumes.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Samples = Float[Tensor, "B *S"]
"""One array per sample: maps, or points ``(B, D)``."""
Signals = Float[Tensor, "B C *N"]
"""Channels at places: sounds ``(B, C, L)``, pictures ``(B, C, H, W)``, volumes ``(B, C, D, H, W)``; their latents."""
PerSample = Float[Tensor, "B"]
"""One number per sample."""
Scalars = Float[Tensor, "*K"]
"""Numbers of any shape; the result has the same."""
Indices = Int[Tensor, "B"]
"""One whole number per sample."""
Keep = Bool[Tensor, "B"]
"""One decision per sample."""


def spatial_of(shape: Sequence[int]) -> int:
    """How many axes of places samples of ``shape`` have: 0 points, 1 sounds, 2 pictures, 3 volumes."""
    return len(shape) - 1


def checked_spatial(shape: Sequence[int], what: str) -> int:
    """``spatial_of`` samples for a network that needs places.

    Args:
        what: the network, as the sentence begins.

    Raises:
        ValueError: the samples have no places, or places in too many dimensions.
    """
    if not 1 <= spatial_of(shape) <= 3:
        raise ValueError(
            f"{what} takes pictures (C, H, W), not samples of shape {tuple(shape)}; it takes sounds (C, L) and volumes "
            "(C, D, H, W), too"
        )
    return spatial_of(shape)


def by(size: Sequence[int]) -> str:
    """A size in words: 480x640."""
    return "x".join(map(str, size))


def expand(per_sample: Float[Tensor, "..."], like: Tensor) -> Tensor:
    """Reshapes ``()`` or ``(B,)`` so that it multiplies ``(B, *S)`` sample by sample.

    A plain product would broadcast ``(B,)`` along the *last* axis, silently so when the width happens to be ``B``.

    Raises:
        ValueError: ``per_sample`` is neither a scalar nor one number per sample of ``like``.
    """
    if per_sample.ndim == 0:
        return per_sample.to(like.device)
    if per_sample.shape != like.shape[:1]:
        raise ValueError(f"expected () or ({like.shape[0]},) numbers, got {tuple(per_sample.shape)}")
    return per_sample.to(like.device).reshape(-1, *[1] * (like.ndim - 1))


def expand_channels(per_channel: Tensor, like: Tensor) -> Tensor:
    """Reshapes ``(C,)`` or ``(B, C)`` so that it multiplies ``(B, C, *N)`` channel by channel."""
    return per_channel.reshape(*per_channel.shape, *[1] * (like.ndim - 2))


def lengthened(x: Tensor, gaps: Sequence[int], mode: str = "constant") -> Tensor:
    """(B, C, *N) with so many places more at the end of each axis: zeros, or those that ``F.pad`` has for ``mode``."""
    return F.pad(x, [width for gap in reversed(gaps) for width in (0, gap)], mode=mode)


def padded(x: Tensor, factor: int) -> Tensor:
    """Repeats the last places of (B, C, *N) along each axis until the factor divides its length."""
    gaps = [-edge % factor for edge in x.shape[2:]]
    return lengthened(x, gaps, "replicate") if any(gaps) else x


def cropped(x: Tensor, size: Sequence[int]) -> Tensor:
    """The first places of (..., *N) along each axis, as many as ``size`` says: what was padded goes."""
    return x[(..., *(slice(edge) for edge in size))]


def window(firsts: Sequence[int], edges: Sequence[int]) -> tuple[slice, ...]:
    """The places from ``firsts`` on, as many as ``edges`` says along each axis: an index."""
    return tuple(slice(first, first + edge) for first, edge in zip(firsts, edges, strict=True))


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, *N) to (B, C, *size) by cubic kernels, which are antialiased where an axis shrinks."""
    if x.ndim == 4:
        return _cubic(x, size[0], size[1])
    for axis, edge in enumerate(size, start=2):
        moved = x.movedim(axis, -1)
        rows = moved.reshape(*moved.shape[:2], -1, moved.shape[-1])  # along the width: torch errs in columns alone
        x = _cubic(rows, rows.shape[2], edge).reshape(*moved.shape[:-1], edge).movedim(-1, axis)
    return x


def _cubic(x: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(x, (height, width), mode="bicubic", antialias=True, align_corners=False)
