"""Levels: values in [-1, 1] as states that are written one-hot, which absorbing diffusion masks and reveals.

Level k of K stands at 2 k / (K - 1) - 1. Nothing is learned, and nothing is lost of data that have so many levels.
"""

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from carrara.autoencoder.base import FirstStage
from carrara.noise.absorbing import States, grouped, one_hot
from carrara.seeds import Draws
from carrara.shapes import Samples, spatial_of

MOST_LEVELS = 4096
"""More are taken for a mistake: each is a channel."""


@dataclass(frozen=True, kw_only=True)
class LevelsConfig:
    """Values as levels, which have no order among them, for the objective ``absorbing``.

    Attributes:
        levels: K, how many there are from -1 to 1: 17 for ``digits``, 256 for pictures of 8 bits, or the number of
            tokens.
    """

    kind: Literal["levels"] = "levels"
    levels: int

    def __post_init__(self) -> None:
        if not 2 <= self.levels <= MOST_LEVELS:
            raise ValueError(f"there are 2 to {MOST_LEVELS} levels, not {self.levels}")

    @property
    def factor(self) -> int:
        """As ``FirstStage.factor``."""
        return 1

    def build(self, shape: tuple[int, ...]) -> FirstStage:
        """Makes the first stage for pixels of ``shape``."""
        return Levels(self.levels, shape[0])


@final
class Levels(FirstStage):
    """(C, *N) to (C K, *N): a group of K for each channel.

    Args:
        levels: K.
        channels: C.
    """

    def __init__(self, levels: int, channels: int) -> None:
        super().__init__()
        self._levels, self.channels = levels, channels

    @property
    def levels(self) -> int:
        return self._levels

    @property
    def factor(self) -> int:
        return 1

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if spatial_of(shape) == 0:
            raise ValueError("levels are of samples with places, (C, L) or (C, H, W), and these are points")
        return (shape[0] * self.levels, *shape[1:])

    def encode_raw(self, pixels: Samples) -> Tensor:
        return pixels

    def latents(self, raw: Tensor, draws: Draws | None) -> States:
        """The nearest levels, one-hot."""
        states = ((raw.double() + 1) / 2 * (self.levels - 1)).round().long()
        return one_hot(states.clamp(0, self.levels - 1), self.levels)

    def decode(self, z: States) -> Samples:
        """The likeliest levels; 0, which is grey, for what is masked."""
        groups = grouped(z, self.channels)
        values = groups.argmax(2).float() * (2 / (self.levels - 1)) - 1
        return torch.where((groups > 0).any(2), values, 0.0)
