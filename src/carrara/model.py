"""A whole model, and the folder that it is saved to: first stage, conditioner and denoiser; or a first stage alone.

A model's folder has ``config.json``, which says how to build it and what it was trained on, and one safetensors file
per part that has weights. Nothing in it can run code.
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, final

from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from carrara.autoencoder import AnyFirstStage, FirstStage, IdentityConfig, TinyDecoderConfig
from carrara.backbone import AnyBackbone
from carrara.classifier import Classifier, ClassifierConfig
from carrara.conditioning import AnyConditioner, AnyImageCondition, Conditioner, UnconditionalConfig
from carrara.denoiser import Denoiser
from carrara.errors import UserError
from carrara.kinds import BY_KIND, SPELLED
from carrara.noise import AnyParameterization, AnySchedule
from carrara.sample import SampleSettings
from carrara.saved import FORMAT, Saved, weights
from carrara.types import Conditioning

SMALLEST, LARGEST = 4, 1 << 26
"""An edge, and an area, in pixels: what pictures can be asked for. Pillow warns of larger ones when it reads them."""

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything needed to build a diffusion model.

    Attributes:
        shape: one sample's: (C, H, W) of pictures, (D,) of points.
        image: what the network sees beside its input.
        learned_variance: whether the network says how sure it is, for the variational bound.
        sample: how to sample it unless told otherwise.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: Literal["diffusion"] = "diffusion"
    shape: tuple[int, ...]
    backbone: Annotated[AnyBackbone, SPELLED, BY_KIND]
    schedule: Annotated[AnySchedule, SPELLED, BY_KIND]
    parameterization: Annotated[AnyParameterization, SPELLED, BY_KIND]
    conditioner: Annotated[AnyConditioner, SPELLED, BY_KIND] = UnconditionalConfig()
    first_stage: Annotated[AnyFirstStage, SPELLED, BY_KIND] = IdentityConfig()
    image: Annotated[AnyImageCondition | None, SPELLED, BY_KIND] = field(default=None, repr=False)  # as digests were
    learned_variance: bool = False
    sample: SampleSettings = field(default_factory=SampleSettings)


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Everything needed to build a decoder that was distilled from a first stage's.

    Attributes:
        shape: of what it makes, (C, H, W), padding included.
        latent_shape: of model latents, (C', h, w).
        teacher: the digest of the first stage that it learned from, which it belongs to.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: Literal["decoder"] = "decoder"
    shape: tuple[int, ...]
    latent_shape: tuple[int, ...]
    decoder: TinyDecoderConfig
    teacher: str


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Everything needed to build a first stage that stands alone.

    Attributes:
        shape: one sample's, (C, H, W).
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: Literal["autoencoder"] = "autoencoder"
    shape: tuple[int, ...]
    first_stage: Annotated[AnyFirstStage, SPELLED, BY_KIND]


AnyModelConfig = ModelConfig | AutoencoderConfig | DecoderConfig | ClassifierConfig
"""What a ``config.json`` describes."""


class Model(Saved):
    """A model that has a first stage.

    Args:
        config: how to build it.

    Attributes:
        first_stage: pixels to latents and back.
        conditioner: what the model can be told.
        fast: a distilled decoder of the first stage, for previews, where there is one; no part of the model.
        early: the folder of what the model was early in its training, where that was kept; no part of it either.
    """

    first_stage: FirstStage
    conditioner: Conditioner

    def __init__(self, config: ModelConfig | AutoencoderConfig, about: Mapping[str, Any] | None) -> None:
        super().__init__(about)
        self.shape = config.shape
        self.first_stage = config.first_stage.build(config.shape)
        self.latent_shape = self.first_stage.latent_shape(config.shape)
        self.fast: Callable[[Tensor], Tensor] | None = None
        self.early: Path | None = None

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
        if len(self.shape) != 3:
            return x
        height, width = size or self.shape[1:]
        return x[..., :height, :width]

    def latents_of(self, size: Size | None) -> tuple[int, ...]:
        """The shape of model latents of pictures of ``size``; None is the model's own.

        Raises:
            UserError: the model makes no pictures, or none of this size.
        """
        if size is None:
            return self.latent_shape
        if len(self.shape) != 3:
            raise UserError("this model makes points, which have no size: leave size and tile out")
        if min(size) < SMALLEST or size[0] * size[1] > LARGEST:
            raise UserError(
                f"pictures of {size[0]}x{size[1]} cannot be made: take edges of {SMALLEST} or more, and at most "
                f"{LARGEST / 1e6:.0f} million pixels"
            )
        try:
            return self.first_stage.latent_shape((self.shape[0], *size))
        except ValueError as error:
            raise UserError(f"pictures of {size[0]}x{size[1]} cannot be made: {error}") from None


@final
class DistilledDecoder(Saved):
    """A small decoder that makes what a first stage's decoder makes, sooner."""

    def __init__(self, config: DecoderConfig, about: Mapping[str, Any] | None = None) -> None:
        super().__init__(about)
        self._config = config
        self.shape, self.latent_shape = config.shape, config.latent_shape
        self.decoder = config.decoder.build(config.latent_shape, config.shape)

    @property
    def config(self) -> DecoderConfig:
        return self._config

    def forward(self, z: Tensor) -> Tensor:
        """Model latents (B, C', h, w) to pixels (B, C, H, W)."""
        return self.decoder(z)


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

    def __init__(self, config: ModelConfig, about: Mapping[str, Any] | None = None) -> None:
        super().__init__(config, about)
        self._config = config
        self.conditioner = config.conditioner.build(config.backbone.vector_width)
        _check_tokens(self.conditioner.token_width, config.backbone.context_width)
        self.image = config.image
        if self.image is not None and self.first_stage.factor is None:
            raise ValueError("latents that are vectors have no places beside which something is seen: leave image out")
        beside = 0 if self.image is None else self.image.channels(config.shape, self.latent_shape)
        backbone = config.backbone.build(self.latent_shape, beside, answers=1 + config.learned_variance)
        self.denoiser = Denoiser(
            backbone, config.schedule, config.parameterization, learned_variance=config.learned_variance
        )

    @property
    def config(self) -> ModelConfig:
        return self._config

    @property
    def guidable(self) -> bool:
        """Whether the model has a condition, so that guidance means something."""
        return self.conditioner.column is not None or self.image is not None

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
        return settings


