"""A recipe: everything that a run is made from, as one frozen value.

The sections are the configuration objects of the packages they belong to, so a key is declared once, where it is used.
What a preset leaves open (None) is filled in from the data by ``resolve``; a resolved recipe is complete.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from carrara.autoencoder import (
    AnyFirstStage,
    AnyPerceptual,
    CriticConfig,
    IdentityConfig,
    KlConfig,
    PerceptualConfig,
    TinyDecoderConfig,
    VqConfig,
)
from carrara.backbone import AnyBackbone
from carrara.conditioning import AnyConditioner, AnyImageCondition
from carrara.kinds import BY_KIND, SPELLED, otherwise
from carrara.noise import (
    AnyParameterization,
    AnySchedule,
    AnyTimes,
    AnyWeighting,
    Cosine,
    UniformTimes,
    UnitWeighting,
    V,
)
from carrara.objective.diffusion import Loss
from carrara.sample import SampleSettings, Uniform
from carrara.train import CheckpointSettings, TrainSettings


def _square(value: object) -> object:
    return (value, value) if isinstance(value, int) else value


Size = Annotated[tuple[int, int], BeforeValidator(_square)]
"""(height, width) in pixels; one number is a square."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What to train on.

    Attributes:
        source: a folder, or one of the built-in data sets.
        size: (height, width) that pictures are brought to; None = chosen from the data.
        channels: 1 grey, 3 colour, 4 colour with transparency, others for ``.npy`` arrays; None = the data's.
        fit: what becomes of another shape: ``cover`` crops, ``contain`` adds a border, ``stretch`` distorts.
        crop: where ``cover`` crops: the centre, or at random.
        flip: mirrors half of the pictures; not for text, digits or scores.
        held_out: the part of the data that is never trained on, but measured.
        skin_tones: OpenMoji's skin-tone variants too.
        turns: copies of a picture, and a drawing and its variants, take turns: one of them in an epoch.
        buckets: sizes in the place of the one, of which each picture is trained on in the one that is most like it;
            ``auto`` = chosen from the data.
        points: how many points, of a built-in set of points.
        thickness: standard deviation of the Swiss roll around its curve; its coordinates' is about 1.
    """

    source: str = ""
    size: Size | None = None
    channels: int | None = None
    fit: Literal["cover", "contain", "stretch"] = "cover"
    crop: Literal["center", "random"] = "center"
    flip: bool = False
    held_out: float = 0.05
    skin_tones: bool = False
    turns: bool = False
    buckets: tuple[Size, ...] | Literal["auto"] = ()
    points: int = 20_000
    thickness: float = 0.02

    def __post_init__(self) -> None:
        for size in ((self.size,) if self.size else ()) + (self.buckets if self.buckets != "auto" else ()):
            if min(size) < 4:
                raise ValueError(f"pictures need at least 4x4 pixels, got {size[0]}x{size[1]}")
        if self.channels is not None and self.channels < 1:
            raise ValueError(f"pictures need at least 1 channel, got {self.channels}")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out is a part of the data, at least 0 and below 1, got {self.held_out}")
        if self.points < 1 or self.thickness < 0:
            raise ValueError(f"take 1 point or more, and a thickness of 0 or more, not {self.points}, {self.thickness}")


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
        first_stage: what diffuses: pixels, or the latents of an autoencoder; or the autoencoder that is to be trained.
    """

    backbone: Annotated[AnyBackbone | None, SPELLED, BY_KIND] = None
    schedule: Annotated[AnySchedule, SPELLED, BY_KIND] = Cosine()
    parameterization: Annotated[AnyParameterization, SPELLED, BY_KIND] = V()
    conditioner: Annotated[AnyConditioner | None, SPELLED, BY_KIND] = None
    image: Annotated[AnyImageCondition | None, SPELLED, BY_KIND] = None
    first_stage: Annotated[AnyFirstStage | TrainedConfig, SPELLED, BY_KIND] = IdentityConfig()


@dataclass(frozen=True, kw_only=True)
class DiffusionSettings:
    """A denoiser learns.

    Attributes:
        times: where in time to train.
        weighting: how much each noise level counts.
        drop: probability that a condition is dropped, which guidance needs.
        loss: ``simple``; ``hybrid``, where the network also learns the reverse variance, from the variational bound; or
            the ``bound`` itself.
    """

    kind: Literal["diffusion"] = "diffusion"
    times: Annotated[AnyTimes, SPELLED, BY_KIND] = UniformTimes()
    weighting: Annotated[AnyWeighting, SPELLED, BY_KIND] = UnitWeighting()
    drop: float = 0.1
    loss: Loss = "simple"

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1:
            raise ValueError(f"drop is a probability, from 0 to 1, and is {self.drop}")


