r"""The diffusion transformer, DiT (Peebles and Xie, 2023).

A picture is cut into patches, each a row x of features. With the embedding ``emb`` of noise level and condition, and
the condition's tokens c, if any, each block is

.. math::
    x &\leftarrow x + g_1 \odot A(m_1(x), m_1(x))                                                                (1) \\
    x &\leftarrow x + A'(n(x), c)                                                                                (2) \\
    x &\leftarrow x + g_2 \odot W_2 \operatorname{gelu}(W_1 m_2(x))                                              (3) \\
    m_i(x) &= (1 + s_i) \odot n(x) + b_i                                                                         (4) \\
    (b_1, s_1, g_1, b_2, s_2, g_2) &= W \operatorname{silu}(emb)                                                 (5)

with the layer norm n and the attentions A, A' of ``carrara.nn.transformer``. W starts at zero, and so does the last
layer of A': every fresh block is the identity ("adaLN-Zero"). The network ends with (4) and a layer back to the pixels
of each patch, which start at zero too.

Equation (2) is the addition of Chen et al. (2024, PixArt-alpha) for text. Its softmax runs over the tokens that count;
where none does, it adds nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from carrara.backbone.base import Backbone, BackboneConfig, check_timesteps, embedding
from carrara.kinds import UNSAID
from carrara.nn import DEEPEST, WIDEST, Attention, Recomputed, Tokens, patchify, unpatchify, zeroed
from carrara.nn.transformer import linear, sincos, turns
from carrara.shapes import PerSample, Samples, checked_spatial
from carrara.types import Conditioning

NOISE_FEATURES = 256
"""What the noise level is made into before the two layers of its embedding."""


@dataclass(frozen=True, kw_only=True)
class DiTConfig(BackboneConfig):
    """The defaults are the paper's DiT-S/2; ``DIT_SIZES`` has the others.

    Attributes:
        width: features of each patch.
        depth: blocks.
        heads: of each attention.
        patch: pixels along a patch's edge. Half of it costs four times as much, or more, and sees finer detail.
        positions: ``sincos``, added to the patches once, as in the paper; or ``rotary``, which turns queries and keys
            in every block, so that these see displacements only.
        qk_norm: normalises queries and keys, which keeps long trainings of large networks stable.
        context_width: D of the tokens that the blocks look at, equation (2); None without them; 0 in a recipe means: as
            the condition has them.
        timesteps: the network is told the number of a step, by a table of as many; None: the half log-SNR.
        share: the network is told how much of a state is data, alpha / (alpha + sigma), in the place of both.
        eps: what the norm before the feed-forward layers adds to the variance; None is 1e-6.
    """

    kind: Literal["dit"] = "dit"
    width: int = 384
    depth: int = 12
    heads: int = 6
    patch: int = 2
    positions: Literal["sincos", "rotary"] = "sincos"
    qk_norm: bool = False
    context_width: int | None = None
    timesteps: Annotated[int | None, UNSAID] = field(default=None, repr=False)  # as digests were
    eps: Annotated[float | None, UNSAID] = field(default=None, repr=False)
    share: Annotated[bool | None, UNSAID] = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_timesteps(self.timesteps)
        if self.share and self.timesteps is not None:
            raise ValueError("timesteps and share both say what the network is told: leave one of them out")
        if self.eps is not None and not 0 < self.eps < 1:
            raise ValueError(f"eps is small and above 0, got {self.eps}")
        if min(self.width, self.depth, self.heads, self.patch) < 1:
            raise ValueError("a DiT needs a width, a depth, heads and a patch of 1 or more")
        if max(self.width, self.patch) > WIDEST or self.depth > DEEPEST:
            raise ValueError(f"a DiT has a width up to {WIDEST}, and a depth up to {DEEPEST}")
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}")
        if self.positions == "sincos" and self.width % 4:
            raise ValueError(f"sincos positions need a width in multiples of 4, got {self.width}")
        if self.positions == "rotary" and self.head_width % 4:
            raise ValueError(
                f"rotary positions need heads of a width in multiples of 4, and {self.heads} heads of {self.width} "
                f"features are {self.head_width} wide"
            )
        if self.context_width is not None and self.context_width < 0:
            raise ValueError(f"context_width is the width of the condition's tokens, got {self.context_width}")

    @property
    def multiple(self) -> int:
        return self.patch

    @property
    def steps(self) -> int | None:
        return self.timesteps

    @property
    def vector_width(self) -> int:
        return self.width

    @property
    def head_width(self) -> int:
        """Features of each head."""
        return self.width // self.heads

    def build(self, shape: tuple[int, ...], image_channels: int = 0, answers: int = 1) -> Backbone:
        spatial = checked_spatial(shape, "a DiT")
        if self.context_width == 0:
            raise ValueError("context_width 0 leaves the width of the condition's tokens open: say it")
        return DiT(self, in_channels=shape[0] + image_channels, out_channels=shape[0] * answers, spatial=spatial)


DIT_SIZES: Mapping[str, DiTConfig] = {
    "S": DiTConfig(width=384, depth=12, heads=6),
    "B": DiTConfig(width=768, depth=12, heads=12),
    "L": DiTConfig(width=1024, depth=24, heads=16),
    "XL": DiTConfig(width=1152, depth=28, heads=16),
}
"""The paper's table 1, with patches of 2: about 32, 130, 457 and 674 million parameters at 4 channels."""