def _check_tokens(given: int | None, seen: int | None) -> None:
    if given != seen and given is not None:
        looks = "looks at no tokens" if seen is None else f"looks at tokens of width {seen}"
        raise ValueError(
            f"the condition gives tokens of width {given}, and the network {looks}: set model.backbone.context_width=0 "
            "(and transformer_depths, for a U-Net), which takes the condition's width"
        )


AnyModel = DiffusionModel | Autoencoder
"""What has a first stage."""
AnySaved = AnyModel | DistilledDecoder | Classifier
"""What can be loaded from a folder."""

_CONFIGS: TypeAdapter[AnyModelConfig] = TypeAdapter(Annotated[AnyModelConfig, BY_KIND])


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


def load_model(folder: Path) -> AnySaved:
    """Reads a model from ``folder``, on the CPU, in evaluation mode.

    Raises:
        UserError: the folder is not a model's, is damaged, or is from a newer Carrara.
    """
    config, about = read_config(folder)
    try:
        model = build_model(config, about)
    except ValueError as error:
        raise UserError(f"'{folder / 'config.json'}' describes no model that works: {error}") from error
    for name, part in model.named_children():
        if weights(part):
            _read_part(folder / f"{name}.safetensors", part)
    return model.eval()


def read_config(folder: Path) -> tuple[AnyModelConfig, dict[str, Any]]:
    """Reads ``config.json``: how to build the model, and what is known about it.

    Raises:
        UserError: it is missing, damaged, or from a newer Carrara.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"'{folder}' holds no model: there is no config.json in it")
    try:
        document = json.loads(path.read_bytes())
        if document["format"] > FORMAT:
            raise UserError(f"'{path}' was written by Carrara {document['carrara']}: update Carrara to read it")
        return _CONFIGS.validate_python({"kind": "diffusion", **document["model"]}), document.get("about", {})
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"'{path}' is damaged ({reason}): restore it from a checkpoint of the run") from error


def _read_part(path: Path, part: nn.Module) -> None:
    try:
        part.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise UserError(f"the model's file '{path}' is missing: restore it from a checkpoint of the run") from None
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"'{path}' does not fit its config.json, or is damaged ({reason})") from error
