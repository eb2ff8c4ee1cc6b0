r"""Attention between rows of queries, keys and values, and that of a feature map's pixels to each other.

.. math:: A(Q, K, V) = \operatorname{softmax}(Q K^T / \sqrt d) V                                                (1)
"""

from collections.abc import Generator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from carrara.nn.layers import group_norm, rank_of, zeroed
from carrara.shapes import expand_channels

SCORES = 1 << 20
"""Products of queries and keys that may exist for each sample: 2 MiB."""
_as_gpus = False


def attend(q: Tensor, k: Tensor, v: Tensor, *, attended: Tensor | None = None) -> Tensor:
    """Equation (1): torch's own, but for bfloat16 on a CPU, where two matrix products and a softmax take half its time
    as long as the scores fit into memory (``benchmarks/layers.py``). They are rounded to bfloat16 then, which leaves an
    error of about 0.5 % in the place of 0.2 %, or of 1 % where attention is sharp.

    Args:
        q: (B, heads, L, d).
        k, v: (B, heads, N, d).
        attended: what broadcasts to (B, heads, L, N): which rows the softmax runs over, or what is added to the scores.

    Returns:
        (B, heads, L, d).
    """
    quick = q.dtype is torch.bfloat16 and q.device.type == "cpu" and not _as_gpus
    if not (quick and q.shape[1:-1].numel() * k.shape[-2] <= SCORES):  # in this order: sizes may be open in an export
        q, k, v = (rows.contiguous() for rows in (q, k, v))  # its fused kernels want features side by side
        return F.scaled_dot_product_attention(q, k, v, attn_mask=attended)
    scores = (q * q.shape[-1] ** -0.5) @ k.mT
    if attended is not None:
        scores = scores.masked_fill(~attended, -torch.inf) if attended.dtype is torch.bool else scores + attended
    return scores.softmax(dim=-1) @ v


@contextmanager
def attending_as_gpus() -> Generator[None]:
    """A block in which attention is torch's own everywhere, to foresee on a CPU what a GPU would do."""
    global _as_gpus
    before, _as_gpus = _as_gpus, True
    try:
        yield
    finally:
        _as_gpus = before


class PixelAttention(nn.Module):
    """A residual self-attention block over all positions (Vaswani et al., 2017; in a U-Net: Ho et al., 2020).

    Args:
        channels: width of the feature map.
        head_width: channels per head; None for one head.
        groups, eps: as of ``group_norm``.

    Raises:
        ValueError: ``head_width`` does not divide ``channels``.
    """

    def __init__(
        self, channels: int, head_width: int | None = None, groups: int | None = None, eps: float = 1e-5
    ) -> None:
        super().__init__()
        if channels % (head_width or channels):
            raise ValueError(f"heads of width {head_width} do not divide {channels} channels")
        self.heads = channels // (head_width or channels)
        self.norm = group_norm(channels, groups, eps)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, tokens: object = None) -> Tensor:
        """(B, C, *N) to the same shape, whatever the tokens that ``SpatialTransformer`` looks at in its place."""
        q, k, v = _each_pixel(self.qkv, self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).mT.unbind(1)
        mixed = attend(q, k, v).mT.reshape(x.shape)
        return x + _each_pixel(self.out, mixed)


def _each_pixel(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer on the channels of each pixel, without moving them to the end: a 1x1 convolution."""
    return rank_of(x).convolved(x, expand_channels(layer.weight, x), layer.bias)
