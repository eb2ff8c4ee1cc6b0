"""What every network is to the rest: a function of (noisy input, noise level, condition)."""

from abc import ABC, abstractmethod

from torch import Tensor

from carrara.nn import Compilable, NoiseEmbedding, ShareEmbedding, StepEmbedding
from carrara.shapes import PerSample, Samples
from carrara.types import Conditioning

MOST_TIMESTEPS = 1 << 16
"""Rows of a table of steps."""


def embedding(
    features: int, width: int, timesteps: int | None, *, share: bool = False
) -> NoiseEmbedding | StepEmbedding | ShareEmbedding:
    """What a network makes of its noise level: see ``DiTConfig.timesteps`` and ``DiTConfig.share``."""
    if share:
        return ShareEmbedding(features, width)
    return NoiseEmbedding(features, width) if timesteps is None else StepEmbedding(features, width, timesteps)


def check_timesteps(timesteps: int | None) -> None:
    """Refuses what is no number of steps.

    Raises:
        ValueError: it is less than 2, or far too many.
    """
    if timesteps is not None and not 2 <= timesteps <= MOST_TIMESTEPS:
        raise ValueError(f"timesteps are 2 to {MOST_TIMESTEPS}, got {timesteps}")


class Backbone(Compilable, ABC):
    """F of the parameterization: it knows nothing of schedules, samplers or losses."""

    @abstractmethod
    def forward(self, x: Samples, noise_level: PerSample, cond: Conditioning) -> Tensor:
        """Maps ``x`` (B, *S), half log-SNRs (B,) and a condition to (B, *S), or to several such along axis 1."""

    def place_steps(self, levels: Tensor) -> None:
        """Says at which half log-SNRs (T,) the steps are that the network is told; nothing to one that is told none."""
        noise = getattr(self, "noise", None)
        if isinstance(noise, StepEmbedding):
            noise.levels.copy_(levels)


class Layered(Backbone, ABC):
    """A network whose first levels can be computed alone, with what those below them said of a similar input."""

    def forward(self, x: Samples, noise_level: PerSample, cond: Conditioning) -> Tensor:
        return self.partly(x, noise_level, cond, None, 1)[0]

    @abstractmethod
    def partly(
        self, x: Samples, noise_level: PerSample, cond: Conditioning, deep: Tensor | None, levels: int
    ) -> tuple[Tensor, Tensor]:
        """``forward``, and the deep features (B, C, *N): what comes to its first ``levels`` from all others.

        Args:
            deep: what takes the place of these, which then are not computed; None computes everything.
        """


class BackboneConfig(ABC):
    """Everything about a network but the data's shape."""

    context_width: int | None = None
    """The width D of ``Conditioning.tokens`` that the network looks at; None if at none; 0 if that is still open."""

    @property
    def multiple(self) -> int:
        """What the edges of samples should be multiples of, so that no place is padded."""
        return 1

    @property
    def steps(self) -> int | None:
        """How many steps the network is told apart; None if it is told half log-SNRs."""
        return None

    @property
    @abstractmethod
    def vector_width(self) -> int:
        """The width D of ``Conditioning.vector`` that the network takes."""

    def check_tokens(self, width: int | None) -> None:
        """Refuses the tokens of a condition that the network does not look at.

        Args:
            width: of the tokens; None if there are none.

        Raises:
            ValueError: they have another width.
        """
        seen = self.context_width
        if width not in (seen, None):
            looks = "looks at no tokens" if seen is None else f"looks at tokens of width {seen}"
            raise ValueError(
                f"the condition gives tokens of width {width}, and the network {looks}: set "
                "model.backbone.context_width=0 (and transformer_depths, for a U-Net), which takes the condition's "
                "width"
            )

    @abstractmethod
    def build(self, shape: tuple[int, ...], image_channels: int = 0, answers: int = 1) -> Backbone:
        """Makes the network for samples of ``shape``, with all that a model may ask of it.

        Args:
            shape: (C, H, W) of pictures or latents, (D,) of points.
            image_channels: of ``Conditioning.image``, a picture that it sees beside the samples; 0 if none.
            answers: how many numbers are answered for each of the sample's, the first of all before the second: 1, or 2
                where the variance is learned.

        Raises:
            ValueError: the network cannot take such samples.
        """
