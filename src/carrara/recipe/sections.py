"""The sections of a recipe, each the configuration of the package that it belongs to.

What a preset leaves open (None) is filled in from the data by ``resolve``; a resolved recipe is complete. Which kinds
of objective there are is not known here: ``kinds`` read the other sections, and ``schema`` adds them.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

from carrara.autoencoder import AnyFirstStage, IdentityConfig, KlConfig, VqConfig
from carrara.backbone import AnyBackbone
from carrara.conditioning import AnyConditioner, AnyImageCondition
from carrara.data.settings import DataSettings
from carrara.kinds import BY_KIND, SPELLED, UNSAID
from carrara.noise import AnyParameterization, AnySchedule, Cosine, V
from carrara.objective import AutoencodingSettings, ObjectiveSettings
from carrara.sample import SampleSettings
from carrara.store.runs import configured
from carrara.train import CheckpointSettings, TrainSettings


@dataclass(frozen=True, kw_only=True)
class TrainedConfig:
    """The first stage of another run.

    Attributes:
        run: its folder; the weights are copied from there when a run begins.
    """

    kind: Literal["trained"] = "trained"
    run: str


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What to train.

    Attributes:
        backbone: None = a U-Net that suits the size of the pictures.
        conditioner: None = the labels or vectors that the data has, or nothing.
        image: what the network sees beside its input, with any conditioner: None = nothing.
        first_stage: what diffuses: pixels, their levels, or the latents of an autoencoder; or the autoencoder that is
            to be trained.
    """

    backbone: Annotated[AnyBackbone | None, SPELLED, BY_KIND] = None
    schedule: Annotated[AnySchedule, SPELLED, BY_KIND] = Cosine()
    parameterization: Annotated[AnyParameterization, SPELLED, BY_KIND] = V()
    conditioner: Annotated[AnyConditioner | None, SPELLED, BY_KIND] = None
    image: Annotated[AnyImageCondition | None, SPELLED, BY_KIND] = None
    first_stage: Annotated[AnyFirstStage | TrainedConfig, SPELLED, BY_KIND] = IdentityConfig()


@dataclass(frozen=True, kw_only=True)
class PreviewSettings:
    """Pictures on the way: always of the same seeds, so that they can be compared.

    Attributes:
        every: optimizer steps between previews; 0 = none.
        growth: previews become rarer: the first is after ``every`` steps, and each of the others after so many times as
            many as the one before. 1.2 makes four while the steps double. None = they are evenly spaced.
        count: how many samples.
        held_out: how many held-out samples to measure the loss on.
        gap: measures the same on this part of the training samples, chosen by content, and keeps the ``gap``: how much
            lower their loss is, as a part of the held-out loss, at the noise level where that is most. It is near 0
            while the model learns what is common to all, and 0.5 is where it begins to learn samples by heart. None =
            does not.
        best: keeps the model that was best on held-out samples so far in the run's ``best/``: by its loss (an
            autoencoder's PSNR, a VAE's bound), or by the kernel distance of as many samples; None = keeps none.
        patience: so many previews without a better one end the training; 0 = none do.
    """

    every: int = 500
    growth: Annotated[float | None, UNSAID] = field(default=None, repr=False)
    count: int = 16
    held_out: int = 64
    gap: Annotated[float | None, UNSAID] = field(default=None, repr=False)
    best: Literal["loss", "kid"] | None = None
    patience: int = 0

    def __post_init__(self) -> None:
        if min(self.every, self.held_out, self.patience) < 0 or self.count < 1:
            raise ValueError("every, held_out and patience must be 0 or more, and count 1 or more")
        if self.growth is not None and not 1 < self.growth < math.inf:
            raise ValueError(f"growth is how many times as late as the one before a preview is, above 1: {self.growth}")
        if self.gap is not None and not (0 < self.gap <= 1 and self.every and self.held_out):
            raise ValueError(
                "gap is a part of the training samples, above 0 and at most 1, which is compared at previews with "
                "held-out ones: every and held_out must be above 0"
            )
        if self.best is not None and not (self.every and self.held_out):
            raise ValueError("best is found at previews, on held-out samples: every and held_out must be above 0")
        if self.best == "kid" and self.held_out < 2:
            raise ValueError("a kernel distance needs two held-out samples or more")
        if self.patience and self.best is None:
            raise ValueError("patience waits for a better model: say by what, with best=loss or best=kid")

    def is_due(self, step: int) -> bool:
        """Whether a preview is made after so many steps; after the last one it is made anyway."""
        if self.every == 0 or step < self.every:
            return False
        if self.growth is None:
            return step % self.every == 0
        due = float(self.every)
        while due <= step - 1:
            due *= self.growth
        return due <= step


@dataclass(frozen=True, kw_only=True)
class AutoencoderStage:
    """An autoencoder that is trained first, in the run's folder ``autoencoder/``; the keys are those of an own run."""

    first_stage: Annotated[KlConfig | VqConfig, SPELLED, BY_KIND]
    objective: AutoencodingSettings = AutoencodingSettings()
    train: TrainSettings
    checkpoint: CheckpointSettings = CheckpointSettings()
    preview: PreviewSettings = PreviewSettings()


class Sections(BaseModel):
    """Everything that a run is made from. Use ``schema.Recipe``, which knows the kinds of objective.

    Attributes:
        preset: the preset that it began as, for the record.
        seed: of every random number.
        autoencoder: a first stage to train before the rest, which then diffuses in its latents.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    preset: str | None = None
    seed: int = 0
    data: DataSettings = DataSettings()
    autoencoder: AutoencoderStage | None = None
    model: ModelSettings = ModelSettings()
    objective: ObjectiveSettings
    train: TrainSettings
    checkpoint: CheckpointSettings = CheckpointSettings()
    preview: PreviewSettings = PreviewSettings()
    sample: SampleSettings = SampleSettings()

    @property
    def first_stage_run(self) -> Path | None:
        """The other run whose first stage the recipe names; None if it names none."""
        own = self.model.first_stage
        return Path(own.run) if self.autoencoder is None and own.kind == "trained" else None

    @property
    def first_stage(self) -> AnyFirstStage:
        """What the first stage is, wherever it is trained.

        Raises:
            UserError: it is another run's, and there is none.
        """
        own = self.model.first_stage
        if self.autoencoder is not None:
            return self.autoencoder.first_stage
        return configured(Path(own.run)).first_stage if own.kind == "trained" else own

    @property
    def in_pixels(self) -> bool:
        """Whether there is no first stage that learns, neither to train nor trained before."""
        return self.autoencoder is None and self.model.first_stage.kind in ("identity", "levels")
