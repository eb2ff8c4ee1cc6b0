r"""The first stage: pixels to latents and back. With ``Identity``, pixel and latent diffusion are one path.

A learned stage has an encoder E with a posterior q(z | E(x)) and a decoder D. Its latents have any mean m and standard
deviation s per channel; both are measured over the training data and kept with the weights, and what diffuses is

.. math:: z' = (z - m) / s, \qquad \hat x = D(m + s z').                                                          (1)

So no scale factor is ever typed in (Rombach et al., "High-resolution image synthesis with latent diffusion models",
2022, section 4.3.2, rescale by one measured number).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from carrara.seeds import Draws
from carrara.shapes import Samples, expand_channels


class FirstStage(nn.Module, ABC):
    """Pixels to raw latents (what a cache stores) to model latents (what diffuses), and back to pixels.

    Attributes:
        learned: whether it has weights; else pixels are their own latents.
        has_prior: whether its latents have a law of their own, so that it makes samples alone.
    """

    learned: bool = False
    has_prior: bool = False

    @property
    def factor(self) -> int | None:
        """The edge of the square (or cube) of pixels that a latent stands for; None if latents have no places."""
        return None

    @property
    def levels(self) -> int | None:
        """How many states each value has, if latents are their one-hot vectors; None if latents are numbers."""
        return None

    @abstractmethod
    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of model latents for pixels of ``shape``, both without the batch axis.

        Raises:
            ValueError: the stage cannot take such pixels.
        """

    @abstractmethod
    def encode_raw(self, pixels: Samples) -> Tensor:
        """Pixels (B, *S) in [-1, 1] to raw latents (B, R, *n), or vectors."""

    @abstractmethod
    def latents(self, raw: Tensor, draws: Draws | None) -> Tensor:
        """Raw to model latents (B, C, *n): a random draw, or the mode without ``draws``."""

    @abstractmethod
    def decode(self, z: Tensor) -> Samples:
        """Model latents (B, C, *n) to pixels (B, *S) in about [-1, 1]."""

    def generate(self, draws: Draws) -> Samples:
        """Pixels for a draw from the prior, of a stage that has one."""
        raise AssertionError(f"{type(self).__name__} has no prior")

    @property
    def statistics(self) -> Mapping[str, Tensor]:
        """What is measured of the latents when training ends, by name."""
        return {}

    @property
    def measured(self) -> bool:
        """Whether nothing is left to measure."""
        return True

    def code_counts(self, raw: Tensor) -> Tensor | None:
        """How often each of K codes occurs (K,), where there are any."""
        return None

    def layer_kl(self, pixels: Samples, draws: Draws) -> Tensor | None:
        """What each of L layers says about each sample, (B, L) in nats, where there are any."""
        return None


class LearnedStage(FirstStage):
    """A stage with weights, whose latents are whitened by equation (1).

    Args:
        channels: of the latents.

    Attributes:
        mean, std: (C,) m and s of equation (1); 0 and 1 until they are measured.
    """

    learned = True
    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    @abstractmethod
    def sample(self, raw: Tensor, draws: Draws | None) -> Tensor:
        """Raw latents (B, R, ...) to z (B, C, ...), not whitened: a draw from the posterior, or its mode."""

    @abstractmethod
    def render(self, z: Tensor) -> Samples:
        """Latents z (B, C, ...), not whitened, to pixels (B, *S)."""

    def latents(self, raw: Tensor, draws: Draws | None) -> Tensor:
        z = self.sample(raw, draws)
        return (z - expand_channels(self.mean, z)) / expand_channels(self.std, z)

    def decode(self, z: Tensor) -> Samples:
        return self.render(expand_channels(self.mean, z) + expand_channels(self.std, z) * z)

    @property
    def statistics(self) -> Mapping[str, Tensor]:
        return {"mean": self.mean, "std": self.std}

    @property
    def measured(self) -> bool:
        return not bool((self.std == 1).all())

    def diagnose(self, logs: Mapping[str, float]) -> list[str]:
        """What is wrong with the latents, in sentences, from a training step's logs."""
        return []


@dataclass(frozen=True, kw_only=True)
class IdentityConfig:
    """No first stage: diffusion in pixels, or of points."""

    kind: Literal["identity"] = "identity"

    @property
    def factor(self) -> int:
        """As ``FirstStage.factor``."""
        return 1

    def build(self, shape: tuple[int, ...]) -> FirstStage:
        """Makes the first stage for pixels of ``shape``."""
        return Identity()


class Identity(FirstStage):
    """Pixels are their own latents."""

    @property
    def factor(self) -> int:
        return 1

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def encode_raw(self, pixels: Samples) -> Tensor:
        return pixels

    def latents(self, raw: Tensor, draws: Draws | None) -> Tensor:
        return raw

    def decode(self, z: Tensor) -> Samples:
        return z
