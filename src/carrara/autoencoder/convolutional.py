r"""The encoder and the decoder of latent diffusion (Rombach et al., 2022, appendix G), for any channels and factor.

Each level but the first halves the picture; a patch of p x p pixels may be folded into channels before the first. So

.. math:: f = p \, 2^{\text{levels} - 1}                                                                          (1)

pixels along an edge become one latent. The middle, at the lowest resolution, has self-attention. Sounds have one edge,
pictures two, and volumes three.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, final

import torch.nn.functional as F
from torch import Tensor, nn

from carrara.kinds import UNSAID
from carrara.nn import (
    DEEPEST,
    RANKS,
    WIDEST,
    PixelAttention,
    ResidualBlock,
    Upsample,
    conv3,
    doubled,
    folded,
    group_norm,
    unfolded,
)
from carrara.shapes import Signals, by, checked_spatial, lengthened, padded


@dataclass(frozen=True, kw_only=True)
class ConvolutionalConfig:
    """The defaults are Stable Diffusion's: with ``KlConfig``, 83,653,863 parameters at 3 channels.

    Attributes:
        channels: width of the first level.
        multipliers: width of each level in units of ``channels``.
        blocks: residual blocks of each level of the encoder; the decoder has one more.
        latent_channels: C of the latents.
        patch: p of equation (1). 2 or 4 makes a small network fast: no layer works at full resolution.
        groups: of every group norm; None is as many as suit each width. See ``backbone.Conventions``.
        eps: what group norms add to the variance; None is 1e-5. Stable Diffusion's have 1e-6.
    """

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    blocks: int = 2
    latent_channels: int = 4
    patch: int = 1
    groups: Annotated[int | None, UNSAID] = field(default=None, repr=False)  # as digests were
    eps: Annotated[float | None, UNSAID] = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.channels < 4 or self.channels % 4 or not self.multipliers or min(self.multipliers) < 1:
            raise ValueError("an autoencoder needs channels in multiples of 4 and at least one level")
        if min(self.blocks, self.latent_channels, self.patch) < 1:
            raise ValueError("blocks, latent_channels and patch must be 1 or more")
        if self.groups is not None and (self.groups < 1 or any(width % self.groups for width in self.widths)):
            raise ValueError(f"{self.groups} groups do not divide the levels' channels, {self.widths}")
        if not 0 < self.group_eps < 1:
            raise ValueError(f"eps is small and above 0, got {self.eps}")
        if max(self.blocks, len(self.multipliers)) > DEEPEST or max(self.latent_channels, self.patch) > WIDEST:
            raise ValueError(f"there are at most {DEEPEST} levels and blocks of each, and {WIDEST} latent channels")

    @property
    def factor(self) -> int:
        """f of equation (1)."""
        return self.patch * 2 ** (len(self.multipliers) - 1)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.channels * m for m in self.multipliers)

    @property
    def group_eps(self) -> float:
        """What group norms add to the variance."""
        return 1e-5 if self.eps is None else self.eps

    def norm(self, channels: int) -> nn.GroupNorm:
        """A group norm of such networks."""
        return group_norm(channels, self.groups, self.group_eps)

    def checked(self, shape: tuple[int, ...]) -> int:
        """The channels of pictures, sounds or volumes of ``shape``.

        Raises:
            ValueError: it is none of these, or too small for the factor.
        """
        checked_spatial(shape, "this autoencoder")
        if min(shape[1:]) < self.factor:
            raise ValueError(
                f"pictures of {by(shape[1:])} are smaller than the autoencoder's factor {self.factor}: "
                "take larger pictures, or fewer levels (multipliers)"
            )
        return shape[0]


@final
class Encoder(nn.Module):
    """Pictures (B, C, *N) to features (B, out, *N / f); other sizes are padded by their last row and column."""

    def __init__(self, config: ConvolutionalConfig, image_channels: int, out: int, *, spatial: int = 2) -> None:
        super().__init__()
        widths = config.widths
        self.factor, self.patch = config.factor, config.patch
        self.inp = conv3(image_channels * config.patch**spatial, config.channels, spatial=spatial)
        enters = [config.channels, *widths[:-1]]
        self.levels = nn.ModuleList(
            _blocks([enter] + config.blocks * [width], spatial, config)
            for enter, width in zip(enters, widths, strict=True)
        )
        self.reduce = nn.ModuleList(Halve(width, spatial) for width in widths[:-1])
        self.middle = _middle(widths[-1], spatial, config)
        self.norm, self.out = config.norm(widths[-1]), conv3(widths[-1], out, spatial=spatial)

    def forward(self, x: Signals) -> Tensor:
        h = self.inp(folded(padded(x, self.factor), self.patch))
        for k, level in enumerate(self.levels):
            h = level(h)
            if k < len(self.reduce):
                h = self.reduce[k](h)
        return self.out(F.silu(self.norm(self.middle(h))))


@final
class Decoder(nn.Module):
    """Features (B, inp, *n) to pictures (B, C, *f n)."""

    def __init__(self, config: ConvolutionalConfig, image_channels: int, inp: int, *, spatial: int = 2) -> None:
        super().__init__()
        widths = config.widths[::-1]
        self.patch = config.patch
        self.inp = conv3(inp, widths[0], spatial=spatial)
        self.middle = _middle(widths[0], spatial, config)
        enters = [widths[0], *widths[:-1]]
        self.levels = nn.ModuleList(
            _blocks([enter] + (config.blocks + 1) * [width], spatial, config)
            for enter, width in zip(enters, widths, strict=True)
        )
        self.enlarge = nn.ModuleList(Upsample(width, spatial=spatial) for width in widths[:-1])
        self.norm = config.norm(widths[-1])
        self.out = conv3(widths[-1], image_channels * config.patch**spatial, spatial=spatial)

    def forward(self, z: Tensor) -> Tensor:
        h = self.middle(self.inp(z))
        for k, level in enumerate(self.levels):
            h = level(h)
            if k < len(self.enlarge):
                h = self.enlarge[k](h, doubled(h))
        return unfolded(self.out(F.silu(self.norm(h))), self.patch)


class Halve(nn.Module):
    """A 3x3 convolution of stride 2 that looks right and down, as the field's trained weights expect."""

    def __init__(self, channels: int, spatial: int) -> None:
        super().__init__()
        self.conv = RANKS[spatial].convolution(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(lengthened(x, [1] * (x.ndim - 2)))


def _blocks(widths: list[int], spatial: int, config: ConvolutionalConfig) -> nn.Sequential:
    return nn.Sequential(*(_block(inp, out, spatial, config) for inp, out in pairwise(widths)))


def _middle(width: int, spatial: int, config: ConvolutionalConfig) -> nn.Sequential:
    return nn.Sequential(
        _block(width, width, spatial, config),
        PixelAttention(width, groups=config.groups, eps=config.group_eps),
        _block(width, width, spatial, config),
    )


def _block(inp: int, out: int, spatial: int, config: ConvolutionalConfig) -> ResidualBlock:
    return ResidualBlock(inp, out, spatial=spatial, groups=config.groups, eps=config.group_eps)
