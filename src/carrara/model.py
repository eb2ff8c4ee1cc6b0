"""A whole model, and the folder that it is saved to: first stage, conditioner and denoiser; or a first stage alone.

A model's folder has ``config.json``, which says how to build it and what it was trained on, and one safetensors file
per part that has weights. Nothing in it can run code.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, final

import torch
from pydantic import ConfigDict
from torch import Tensor

from carrara.autoencoder import AnyFirstStage, FirstStage, IdentityConfig
from carrara.backbone import AnyBackbone
from carrara.classifier import Classifier, ClassifierConfig
from carrara.conditioning import AnyConditioner, AnyImageCondition, Conditioner, UnconditionalConfig
from carrara.data import CaptionTable
from carrara.denoiser import MOST_SPANS, build_denoiser
from carrara.distilled import DecoderConfig, DistilledDecoder
from carrara.errors import UserError, option
from carrara.files import BadFile, Malformed, as_kind, check_inside, is_regular, read_as
from carrara.kinds import BY_KIND, SHAPE, SPELLED, UNSAID
from carrara.lora import write_adapter
from carrara.medium import Size, medium_of
from carrara.modality import AnyModality
from carrara.nn import BESIDE, bounded
from carrara.nn.low_rank import factors_of
from carrara.noise import AnyParameterization, AnySchedule
from carrara.sample import SampleSettings
from carrara.saved import CONFIG, FORMAT, About, Document, Saved, read_part, weights
from carrara.shapes import by, cropped, spatial_of
from carrara.types import Conditioning

SMALLEST, LARGEST = 4, 1 << 26
"""An edge, and all of them multiplied: what pictures can be asked for. Pillow warns of larger ones when it reads."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything needed to build a diffusion model.

    Attributes:
        shape: one sample's: (C, H, W) of pictures, (D,) of points.
        image: what the network sees beside its input.
        modality: what the numbers of a sample are; None for pictures and plain points.
        learned_variance: whether the network says how sure it is, for the variational bound.
        sample: how to sample it unless told otherwise.
        spans: True if the network is told where a step ends, and answers where it leads.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: Literal["diffusion"] = "diffusion"
    shape: Annotated[tuple[int, ...], SHAPE]
    backbone: Annotated[AnyBackbone, SPELLED, BY_KIND]
    schedule: Annotated[AnySchedule, SPELLED, BY_KIND]
    parameterization: Annotated[AnyParameterization, SPELLED, BY_KIND]
    conditioner: Annotated[AnyConditioner, SPELLED, BY_KIND] = UnconditionalConfig()
    first_stage: Annotated[AnyFirstStage, SPELLED, BY_KIND] = IdentityConfig()
    image: Annotated[AnyImageCondition | None, SPELLED, BY_KIND] = field(default=None, repr=False)  # as digests were
    learned_variance: bool = False
    sample: SampleSettings = field(default_factory=SampleSettings)
    modality: Annotated[AnyModality | None, BY_KIND] = field(default=None, repr=False)  # as digests were
    spans: Annotated[Literal[True] | None, UNSAID] = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Everything needed to build a first stage that stands alone.

    Attributes:
        shape: one sample's, (C, H, W).
        modality: as of ``ModelConfig``.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: Literal["autoencoder"] = "autoencoder"
    shape: Annotated[tuple[int, ...], SHAPE]
    first_stage: Annotated[AnyFirstStage, SPELLED, BY_KIND]
    modality: Annotated[AnyModality | None, BY_KIND] = field(default=None, repr=False)


AnyModelConfig = ModelConfig | AutoencoderConfig | DecoderConfig | ClassifierConfig
"""What a ``config.json`` describes."""


