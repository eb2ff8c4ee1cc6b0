"""A recipe: everything that a run is made from, as one frozen value.

The sections are the configuration objects of the packages they belong to, so a key is declared once, where it is used.
What a preset leaves open (None) is filled in from the data by ``resolve``; a resolved recipe is complete.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from carrara.autoencoder import AnyFirstStage, IdentityConfig
from carrara.backbone import AnyBackbone
from carrara.conditioning import AnyConditioner
from carrara.kinds import BY_KIND, SPELLED
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
from carrara.sample import SampleSettings
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
    points: int = 20_000
    thickness: float = 0.02

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 4:
            raise ValueError(f"pictures need at least 4x4 pixels, got {self.size[0]}x{self.size[1]}")
        if self.channels is not None and self.channels < 1:
            raise ValueError(f"pictures need at least 1 channel, got {self.channels}")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out is a part of the data, at least 0 and below 1, got {self.held_out}")
        if self.points < 1 or self.thickness < 0:
            raise ValueError(f"take 1 point or more, and a thickness of 0 or more, not {self.points}, {self.thickness}")


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What to train.

    Attributes:
        backbone: None = a U-Net that suits the size of the pictures.
        conditioner: None = the labels or vectors that the data has, or nothing.
    """

    backbone: Annotated[AnyBackbone | None, SPELLED, BY_KIND] = None
    schedule: Annotated[AnySchedule, SPELLED, BY_KIND] = Cosine()
    parameterization: Annotated[AnyParameterization, SPELLED, BY_KIND] = V()
    conditioner: Annotated[AnyConditioner | None, SPELLED, BY_KIND] = None
    first_stage: Annotated[AnyFirstStage, SPELLED] = IdentityConfig()


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """What counts as good.

    Attributes:
        times: where in time to train.
        weighting: how much each noise level counts.
        drop: probability that a condition is dropped, which guidance needs.
    """

    times: Annotated[AnyTimes, SPELLED, BY_KIND] = UniformTimes()
    weighting: Annotated[AnyWeighting, SPELLED, BY_KIND] = UnitWeighting()
    drop: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1:
            raise ValueError(f"drop is a probability, from 0 to 1, and is {self.drop}")


@dataclass(frozen=True, kw_only=True)
class PreviewSettings:
    """Pictures on the way: always of the same seeds, so that they can be compared.

    Attributes:
        every: optimizer steps between previews; 0 = none.
        count: how many samples.
        held_out: how many held-out samples to measure the loss on.
    """

    every: int = 500
    count: int = 16
    held_out: int = 64

    def __post_init__(self) -> None:
        if self.every < 0 or self.count < 1 or self.held_out < 0:
            raise ValueError("preview.every and preview.held_out must be 0 or more, and preview.count 1 or more")


class Recipe(BaseModel):
    """Everything that a run is made from.

    Attributes:
        preset: the preset that it began as, for the record.
        seed: of every random number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str | None = None
    seed: int = 0
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    train: TrainSettings
    checkpoint: CheckpointSettings = CheckpointSettings()
    preview: PreviewSettings = PreviewSettings()
    sample: SampleSettings = SampleSettings()
