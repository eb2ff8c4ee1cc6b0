r"""What a network sees beside its noisy input: channels y that are concatenated to it, where zeros say nothing.

``masked``: the picture x with a hole m, which is 1 where it is to be made new, and where the picture is known,

.. math:: y = (E((1 - m) x), \; 1 - m).                                                                           (1)

``lowres``: the picture reduced by D, with some noise, enlarged by U, and how clean it is,

.. math:: y = (U(\sqrt{1 - s^2} D(x) + s \epsilon), \; 1 - s).                                                     (2)

The noise s is drawn in training and the network is told, so that what it makes of a reduced picture does not hang on
its last details (Ho et al., "Cascaded Diffusion Models for High Fidelity Image Generation", 2022, section 4.2).

``map``: for each colour of a map that lies beside the picture, where it is,

.. math:: y_k = [\text{map} = k].                                                                                 (3)

E is the first stage's encoder; y has the size of its latents. Nothing here has weights.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Integer
from torch import Tensor

from carrara.conditioning.masks import Masks, holes
from carrara.pixels import NOWHERE, WHITE, Pictures, rounded
from carrara.seeds import Draws
from carrara.shapes import PerSample, expand
from carrara.types import Batch

MAP = "map"
"""The column of maps: (B, H, W) numbers of colours; ``NOWHERE`` where there is none."""
LARGEST_PALETTE = 64

Encode = Callable[[Tensor], Tensor]
"""Pictures (B, C, H, W) to model latents (B, C', h, w), without chance."""
Size = tuple[int, int]
Colour = tuple[int, int, int]


class ImageCondition(ABC):
    """From pictures to the channels beside the network's input. Abstract in what is known of them."""

    asked: ClassVar[str]
    """What a sample needs, as the end of a sentence."""

    @abstractmethod
    def channels(self, shape: tuple[int, ...], latent_shape: tuple[int, ...]) -> int:
        """How many: of pictures of ``shape`` (C, H, W), whose latents have ``latent_shape``."""

    @abstractmethod
    def drawn(self, batch: Batch, size: Size, draws: Draws, encode: Encode) -> Pictures:
        """What is known of training pictures, (B, C'', h, w) of the latents' ``size``."""

    @abstractmethod
    def visible(self, batch: Batch, draws: Draws) -> Pictures:
        """The same as pictures (B, C, H, W), for people."""

    def clean(self) -> "ImageCondition":
        """The same without noise."""
        return self


@dataclass(frozen=True, kw_only=True)
class Masked(ImageCondition):
    """Equation (1): a picture with a hole; see ``masks`` for what holes are trained on."""

    kind: Literal["masked"] = "masked"
    asked = "fills holes in pictures: give it one, with 'carrara edit RUN inpaint IMAGE --mask MASK'"

    def channels(self, shape: tuple[int, ...], latent_shape: tuple[int, ...]) -> int:
        return latent_shape[0] + 1

    def drawn(self, batch: Batch, size: Size, draws: Draws, encode: Encode) -> Pictures:
        return self.given(batch.x, self._holes(batch.x, draws), size, encode)

    def visible(self, batch: Batch, draws: Draws) -> Pictures:
        return (1 - self._holes(batch.x, draws)) * batch.x

    def given(self, x: Pictures, m: Masks, size: Size, encode: Encode) -> Tensor:
        """Equation (1). A latent counts as known if all of its pixels are."""
        return torch.cat([encode((1 - m) * x), 1 - F.adaptive_max_pool2d(m, size)], dim=1)

    def _holes(self, x: Pictures, draws: Draws) -> Masks:
        return holes(draws, (x.shape[2], x.shape[3]))


@dataclass(frozen=True, kw_only=True)
class Lowres(ImageCondition):
    """Equation (2): a smaller picture.

    Attributes:
        factor: how many times smaller.
        augmentation: the largest s in training.
    """

    kind: Literal["lowres"] = "lowres"
    factor: int = 4
    augmentation: float = 0.3
    asked = "enlarges pictures: give it one, with 'carrara edit RUN upscale IMAGE'"

    def __post_init__(self) -> None:
        if self.factor < 2:
            raise ValueError(f"factor says how many times smaller, 2 or more, and is {self.factor}")
        if not 0 <= self.augmentation < 1:
            raise ValueError(f"augmentation is a part of noise, at least 0 and below 1, and is {self.augmentation}")

    def channels(self, shape: tuple[int, ...], latent_shape: tuple[int, ...]) -> int:
        return shape[0] + 1

    def drawn(self, batch: Batch, size: Size, draws: Draws, encode: Encode) -> Pictures:
        return self.given(self.reduced(batch.x), size, self.augmentation * draws.uniform("augmentation"), draws)

    def visible(self, batch: Batch, draws: Draws) -> Pictures:
        return F.interpolate(self.reduced(batch.x), scale_factor=float(self.factor))

    def clean(self) -> "Lowres":
        return replace(self, augmentation=0.0)

    def reduced(self, x: Pictures) -> Tensor:
        """D(x): pictures with 8 bits, ``factor`` times smaller, antialiased.

        Raises:
            ValueError: their edges are not multiples of it.
        """
        height, width = x.shape[2:]
        if height % self.factor or width % self.factor:
            raise ValueError(
                f"pictures of {height}x{width} cannot be reduced by {self.factor}: crop them to a multiple"
            )
        return rounded(_resized(x, (height // self.factor, width // self.factor)))

    def given(self, low: Pictures, size: Size, s: PerSample, draws: Draws) -> Tensor:
        """Equation (2) for reduced pictures (B, C, H, W)."""
        alpha, sigma = expand((1 - s.square()).sqrt(), low), expand(s, low)
        y = alpha * low + sigma * draws.normal("augmentation noise", *low.shape[1:])
        return torch.cat([_resized(y, size), (1 - sigma).expand(-1, -1, *size)], dim=1)


@dataclass(frozen=True, kw_only=True)
class LayoutMap(ImageCondition):
    """Equation (3): what is where, painted in flat colours.

    Attributes:
        colours: the maps' colours, red, green and blue in 0..255; empty in a recipe means: those of the data.
    """

    kind: Literal["map"] = "map"
    colours: tuple[Colour, ...] = ()
    asked = "paints over maps: give it one, with 'carrara edit RUN map MAP'"

    def __post_init__(self) -> None:
        if len(self.colours) > LARGEST_PALETTE or any(not 0 <= v <= 255 for c in self.colours for v in c):
            raise ValueError(f"colours are at most {LARGEST_PALETTE}, each of three numbers from 0 to 255")

    def channels(self, shape: tuple[int, ...], latent_shape: tuple[int, ...]) -> int:
        return len(self.colours)

    def drawn(self, batch: Batch, size: Size, draws: Draws, encode: Encode) -> Pictures:
        return self.given(batch.columns[MAP], size)

    def visible(self, batch: Batch, draws: Draws) -> Pictures:
        return self.painted(batch.columns[MAP], batch.x.shape[1])

    def given(self, numbers: Integer[Tensor, "B H W"], size: Size) -> Tensor:
        """Equation (3); a latent is told the parts of its pixels."""
        k = torch.arange(len(self.colours), device=numbers.device)[:, None, None]
        return F.interpolate((numbers[:, None] == k).float(), size, mode="area")

    def painted(self, numbers: Integer[Tensor, "B H W"], channels: int = 3) -> Pictures:
        """A map in its colours, white where there is none; grey if pictures have other than 3 channels."""
        colours = torch.tensor(self.colours + (WHITE,) * (1 + NOWHERE - len(self.colours)), device=numbers.device)
        x = colours[numbers.long()].movedim(-1, 1) / 127.5 - 1
        return x if channels == 3 else x.mean(1, keepdim=True).repeat(1, channels, 1, 1)


AnyImageCondition = Masked | Lowres | LayoutMap
"""The tagged union that recipes and saved models hold."""


def _resized(x: Tensor, size: Size) -> Tensor:
    return F.interpolate(x, size, mode="bicubic", antialias=True, align_corners=False)
