r"""Spatial transformers: the pixels of a feature map look at each other and at the tokens of a condition.

With a map's positions as rows x and the tokens as rows c, each layer is (Rombach et al., 2022, section 3.3 and appendix
E.2.1, in the order of their networks)

.. math::
    x &\leftarrow x + A(n_1(x), n_1(x))                                                                          (1) \\
    x &\leftarrow x + A(n_2(x), c)                                                                               (2) \\
    x &\leftarrow x + W_2 (u \odot \operatorname{gelu}(g)), \quad (u, g) = W_1 n_3(x)                            (3) \\
    A(x, y) &= W_o \operatorname{softmax}(Q K^T / \sqrt d) V, \quad Q = W_q x, \quad (K, V) = W_{kv} y           (4)

with layer norms n, and heads of d channels in (4). The softmax in (2) runs over the tokens that count; where none does,
(2) adds nothing, not even the bias of W_o.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from carrara.nn.layers import group_norm, zeroed


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The c of equation (2), made safe once for all layers.

    Attributes:
        values: (B, N, D), zero where a token does not count, so that not even a NaN there is seen.
        attended: (B, 1, 1, N) bool, the tokens in (4)'s sum; None for all. A sample without a token that counts sums
            over all its zeros, because a softmax over nothing is undefined.
        present: (B, 1, 1) bool, whether the sample has a token that counts; None for always.
    """

    values: Tensor
    attended: Tensor | None = None
    present: Tensor | None = None

    @classmethod
    def of(cls, tokens: Float[Tensor, "B N D"] | None, mask: Bool[Tensor, "B N"] | None) -> "Tokens | None":
        """Reads ``Conditioning.tokens`` and ``Conditioning.mask``; None where there are no tokens at all."""
        if tokens is None or not tokens.shape[1]:
            return None
        if mask is None:
            return cls(values=tokens)
        present = mask.any(dim=1, keepdim=True)
        return cls(
            values=torch.where(mask[..., None], tokens, 0.0),
            attended=(mask | ~present)[:, None, None],
            present=present[..., None],
        )


class Attention(nn.Module):
    """Equation (4), without biases but the last.

    Args:
        channels: width of x.
        source_width: width of y.
        heads: how many.

    Raises:
        ValueError: ``heads`` does not divide ``channels``.
    """

    def __init__(self, channels: int, source_width: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{heads} heads do not divide {channels} channels")
        self.heads = heads
        self.q = nn.Linear(channels, channels, bias=False)
        self.kv = nn.Linear(source_width, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, y: Tensor, attended: Tensor | None = None) -> Tensor:
        """(B, L, C) and (B, N, D) to (B, L, C); ``attended`` (B, 1, 1, N) bool says which rows of y are summed."""
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(y).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attended)
        return self.out(mixed.transpose(1, 2).flatten(2))


class GatedFeedForward(nn.Module):
    """Equation (3)'s branch (GEGLU of Shazeer, 2020), four times as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inp, self.out = nn.Linear(channels, 8 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        u, g = self.inp(x).chunk(2, dim=-1)
        return self.out(u * F.gelu(g))


class TransformerLayer(nn.Module):
    """Equations (1) to (3)."""

    def __init__(self, channels: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.to_itself = nn.LayerNorm(channels), Attention(channels, channels, heads)
        self.norm2, self.to_tokens = nn.LayerNorm(channels), Attention(channels, context_width, heads)
        self.norm3, self.feed_forward = nn.LayerNorm(channels), GatedFeedForward(channels)

    def forward(self, x: Tensor, tokens: Tokens | None) -> Tensor:
        """(B, L, C) to the same shape."""
        y = self.norm1(x)
        x = x + self.to_itself(y, y)
        if tokens is not None:
            told = self.to_tokens(self.norm2(x), tokens.values, tokens.attended)
            x = x + (told if tokens.present is None else torch.where(tokens.present, told, 0.0))
        return x + self.feed_forward(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A residual branch of transformer layers over the pixels of a feature map. A fresh one is the identity.

    Args:
        channels: width of the feature map.
        context_width: D of the tokens.
        heads: attention heads.
        depth: how many layers.

    Raises:
        ValueError: ``heads`` does not divide ``channels``.
    """

    def __init__(self, channels: int, *, context_width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.norm.eps = 1e-6  # as the published weights were trained
        self.inp = nn.Linear(channels, channels)
        self.layers = nn.ModuleList(TransformerLayer(channels, context_width, heads) for _ in range(depth))
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, tokens: Tokens | None) -> Tensor:
        """(B, C, H, W) to the same shape."""
        h = self.inp(self.norm(x).flatten(2).transpose(1, 2))
        for layer in self.layers:
            h = layer(h, tokens)
        return x + self.out(h).transpose(1, 2).reshape(x.shape)