class DiTBlock(Recomputed):
    """Equations (1) to (5). A fresh one is the identity."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width = config.width
        self.norm, self.norm2 = _layer_norm(width), _layer_norm(width, config.eps)
        self.modulation = zeroed(nn.Linear(width, 6 * width))
        self.to_itself = Attention(width, config.heads, qk_norm=config.qk_norm)
        self.to_tokens = _to_tokens(config)
        self.feed_forward = nn.Sequential(linear(width, 4 * width), nn.GELU("tanh"), linear(4 * width, width))

    def forward(self, x: Tensor, emb: Tensor, positions: Tensor | None, tokens: Tokens | None) -> Tensor:
        """(B, L, C), an activated embedding (B, 1, C), what ``turns`` gives and the tokens c to (B, L, C)."""
        b1, s1, g1, b2, s2, g2 = self.modulation(emb).chunk(6, dim=-1)
        m = _modulated(self.norm(x), s1, b1)
        x = x + g1 * self.to_itself(m, m, positions=positions)
        if self.to_tokens is not None and tokens is not None:
            told = self.to_tokens(self.norm(x), tokens.values, attended=tokens.attended)
            x = x + (told if tokens.present is None else torch.where(tokens.present, told, 0.0))
        return x + g2 * self.feed_forward(_modulated(self.norm2(x), s2, b2))


class DiT(Backbone):
    """See the module's head. Use ``DiTConfig(...).build((4, 32, 32))``.

    It knows no size: a picture whose edges are not multiples of ``patch`` gets zeros at the right and below, which are
    cut off from the prediction.

    Args:
        config: the network's shape.
        in_channels: channels of the noisy picture and of the image condition together.
        out_channels: channels of the prediction.
        spatial: axes of places: 2 for pictures.
    """

    def __init__(self, config: DiTConfig, *, in_channels: int, out_channels: int, spatial: int = 2) -> None:
        super().__init__()
        self.config = config
        width, pixels = config.width, config.patch**spatial
        self.noise = embedding(NOISE_FEATURES, width, config.timesteps, share=bool(config.share))
        self.inp = linear(in_channels * pixels, width)
        self.blocks = nn.ModuleList(DiTBlock(config) for _ in range(config.depth))
        self.norm = _layer_norm(width)
        self.modulation = zeroed(nn.Linear(width, 2 * width))
        self.out = zeroed(nn.Linear(width, out_channels * pixels))

    def forward(self, x: Samples, noise_level: PerSample, cond: Conditioning) -> Tensor:
        emb = self.noise(noise_level)
        emb = F.silu(emb if cond.vector is None else emb + cond.vector)[:, None]
        tokens = Tokens.of(cond, self.config.context_width)
        patches = patchify(x if cond.image is None else torch.cat([x, cond.image], dim=1), self.config.patch)
        h, positions = self._placed(patches)
        for block in self.blocks:
            h = block(h, emb, positions, tokens)
        b, s = self.modulation(emb).chunk(2, dim=-1)
        pixels = self.out(_modulated(self.norm(h), s, b)).transpose(1, 2).unflatten(2, patches.shape[2:])
        return unpatchify(pixels, self.config.patch, x.shape[2:])

    def _placed(self, patches: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows of features (B, L, C) in the type of the patches, and what attention has to know of their places."""
        h = self.inp(patches.flatten(2).transpose(1, 2)).to(patches.dtype)
        grid = tuple(patches.shape[2:])
        if self.config.positions == "rotary":
            return h, turns(grid, self.config.head_width, h.device)
        return h + sincos(grid, self.config.width, h.device).to(h.dtype), None


def _to_tokens(config: DiTConfig) -> Attention | None:
    """Equation (2)'s A'."""
    if config.context_width is None:
        return None
    attention = Attention(config.width, config.heads, source_width=config.context_width, qk_norm=config.qk_norm)
    zeroed(attention.out)
    return attention


def _layer_norm(width: int, eps: float | None = None) -> nn.LayerNorm:
    return nn.LayerNorm(width, elementwise_affine=False, eps=1e-6 if eps is None else eps)


def _modulated(n: Tensor, s: Tensor, b: Tensor) -> Tensor:
    """Equation (4)."""
    return n * (1 + s) + b