@dataclass(frozen=True, kw_only=True)
class AutoencodingSettings:
    """An autoencoder learns.

    Attributes:
        error: L1 keeps edges, L2 is what PSNR measures.
        learned_scale: the reconstruction's scale is learned, which weighs it against the penalty.
        perceptual: weight of the perceptual distance; 0 = off.
        features: what the perceptual distance looks at.
        penalty: weight of the KL, in nats per value of the picture, or of the commitment; None = 1e-6, or 0.25.
        critic: a critic, and when and how much it counts; None = none.
    """

    kind: Literal["autoencoding"] = "autoencoding"
    error: Literal["l1", "l2"] = "l1"
    learned_scale: bool = False
    perceptual: float = 1.0
    features: Annotated[AnyPerceptual, SPELLED, BY_KIND] = PerceptualConfig()
    penalty: float | None = None
    critic: CriticConfig | None = None

    def __post_init__(self) -> None:
        if self.perceptual < 0 or (self.penalty or 0) < 0:
            raise ValueError("the weights perceptual and penalty must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class ElboSettings:
    """A variational autoencoder learns.

    Attributes:
        warmup: the steps over which the KL's weight rises from 0 to 1.
        free_bits: nats that each layer may say without a cost.
    """

    kind: Literal["elbo"] = "elbo"
    warmup: int = 0
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.free_bits < 0:
            raise ValueError("warmup and free_bits must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class DistillationSettings:
    """A tiny decoder learns from a trained first stage's, which ``model.first_stage`` names.

    Attributes:
        decoder: its shape; None = by the size of the full one.
        original: the part of the target that is the original picture, not the full decoder's.
    """

    kind: Literal["distillation"] = "distillation"
    decoder: TinyDecoderConfig | None = None
    original: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.original <= 1:
            raise ValueError(f"original is a part of the target, from 0 to 1, and is {self.original}")


@dataclass(frozen=True, kw_only=True)
class ClassificationSettings:
    """A classifier of noised data learns, for guidance; ``model.conditioner`` has its classes."""

    kind: Literal["classification"] = "classification"


MOST_STEPS = 16
"""Of a few-step model; with more, the teacher itself is as good."""
GRID = Uniform()
"""Where a few-step model stops on its way."""


@dataclass(frozen=True, kw_only=True)
class FewStepSettings:
    """A model of few steps learns from a trained one, its teacher.

    Attributes:
        teacher: the folder of the teacher's run, whose weights it begins with.
        steps: how many.
        trajectories: how many of the teacher's samples are made to learn from, each from noise to data.
        solver: the teacher's steps on this way, at least; as many in each of the student's.
        guidance: the scale that is learned; None = the one that the teacher samples with.
        drop: the part of the trajectories that are made without a condition.
    """

    kind: Literal["few_step"] = "few_step"
    teacher: str = ""
    steps: int = 4
    trajectories: int = 2048
    solver: int = 24
    guidance: float | None = None
    drop: float = 0.1

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MOST_STEPS:
            raise ValueError(f"a few-step model takes 1 to {MOST_STEPS} steps, and steps is {self.steps}")
        if self.trajectories < 1 or self.solver < 1:
            raise ValueError(f"take 1 or more, not {self.trajectories} trajectories and {self.solver} solver steps")
        if not 0 <= self.drop <= 1:
            raise ValueError(f"drop is a part of the trajectories, from 0 to 1, and is {self.drop}")


AnyObjective = (
    DiffusionSettings
    | AutoencodingSettings
    | ElboSettings
    | ClassificationSettings
    | DistillationSettings
    | FewStepSettings
)
Drawing = DiffusionSettings | FewStepSettings
"""What trains a model that draws from noise."""


@dataclass(frozen=True, kw_only=True)
class PreviewSettings:
    """Pictures on the way: always of the same seeds, so that they can be compared.

    Attributes:
        every: optimizer steps between previews; 0 = none.
        count: how many samples.
        held_out: how many held-out samples to measure the loss on.
        best: keeps the model that was best on held-out samples so far in the run's ``best/``: by its loss (an
            autoencoder's PSNR, a VAE's bound), or by the kernel distance of as many samples; None = keeps none.
        patience: so many previews without a better one end the training; 0 = none do.
    """

    every: int = 500
    count: int = 16
    held_out: int = 64
    best: Literal["loss", "kid"] | None = None
    patience: int = 0

    def __post_init__(self) -> None:
        if min(self.every, self.held_out, self.patience) < 0 or self.count < 1:
            raise ValueError("every, held_out and patience must be 0 or more, and count 1 or more")
        if self.best is not None and not (self.every and self.held_out):
            raise ValueError("best is found at previews, on held-out samples: every and held_out must be above 0")
        if self.best == "kid" and self.held_out < 2:
            raise ValueError("a kernel distance needs two held-out samples or more")
        if self.patience and self.best is None:
            raise ValueError("patience waits for a better model: say by what, with best=loss or best=kid")


@dataclass(frozen=True, kw_only=True)
class AutoencoderStage:
    """An autoencoder that is trained first, in the run's folder ``autoencoder/``; the keys are those of an own run."""

    first_stage: Annotated[KlConfig | VqConfig, SPELLED, BY_KIND]
    objective: AutoencodingSettings = AutoencodingSettings()
    train: TrainSettings
    checkpoint: CheckpointSettings = CheckpointSettings()
    preview: PreviewSettings = PreviewSettings()


class Recipe(BaseModel):
    """Everything that a run is made from.

    Attributes:
        preset: the preset that it began as, for the record.
        seed: of every random number.
        autoencoder: a first stage to train before the rest, which then diffuses in its latents.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str | None = None
    seed: int = 0
    data: DataSettings = DataSettings()
    autoencoder: AutoencoderStage | None = None
    model: ModelSettings = ModelSettings()
    objective: Annotated[AnyObjective, otherwise("diffusion"), BY_KIND] = DiffusionSettings()
    train: TrainSettings
    checkpoint: CheckpointSettings = CheckpointSettings()
    preview: PreviewSettings = PreviewSettings()
    sample: SampleSettings = SampleSettings()
