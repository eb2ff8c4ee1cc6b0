r"""What a network sees beside its noisy input: channels y that are concatenated to it, where zeros say nothing.

``masked``: the picture x with a hole m, which is 1 where it is to be made new, and where the picture is known,

.. math:: y = (E((1 - m) x), \; 1 - m).                                                                           (1)

``lowres``: the picture reduced by D, with some noise, enlarged by U, and how clean it is,

.. math:: y = (U(\sqrt{1 - s^2} D(x) + s \epsilon), \; 1 - s).                                                     (2)

The noise s is drawn in training and the network is told, so that what it makes of a reduced picture does not hang on
its last details (Ho et al., "Cascaded Diffusion Models for High Fidelity Image Generation", 2022, section 4.2).

``map``: for each colour of a map that lies beside the picture, where it is,

.. math:: y_k = [\text{map} = k].                                                                                 (3)

E is the first stage's encoder; y has the size of its latents, each of which stands for f x f pixels. Where f does not
divide an edge, the last row and column go on, as they do for E. Nothing here has weights.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import gcd
from typing import ClassVar, Literal, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Integer
from numpy.typing import NDArray
from torch import Tensor

from carrara.conditioning.masks import Masks, holes, touched
from carrara.data import DataInfo, Dataset, Mapped
from carrara.errors import UserError, command
from carrara.nn import rank_of
from carrara.pixels import WHITE, rounded
from carrara.seeds import Draws
from carrara.shapes import PerSample, Signals, by, cropped, expand, expand_channels, padded, resized
from carrara.types import MAP, NOWHERE, Batch

LARGEST_PALETTE, MOST_TIMES = 64, 64

Encode = Callable[[Tensor], Tensor]
"""Pictures (B, C, *N) to model latents (B, C', *n), without chance."""
Size = tuple[int, ...]
Maps = Iterable[NDArray[np.uint8]]
"""The maps of all examples, (H, W, 3) each."""
Colour = tuple[int, int, int]
_Own = TypeVar("_Own", bound="ImageCondition")


class ImageCondition(ABC):
    """From pictures to the channels beside the network's input. Abstract in what is known of them."""

    asked: ClassVar[str]
    """What a sample needs, as the end of a sentence."""

    @abstractmethod
    def channels(self, shape: tuple[int, ...], latent_shape: tuple[int, ...]) -> int:
        """How many: of pictures of ``shape`` (C, *N), whose latents have ``latent_shape``."""

    @abstractmethod
    def drawn(self, batch: Batch, f: int, draws: Draws, encode: Encode) -> Tensor:
        """What is known of training pictures, (B, C'', *n), as large as their latents."""

    @abstractmethod
    def visible(self, batch: Batch, draws: Draws) -> Tensor:
        """The same as pictures (B, C, *N), for people."""

    def complete(self: _Own, info: DataInfo, sizes: Iterable[Size], maps: Maps) -> tuple[_Own, str]:
        """The same with nothing left open, and what to know about it.

        Args:
            info: what the data is.
            sizes: of the pictures.
            maps: that lie beside them.

        Raises:
            UserError: the data do not go with it.
        """
        return self, ""

    def beside(self, data: Dataset) -> Dataset:
        """The data with what it needs of them as columns."""
        return data

    def clean(self) -> "ImageCondition":
        """The same without noise."""
        return self


@dataclass(frozen=True, kw_only=True)
class Masked(ImageCondition):
    """Equation (1): a picture with a hole; see ``masks`` for what holes are trained on."""

    kind: Literal["masked"] = "masked"
    asked = f"fills holes in pictures: give it one, with '{command('edit RUN inpaint IMAGE', mask='MASK')}'"

    def channels(self, shape: tuple[int, ...], latent_shape: tuple[int, ...]) -> int:
        return latent_shape[0] + 1

    def drawn(self, batch: Batch, f: int, draws: Draws, encode: Encode) -> Tensor:
        return self.given(batch.x, self._holes(batch.x, draws), f, encode)

    def visible(self, batch: Batch, draws: Draws) -> Tensor:
        return (1 - self._holes(batch.x, draws)) * batch.x

    def given(self, x: Signals, m: Masks, f: int, encode: Encode) -> Tensor:
        """Equation (1). A latent counts as known if all of its pixels are."""
        return torch.cat([encode((1 - m) * x), 1 - touched(m, f)], dim=1)

    def _holes(self, x: Signals, draws: Draws) -> Masks:
        return holes(draws, tuple(x.shape[2:]))


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
    asked = f"enlarges pictures: give it one, with '{command('edit RUN upscale IMAGE')}'"

    def __post_init__(self) -> None:
        if not 2 <= self.factor <= MOST_TIMES:
            raise ValueError(f"factor says how many times smaller, 2 to {MOST_TIMES}, and is {self.factor}")
        if not 0 <= self.augmentation < 1:
            raise ValueError(f"augmentation is a part of noise, at least 0 and below 1, and is {self.augmentation}")

    def channels(self, shape: tuple[int, ...], latent_shape: tuple[int, ...]) -> int:
        return shape[0] + 1

    def drawn(self, batch: Batch, f: int, draws: Draws, encode: Encode) -> Tensor:
        return self.given(self.reduced(batch.x), f, self.augmentation * draws.uniform("augmentation"), draws)

    def visible(self, batch: Batch, draws: Draws) -> Tensor:
        return F.interpolate(self.reduced(batch.x), scale_factor=float(self.factor))

    def complete(self, info: DataInfo, sizes: Iterable[Size], maps: Maps) -> tuple["Lowres", str]:
        for height, width in sizes:
            if height % self.factor or width % self.factor:
                raise UserError(
                    f"pictures of {height}x{width} cannot be reduced by model.image.factor={self.factor}: set "
                    f"data.size to a multiple of it, such as {-(-height // self.factor) * self.factor}"
                )
        return self, ""

    def clean(self) -> "Lowres":
        return replace(self, augmentation=0.0)

    def reduced(self, x: Signals) -> Tensor:
        """D(x): pictures with 8 bits, ``factor`` times smaller, antialiased.

        Raises:
            ValueError: their edges are not multiples of it.
        """
        size = x.shape[2:]
        if any(edge % self.factor for edge in size):
            raise ValueError(f"pictures of {by(size)} cannot be reduced by {self.factor}: crop them to a multiple")
        return rounded(resized(x, [edge // self.factor for edge in size]))

    def given(self, low: Signals, f: int, s: PerSample, draws: Draws) -> Tensor:
        """Equation (2) for reduced pictures (B, C, *N)."""
        alpha, sigma = expand((1 - s.square()).sqrt(), low), expand(s, low)
        y = alpha * low + sigma * draws.normal("augmentation noise", *low.shape[1:])
        enlarged = self._enlarged(y, f)
        return torch.cat([enlarged, (1 - sigma).expand_as(enlarged[:, :1])], dim=1)

    def _enlarged(self, y: Tensor, f: int) -> Tensor:
        """U: as large as the latents of pictures ``factor`` times larger."""
        size = [-(-self.factor * edge // f) for edge in y.shape[2:]]
        y = padded(y, f // gcd(f, self.factor))
        return cropped(resized(y, [self.factor * edge // f for edge in y.shape[2:]]), size)


@dataclass(frozen=True, kw_only=True)
class LayoutMap(ImageCondition):
    """Equation (3): what is where, painted in flat colours.

    Attributes:
        colours: the maps' colours, red, green and blue in 0..255; empty in a recipe means: those of the data.
    """

    kind: Literal["map"] = "map"
    colours: tuple[Colour, ...] = ()
    asked = f"paints over maps: give it one, with '{command('edit RUN map MAP')}'"

    def __post_init__(self) -> None:
        if len(self.colours) > LARGEST_PALETTE or any(not 0 <= v <= 255 for c in self.colours for v in c):
            raise ValueError(f"colours are at most {LARGEST_PALETTE}, each of three numbers from 0 to 255")

    def channels(self, shape: tuple[int, ...], latent_shape: tuple[int, ...]) -> int:
        return len(self.colours)

    def drawn(self, batch: Batch, f: int, draws: Draws, encode: Encode) -> Tensor:
        return self.given(batch.columns[MAP], f)

    def visible(self, batch: Batch, draws: Draws) -> Tensor:
        return self.painted(batch.columns[MAP], batch.x.shape[1])

    def complete(self, info: DataInfo, sizes: Iterable[Size], maps: Maps) -> tuple["LayoutMap", str]:
        """Every map is read, so that one that is missing or broken is refused now."""
        if not info.maps:
            raise UserError(
                "model.image is map, but the data has no maps: put cat.map.png beside cat.png, or "
                '"map" into metadata.jsonl'
            )
        if self.colours:
            for _ in maps:
                pass
            return self, ""
        colours = palette(maps)
        return replace(self, colours=colours), f"{len(colours)} colours of the data's maps"

    def beside(self, data: Dataset) -> Dataset:
        return Mapped(data, self.colours) if self.colours else data

    def given(self, numbers: Integer[Tensor, "B *N"], f: int) -> Tensor:
        """Equation (3); a latent is told the parts of its pixels."""
        k, numbers = torch.arange(len(self.colours), device=numbers.device), numbers[:, None]
        y = (numbers == expand_channels(k, numbers)).float()
        return rank_of(y).averaged(padded(y, f), f)

    def painted(self, numbers: Integer[Tensor, "B *N"], channels: int = 3) -> Tensor:
        """A map in its colours, white where there is none; grey if pictures have other than 3 channels."""
        colours = torch.tensor(self.colours + (WHITE,) * (1 + NOWHERE - len(self.colours)), device=numbers.device)
        x = colours[numbers.long()].movedim(-1, 1) / 127.5 - 1
        return x if channels == 3 else x.mean(1, keepdim=True).repeat_interleave(channels, 1)


AnyImageCondition = Masked | Lowres | LayoutMap
"""The tagged union that recipes and saved models hold."""


def palette(maps: Maps) -> tuple[Colour, ...]:
    """The colours of maps, sorted.

    Raises:
        UserError: they are too many.
    """
    found: set[Colour] = set()
    for colours in maps:
        found |= {(r, g, b) for r, g, b in np.unique(colours.reshape(-1, 3), axis=0).tolist()}
        if len(found) > LARGEST_PALETTE:
            raise UserError(
                f"the maps have more than {LARGEST_PALETTE} colours: paint them flat, without soft edges, and save "
                "them as PNG"
            )
    return tuple(sorted(found))
