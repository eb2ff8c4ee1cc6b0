r"""The U-Net of DDPM and ADM (Ho et al., 2020, appendix B; Dhariwal and Nichol, 2021).

Levels halve the picture, the sound or the volume; each has residual blocks, some have self-attention, and the way up
sees the features of the way down.
The embedding ``emb`` of noise level (and condition ``c``) enters a feature map ``h`` in one of three ways:

.. math::
    \text{shift:} \quad & h + W emb                                                                              (1) \\
    \text{scale-shift:} \quad & h (1 + W_1 emb) + W_2 emb \quad \text{after normalisation}                       (2) \\
    \text{context:} \quad & c' h + t' \quad \text{at the start of each level up}                                 (3)

where in (1) and (2) c is added to the embedding of the noise level, and in (3), the form ``cemb * up + temb`` of the
context U-Net that is taught with sprites, c and the noise level keep embeddings of their own.

Where the condition has tokens, spatial transformers that look at them (``carrara.nn.cross_attention``) take the places
of self-attention, and make the U-Net of latent diffusion (Rombach et al., 2022, section 3.3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from carrara.backbone.base import Backbone, BackboneConfig, Layered, embedding
from carrara.backbone.conventions import Conventions
from carrara.kinds import UNSAID
from carrara.nn import (
    DEEPEST,
    WIDEST,
    Dropout,
    PixelAttention,
    Recomputed,
    SpatialTransformer,
    Tokens,
    Upsample,
    conv1,
    conv3,
    group_norm,
    patchify,
    rank_of,
    rescaled,
    unpatchify,
    zeroed,
)
from carrara.shapes import PerSample, Samples, by, checked_spatial, expand_channels, lengthened
from carrara.types import Conditioning

Modulation = Literal["shift", "scale_shift", "context"]


@dataclass(frozen=True, kw_only=True)
class UNetConfig(BackboneConfig):
    """The defaults are the CIFAR-10 network of DDPM: 35,746,307 parameters at 3 channels.

    Attributes:
        channels: width of the first level.
        multipliers: width of each level in units of ``channels``; each further level halves the picture.
        blocks: residual blocks per level.
        attention_levels: the levels (0 = full size) with self-attention after each block.
        head_width: channels per attention head; None for a single head, or as ``heads`` says.
        heads: attention heads at every level, in the place of ``head_width``.
        transformer_depths: for each level, the layers of a spatial transformer that takes the place of self-attention
            there, with 0 for none; the middle, which always has attention, goes with the last level. Empty for none.
        context_width: D of the tokens that spatial transformers look at; None without them; 0 in a recipe means: as the
            condition has them.
        modulation: how the embedding enters, equations (1) to (3).
        dropout: probability, before each block's last convolution.
        patch: the pixels of a patch of this edge are the channels of one place of the first level. 2 costs a quarter;
            edges that are not multiples of it get zeros, which are cut off from the prediction.
        conventions: what is as in other programs; None: as here.
    """

    kind: Literal["unet"] = "unet"
    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 2
    attention_levels: tuple[int, ...] = (1,)
    head_width: int | None = None
    heads: int | None = None
    transformer_depths: tuple[int, ...] = ()
    context_width: int | None = None
    modulation: Modulation = "shift"
    dropout: float = 0.0
    patch: int = 1
    conventions: Annotated[Conventions | None, UNSAID] = field(default=None, repr=False)  # as digests were

    def __post_init__(self) -> None:
        if (
            not 4 <= self.channels <= WIDEST
            or self.channels % 4
            or min(self.blocks, self.patch, len(self.multipliers)) < 1
        ):
            raise ValueError(
                "a U-Net needs channels in multiples of 4, and at least one block, one level and a patch of 1 pixel"
            )
        if max(self.blocks, len(self.multipliers), *self.transformer_depths) > DEEPEST or self.patch > WIDEST:
            raise ValueError(f"a U-Net has at most {DEEPEST} levels, and blocks and layers of each")
        widths = (w for w in (self.head_width, self.heads) if w is not None)
        if min(*self.multipliers, *widths, 1) < 1 or (self.context_width or 0) < 0:
            raise ValueError(
                f"multipliers {self.multipliers}, head_width {self.head_width} and heads {self.heads} must be 1 or "
                f"more, and context_width {self.context_width} is none of a token's"
            )
        if self.head_width is not None and self.heads is not None:
            raise ValueError("head_width and heads both say how attention is divided: leave one of them out")
        if not set(self.attention_levels) <= set(range(len(self.multipliers))):
            raise ValueError(
                f"attention_levels {self.attention_levels} must be among the levels 0 to {len(self.multipliers) - 1}"
            )
        self._check_transformers()
        if any(width % (self.others.groups or 1) for width in self.widths):
            raise ValueError(f"{self.others.groups} groups do not divide the levels' channels, {self.widths}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a probability below 1, got {self.dropout}")

    def _check_transformers(self) -> None:
        depths = self.transformer_depths
        if depths and (len(depths) != len(self.multipliers) or min(depths) < 0):
            raise ValueError(f"transformer_depths {depths} must have one depth, 0 or more, for each level")
        last = len(self.multipliers) - 1
        transformers = any(self.transformer_depth(level) for level in (*self.attention_levels, last))
        if transformers and self.context_width is None:
            raise ValueError("transformer_depths need a context_width: the width of the condition's tokens")
        if self.context_width is not None and not transformers:
            raise ValueError(
                "context_width needs transformer_depths of 1 or more, at the last level or one of attention_levels"
            )

    @property
    def others(self) -> Conventions:
        """The conventions that hold."""
        return self.conventions or Conventions()

    @property
    def steps(self) -> int | None:
        return self.others.timesteps

    @property
    def multiple(self) -> int:
        return self.patch << len(self.multipliers) - 1

    @property
    def vector_width(self) -> int:
        return 4 * self.embedded

    @property
    def embedded(self) -> int:
        """Sines and cosines of the noise level."""
        return self.others.embedded or self.channels

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.channels * m for m in self.multipliers)

    def transformer_depth(self, level: int) -> int:
        """How many layers the spatial transformers of a level have; 0 for plain self-attention."""
        return self.transformer_depths[level] if self.transformer_depths else 0

    def heads_at(self, level: int) -> int:
        """How many heads attention has at a level.

        Raises:
            ValueError: they do not divide its channels.
        """
        width = self.widths[level]
        if width % (self.heads or self.head_width or 1):
            named = f"{self.heads} heads" if self.heads else f"heads of width {self.head_width}"
            raise ValueError(f"{named} do not divide {width} channels")
        return self.heads or width // (self.head_width or width)

    def build(self, shape: tuple[int, ...], image_channels: int = 0, answers: int = 1) -> Backbone:
        spatial = checked_spatial(shape, "a U-Net")
        if self.context_width == 0:
            raise ValueError("context_width 0 leaves the width of the condition's tokens open: say it")
        smallest = -(-min(shape[1:]) // self.patch) >> (len(self.multipliers) - 1)
        if smallest < 1:
            raise ValueError(f"{len(self.multipliers)} levels are too many for samples of {by(shape[1:])}")
        return UNet(self, in_channels=shape[0] + image_channels, out_channels=shape[0] * answers, spatial=spatial)


_SD_V1 = UNetConfig(
    channels=320,
    multipliers=(1, 2, 4, 4),
    attention_levels=(0, 1, 2),
    transformer_depths=(1, 1, 1, 1),
    heads=8,
    context_width=768,
)
UNETS: Mapping[str, UNetConfig] = {
    "ddpm-cifar": UNetConfig(),
    "ldm": replace(_SD_V1, context_width=1280),
    "sd-v1": _SD_V1,
    "sd-v2": replace(_SD_V1, heads=None, head_width=64, context_width=1024),
}
"""Published networks: DDPM's for CIFAR-10, latent diffusion's for text, Stable Diffusion's."""


