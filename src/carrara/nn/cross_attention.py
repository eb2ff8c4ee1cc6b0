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
from torch import Tensor, nn

from carrara.nn.layers import group_norm, zeroed
from carrara.nn.transformer import Attention
from carrara.types import Conditioning


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The c of equation (2), made safe once for all layers.

    Attributes:
        values: (B, N, D), zero where a token does not count, so that not even a NaN there is seen.
        attended: (B, 1, 1, N) bool, the tokens in (4)'s sum, or the logarithms of how often each is in it; None for all
            of them. A sample without a token that counts sums over all its zeros, because a softmax over nothing is
            undefined.
        present: (B, 1, 1) bool, whether the sample has a token that counts; None for always.
    """

    values: Tensor
    attended: Tensor | None = None
    present: Tensor | None = None

    @classmethod
    def of(cls, cond: Conditioning, width: int | None) -> "Tokens | None":
        """Reads a condition's tokens, for a network that looks at tokens of ``width``, or at none; None without any.

        Raises:
            ValueError: the tokens have another width.
        """
        if cond.tokens is None or width is None or not cond.tokens.shape[1]:
            return None
        if cond.tokens.shape[2] != width:
            raise ValueError(
                f"the condition has tokens of width {cond.tokens.shape[2]}, and the network looks at tokens of width "
                f"{width}"
            )
        if cond.mask is None:
            return cls(values=cond.tokens, attended=_logarithms(cond.weights, None))
        present = cond.mask.any(dim=1, keepdim=True)
        return cls(
            values=torch.where(cond.mask[..., None], cond.tokens, 0.0),
            attended=_logarithms(cond.weights, cond.mask | ~present),
            present=present[..., None],
        )


def _logarithms(weights: Tensor | None, attended: Tensor | None) -> Tensor | None:
    """What attention takes: which tokens it sums, or the logarithm of how often, (B, 1, 1, N)."""
    if weights is not None:
        often = weights.log() if attended is None else weights.log().masked_fill(~attended, float("-inf"))
        return often[:, None, None]
    return None if attended is None else attended[:, None, None]


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
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.to_itself = Attention(channels, heads, bias=False)
        self.to_tokens = Attention(channels, heads, source_width=context_width, bias=False)
        self.feed_forward = GatedFeedForward(channels)

    def forward(self, x: Tensor, tokens: Tokens | None) -> Tensor:
        """(B, L, C) to the same shape."""
        y = self.norm1(x)
        x = x + self.to_itself(y, y)
        if tokens is not None:
            told = self.to_tokens(self.norm2(x), tokens.values, attended=tokens.attended)
            x = x + (told if tokens.present is None else torch.where(tokens.present, told, 0.0))
        return x + self.feed_forward(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A residual branch of transformer layers over the pixels of a feature map. A fresh one is the identity.

    Args:
        channels: width of the feature map.
        context_width: D of the tokens.
        heads: attention heads.
        depth: how many layers.
        groups: of the norm, as of ``group_norm``.

    Raises:
        ValueError: ``heads`` does not divide ``channels``.
    """

    def __init__(self, channels: int, *, context_width: int, heads: int, depth: int, groups: int | None = None) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups, 1e-6)  # as the published weights were trained
        self.inp = nn.Linear(channels, channels)
        self.layers = nn.ModuleList(TransformerLayer(channels, context_width, heads) for _ in range(depth))
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, tokens: Tokens | None) -> Tensor:
        """(B, C, *N) to the same shape."""
        h = self.inp(self.norm(x).flatten(2).transpose(1, 2))
        for layer in self.layers:
            h = layer(h, tokens)
        return x + self.out(h).transpose(1, 2).reshape(x.shape)
