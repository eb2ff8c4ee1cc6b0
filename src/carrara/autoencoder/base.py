"""The first stage: pixels to latents and back. With ``Identity``, pixel and latent diffusion are one path."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from carrara.seeds import Draws
from carrara.shapes import Samples


class FirstStage(nn.Module, ABC):
    """Pixels to raw latents (what a cache stores) to model latents (what diffuses), and back to pixels."""

    @abstractmethod
    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of model latents for pixels of ``shape``, both without the batch axis."""

    @abstractmethod
    def encode_raw(self, pixels: Samples) -> Tensor:
        """Pixels (B, *S) in [-1, 1] to raw latents (B, R, h, w)."""

    @abstractmethod
    def latents(self, raw: Tensor, draws: Draws | None) -> Tensor:
        """Raw to model latents (B, C, h, w): a random draw, or the mode without ``draws``."""

    @abstractmethod
    def decode(self, z: Tensor) -> Samples:
        """Model latents (B, C, h, w) to pixels (B, *S) in about [-1, 1]."""


@dataclass(frozen=True, kw_only=True)
class IdentityConfig:
    """No first stage: diffusion in pixels, or of points."""

    kind: Literal["identity"] = "identity"

    def build(self) -> FirstStage:
        """Makes the first stage."""
        return Identity()


class Identity(FirstStage):
    """Pixels are their own latents."""

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def encode_raw(self, pixels: Samples) -> Tensor:
        return pixels

    def latents(self, raw: Tensor, draws: Draws | None) -> Tensor:
        return raw

    def decode(self, z: Tensor) -> Samples:
        return z


AnyFirstStage = IdentityConfig
"""The union that recipes and saved models hold."""