class ModulatedBlock(nn.Module):
    """Normalise, activate, convolve, twice, around a skip connection; the embedding enters in between."""

    def __init__(self, inp: int, out: int, config: UNetConfig, spatial: int = 2) -> None:
        super().__init__()
        self.scale_shift = config.modulation == "scale_shift"
        self.norm1, self.conv1 = _norm(inp, config), conv3(inp, out, spatial=spatial)
        self.emb = nn.Linear(config.vector_width, 2 * out if self.scale_shift else out)
        self.norm2, self.conv2 = _norm(out, config), zeroed(conv3(out, out, spatial=spatial))
        self.dropout = Dropout(config.dropout)
        self.skip = conv1(inp, out, spatial=spatial) if inp != out else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """(B, inp, *N) and an activated embedding (B, D) to (B, out, *N), or to (B, out, *size)."""
        h = F.silu(self.norm1(x))
        if size is not None:
            x, h = rescaled(x, size), rescaled(h, size)
        h = self.conv1(h)
        shift = expand_channels(self.emb(emb), h)
        if self.scale_shift:
            scale, shift = shift.chunk(2, dim=1)
            h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        else:
            h = self.norm2(h + shift)
        return self.skip(x) + self.conv2(self.dropout(F.silu(h)))


class UNetBlock(Recomputed):
    """A residual block to the width of a level, and attention if wanted."""

    def __init__(self, inp: int, level: int, config: UNetConfig, attention: bool, spatial: int = 2) -> None:
        super().__init__()
        self.residual = ModulatedBlock(inp, config.widths[level], config, spatial)
        self.attention = _attention(level, config) if attention else None

    def forward(self, x: Tensor, emb: Tensor, tokens: Tokens | None) -> Tensor:
        h = self.residual(x, emb)
        return h if self.attention is None else self.attention(h, tokens)