class Model(Saved):
    """A model that has a first stage.

    Args:
        config: how to build it.

    Attributes:
        first_stage: pixels to latents and back.
        conditioner: what the model can be told.
        image: what it sees beside its input, if anything.
        diffuses: whether it goes from noise to data by steps.
        fast: a distilled decoder of the first stage, for previews, where there is one; no part of the model.
        early: the folder of what the model was early in its training, where that was kept; no part of it either.
    """

    first_stage: FirstStage
    conditioner: Conditioner
    image: AnyImageCondition | None = None
    diffuses: bool = False

    def __init__(self, config: ModelConfig | AutoencoderConfig, about: Mapping[str, Any] | None) -> None:
        super().__init__(about)
        self.shape = config.shape
        self.medium = medium_of(config.shape, config.modality)
        self.first_stage = config.first_stage.build(config.shape)
        self.latent_shape = self.first_stage.latent_shape(config.shape)
        self.fast: Callable[[Tensor], Tensor] | None = None
        self.early: Path | None = None

    @property
    @abstractmethod
    def config(self) -> ModelConfig | AutoencoderConfig:
        """How to build it."""

    @property
    def earlier_self(self) -> Path | None:
        """``early``, if samples are led away from it where the user names nothing: of a model without a condition."""
        return self.early if self.diffuses and not self.guidable else None

    @property
    def few_steps(self) -> int | None:
        """In how many steps it draws, and in no other number unless it ``spans``; None = any."""
        return self.about.get("few_steps")

    @property
    def spans(self) -> bool:
        """Whether it knows where a step leads, however long it is."""
        return False

    @property
    def unhurried(self) -> str:
        """Where one finds what a model of few steps cannot do."""
        if "beside" in self.about:
            return f"'{self.about['beside']}'"
        return "a run that diffuses" if self.spans else "its teacher's run"

    @property
    def guidable(self) -> bool:
        """Whether the model has a condition, so that guidance means something."""
        return self.conditioner.column is not None or self.image is not None

    @property
    def size(self) -> Size:
        """(height, width) of its pictures; an edge for each axis of other samples, and none of points."""
        return self.shape[1:]

    def captions(self, folder: Path | None = None) -> CaptionTable | None:
        return self.conditioner.caption_table(folder)

    @property
    def draws(self) -> bool:
        """Whether the model makes samples: it diffuses, or has a prior."""
        return self.diffuses or self.first_stage.has_prior

    @abstractmethod
    def settings(self, **changes: Any) -> SampleSettings:
        """The model's own sampling settings with some changed; None leaves one as it is.

        Raises:
            UserError: a setting that the model does not have.
        """

    def pixels(self, z: Tensor, *, fast: bool = False, size: Size | None = None) -> Tensor:
        """Model latents (B, *S') to pixels (B, *S): what the first stage has padded is cut off.

        Args:
            fast: by the distilled decoder, if there is one.
            size: of the pictures; None is the model's own.
        """
        x = self.fast(z) if fast and self.fast is not None else self.first_stage.decode(z)
        return cropped(x, size or self.size)

    def visible(self, x: Tensor, t: float, *, fast: bool = False, size: Size | None = None) -> Tensor:
        """States (B, *S') at a time on their way from noise as ``pixels``, brought to the scale of data."""
        return x

    def diffusion(self, refusal: str) -> "DiffusionModel":
        """The same model, if it diffuses.

        Raises:
            UserError: ``refusal``, if it does not.
        """
        raise UserError(refusal)

    def latents_of(self, size: Size | None) -> tuple[int, ...]:
        """The shape of model latents of pictures of ``size``; None is the model's own.

        Raises:
            UserError: its samples have no size, or not this one.
        """
        if size is None:
            return self.latent_shape
        if not self.size:
            raise UserError(f"this model makes {self.medium.name}, which have no size: leave size and tile out")
        what = f"{self.medium.name} of {by(size)} cannot be made"
        if len(size) != spatial_of(self.shape):
            raise UserError(f"{what}: this model's are {by(self.size)}, so take as many edges")
        if min(size) < SMALLEST or prod(size) > LARGEST:
            raise UserError(f"{what}: take edges of {SMALLEST} or more, and at most {LARGEST / 1e6:.0f} million pixels")
        try:
            return self.first_stage.latent_shape((self.shape[0], *size))
        except ValueError as error:
            raise UserError(f"{what}: {error}") from None


@final
class Autoencoder(Model):
    """A first stage that stands alone: it reconstructs, and diffusion can be trained on its latents.

    Raises:
        ValueError: it cannot take pictures of its shape.
    """

    def __init__(self, config: AutoencoderConfig, about: Mapping[str, Any] | None = None) -> None:
        super().__init__(config, about)
        self._config = config
        self.conditioner = UnconditionalConfig().build(1)

    @property
    def config(self) -> AutoencoderConfig:
        return self._config

    def settings(self, **changes: Any) -> SampleSettings:
        """Nothing can be set: what such a model can sample, it samples in one step.

        Raises:
            UserError: something is set.
        """
        if chosen := [name for name, value in changes.items() if value is not None]:
            raise UserError(f"this model samples in one step, without a sampler: leave {', '.join(chosen)} out")
        return SampleSettings()


@final
class DiffusionModel(Model):
    """A model that can be trained, sampled, saved and loaded.

    Raises:
        ValueError: the parts do not fit together.
    """

    diffuses = True

    def __init__(self, config: ModelConfig, about: Mapping[str, Any] | None = None) -> None:
        super().__init__(config, about)
        self._config = config
        self.conditioner = config.conditioner.build(config.backbone.vector_width)
        config.backbone.check_tokens(self.conditioner.token_width)
        self.image = config.image
        if self.image is not None and self.first_stage.factor is None:
            raise ValueError("latents that are vectors have no places beside which something is seen: leave image out")
        beside = 0 if self.image is None else self.image.channels(config.shape, self.latent_shape)
        config.sample.check(self.first_stage.levels is not None)
        self.denoiser = build_denoiser(
            config.backbone,
            self.latent_shape,
            config.schedule,
            config.parameterization,
            beside=beside,
            learned_variance=config.learned_variance,
            groups=None if self.first_stage.levels is None else config.shape[0],
            spans=config.sample.steps if config.spans else None,
        )

    @property
    def config(self) -> ModelConfig:
        return self._config

    @property
    def spans(self) -> bool:
        return bool(self._config.spans)

    def diffusion(self, refusal: str) -> "DiffusionModel":
        return self

    def write(self, folder: Path, *, matrices: torch.dtype = torch.float32, **about: Any) -> list[str]:
        """The same; what the network has learned beside its weights also stands for itself, as an adapter."""
        files, factors = super().write(folder, matrices=matrices, **about), factors_of(self.denoiser.backbone)
        return [*files, *(write_adapter(folder, factors, str(about.get("start", ""))) if factors else ())]

    @torch.no_grad()
    def visible(self, x: Tensor, t: float, *, fast: bool = False, size: Size | None = None) -> Tensor:
        alpha, sigma = self.config.schedule(torch.tensor(t, dtype=torch.float64))
        return self.pixels(x / torch.hypot(alpha, sigma).item(), fast=fast, size=size)

    def conditions(self, wishes: Sequence[str | None]) -> Conditioning:
        """The condition of each sample from what a user typed; None says nothing.

        Raises:
            UserError: a wish that this model does not understand.
        """
        return self.conditioner.said(wishes)

    def settings(self, **changes: Any) -> SampleSettings:
        """The model's own sampling settings with some changed; None leaves one as it is.

        Raises:
            UserError: guidance for a model without a condition.
        """
        settings = replace(self.config.sample, **{k: v for k, v in changes.items() if v is not None})
        if settings.guidance != 1 and not self.guidable:
            raise UserError(
                f"guidance {settings.guidance:g} needs a model with a condition, and this one is unconditional: "
                "leave the guidance at 1"
            )
        settings.check(self.first_stage.levels is not None)
        if self.spans and settings.steps > MOST_SPANS:
            raise UserError(
                f"this model draws in few steps, and {settings.steps} are more than it has learned: take "
                f"{option('steps')} up to {MOST_SPANS}"
            )
        return settings


AnySaved = Model | DistilledDecoder | Classifier
"""What can be loaded from a folder."""


def build_model(config: AnyModelConfig, about: Mapping[str, Any] | None = None) -> AnySaved:
    """Makes an untrained model.

    Raises:
        ValueError: the parts do not fit together.
    """
    match config:
        case ModelConfig():
            return DiffusionModel(config, about)
        case AutoencoderConfig():
            return Autoencoder(config, about)
        case DecoderConfig():
            return DistilledDecoder(config, about)
        case ClassifierConfig():
            return Classifier(config, about)


def load_model(folder: Path, weights_in: Path | None = None) -> AnySaved:
    """Reads a model from ``folder``, on the CPU, in evaluation mode.

    Args:
        weights_in: the folder of its weights, if it is another one.

    Raises:
        UserError: the folder is not a model's, is damaged, or is from a newer Carrara.
    """
    source = weights_in or folder
    model = build_saved(source, *read_config(folder))
    for name, part in model.named_children():
        if weights(part):
            read_part(source / f"{name}.safetensors", part)
    return model.eval()


def build_saved(folder: Path, config: AnyModelConfig, about: Mapping[str, Any]) -> AnySaved:
    """Makes the untrained model of a folder, if it has no more numbers than the folder's files.

    Raises:
        UserError: it has, or its parts do not fit together.
    """
    there = sum(path.stat().st_size for path in folder.glob("*.safetensors") if is_regular(path))
    try:
        with bounded(there + BESIDE):
            return build_model(config, about)
    except ValueError as error:
        raise UserError(f"'{folder / CONFIG}' describes no model that works: {error}") from error


def read_config(folder: Path) -> tuple[AnyModelConfig, dict[str, Any]]:
    """Reads ``config.json``: how to build the model, and what is known about it.

    Raises:
        UserError: it is missing, damaged, or from a newer Carrara.
    """
    path = folder / CONFIG
    if not is_regular(path):
        raise UserError(f"'{folder}' holds no model: there is no config.json in it")
    try:
        check_inside(folder)
        document = read_as(path, Document, known=FORMAT)
        as_kind(document.about, About)
        config = as_kind({"kind": "diffusion", **document.model}, Annotated[AnyModelConfig, BY_KIND])
    except (BadFile, Malformed) as error:
        why = error.why if isinstance(error, BadFile) else str(error)
        raise UserError(f"'{path}' is damaged (it {why}): restore it from a checkpoint of the run") from None
    return config, dict(document.about)