class ContextGate(nn.Module):
    """Equation (3): the condition scales the features, the noise level shifts them."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.context, self.time = nn.Linear(width, channels), nn.Linear(width, channels)
        nn.init.ones_(self.context.bias)

    def forward(self, h: Tensor, context: Tensor, emb: Tensor) -> Tensor:
        return torch.addcmul(expand_channels(self.time(emb), h), expand_channels(self.context(context), h), h)


class UNet(Layered):
    """See the module's head. Use ``UNetConfig(...).build((3, 32, 32))``.

    Args:
        config: the network's shape.
        in_channels: channels of the noisy picture and of the image condition together.
        out_channels: channels of the prediction.
        spatial: axes of places: 2 for pictures.
    """

    def __init__(self, config: UNetConfig, *, in_channels: int, out_channels: int, spatial: int = 2) -> None:
        super().__init__()
        self.config = config
        widths, n = config.widths, config.blocks
        levels = range(len(widths))
        attends = [level in config.attention_levels for level in levels]
        self.noise = embedding(config.embedded, config.vector_width, config.others.timesteps)
        self.inp = conv3(in_channels * config.patch**spatial, config.channels, spatial=spatial)

        enters = [config.channels, *widths[:-1]]
        self.down = nn.ModuleList(
            nn.ModuleList(UNetBlock(inp, i, config, attends[i], spatial) for inp in [enters[i]] + (n - 1) * [widths[i]])
            for i in levels
        )
        residual = config.others.resampling == "residual"
        self.downsample = nn.ModuleList(
            ModulatedBlock(w, w, config, spatial) if residual else conv3(w, w, stride=2, spatial=spatial)
            for w in widths[:-1]
        )

        self.middle = nn.ModuleList(
            UNetBlock(widths[-1], levels[-1], config, attention, spatial) for attention in (True, False)
        )

        skips = [[enters[i]] + n * [widths[i]] for i in levels]
        above = [*widths[1:], widths[-1]]
        self.up = nn.ModuleList(
            nn.ModuleList(
                UNetBlock(before + skip, i, config, attends[i], spatial)
                for before, skip in zip([above[i]] + n * [widths[i]], reversed(skips[i]), strict=True)
            )
            for i in levels
        )
        self.upsample = nn.ModuleList(
            ModulatedBlock(w, w, config, spatial) if residual else Upsample(w, spatial=spatial) for w in widths[1:]
        )
        context = config.modulation == "context"
        self.gates = nn.ModuleList(ContextGate(w, config.vector_width) for w in above) if context else None

        self.norm = _norm(config.channels * config.multipliers[0], config)
        self.out = zeroed(
            conv3(config.channels * config.multipliers[0], out_channels * config.patch**spatial, spatial=spatial)
        )

    def partly(
        self, x: Samples, noise_level: PerSample, cond: Conditioning, deep: Tensor | None, levels: int
    ) -> tuple[Tensor, Tensor]:
        emb, context = self.embed(noise_level, cond.vector)
        tokens = Tokens.of(cond, self.config.context_width)
        h = self.inp(patchify(x if cond.image is None else torch.cat([x, cond.image], dim=1), self.config.patch))
        if deep is None:
            *skips, deep = self.climb(self.descend(h, emb, tokens), emb, context, tokens, levels)
        else:
            skips = self.descend(h, emb, tokens, levels)
        return self.ascend([*skips, deep], emb, context, tokens, x.shape[2:]), deep

    def descend(self, h: Tensor, emb: Tensor, tokens: Tokens | None, levels: int | None = None) -> list[Tensor]:
        """The way down from features (B, C, *N) of full size: all that the way up sees, and the middle, last; or of so
        many levels alone, without the middle."""
        skips = [h]
        for level, blocks in list(enumerate(self.down))[:levels]:
            if level:
                h = self._halved(h, emb, level - 1)
                skips.append(h)
            for block in blocks.children():
                h = block(h, emb, tokens)
                skips.append(h)
        if levels is not None:
            return skips

        for block in self.middle:
            h = block(h, emb, tokens)
        return [*skips, h]

    def ascend(
        self, seen: list[Tensor], emb: Tensor, context: Tensor, tokens: Tokens | None, size: Sequence[int]
    ) -> Tensor:
        """The way up from what ``descend`` or ``climb`` returns, to the prediction (B, C, *size)."""
        (h,) = self.climb(seen, emb, context, tokens, 0)
        return unpatchify(self.out(F.silu(self.norm(h))), self.config.patch, size)

    def climb(
        self, seen: list[Tensor], emb: Tensor, context: Tensor, tokens: Tokens | None, levels: int
    ) -> list[Tensor]:
        """The way up until so many levels are left: what these see, and what comes to them from below, last."""
        *skips, h = seen
        while len(skips) > levels * (self.config.blocks + 1):
            level = len(skips) // (self.config.blocks + 1) - 1
            if self.gates is not None:
                h = self.gates[level](h, context, emb)
            for block in self.up[level].children():
                h = block(torch.cat([h, skips.pop()], dim=1), emb, tokens)
            if level:
                h = self._enlarged(h, emb, level - 1, skips[-1].shape[2:])
        return [*skips, h]

    def _halved(self, h: Tensor, emb: Tensor, level: int) -> Tensor:
        """A level's features (B, C, *N), for the next level."""
        if self.config.others.resampling == "residual":
            return self.downsample[level](h, emb, [-(-edge // 2) for edge in h.shape[2:]])
        if self.config.others.halving == "centred":
            return self.downsample[level](h)
        weight, bias = self.downsample[level].weight, self.downsample[level].bias
        return rank_of(h).convolved(lengthened(h, [1] * (h.ndim - 2)), weight, bias, stride=2)

    def _enlarged(self, h: Tensor, emb: Tensor, level: int, size: tuple[int, ...]) -> Tensor:
        """Features of the level below (B, C, *N), as (B, C, *size) for a level."""
        upsample = self.upsample[level]
        return upsample(h, size) if self.config.others.resampling is None else upsample(h, emb, size)

    def embed(self, noise_level: Tensor, vector: Tensor | None) -> tuple[Tensor, Tensor]:
        """The activated embedding that the blocks see, and the one that the context gates see; (B, D) each."""
        emb = self.noise(noise_level)
        vector = torch.zeros_like(emb) if vector is None else vector
        if self.gates is None:
            emb = emb + vector
        return F.silu(emb), F.silu(vector)


def _attention(level: int, config: UNetConfig) -> PixelAttention | SpatialTransformer:
    width, heads, depth = config.widths[level], config.heads_at(level), config.transformer_depth(level)
    if config.context_width is None or not depth:
        return PixelAttention(width, width // heads, config.others.groups, config.others.eps)
    return SpatialTransformer(
        width, context_width=config.context_width, heads=heads, depth=depth, groups=config.others.groups
    )


def _norm(channels: int, config: UNetConfig) -> nn.GroupNorm:
    return group_norm(channels, config.others.groups, config.others.eps)
