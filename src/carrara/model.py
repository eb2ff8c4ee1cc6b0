"""A whole model: first stage, conditioner and denoiser, and the folder that it is saved to.

A model's folder has ``config.json``, which says how to build it and what it was trained on, and one safetensors file
per part that has weights. Nothing in it can run code.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import carrara
from carrara.autoencoder import AnyFirstStage, IdentityConfig
from carrara.backbone import AnyBackbone
from carrara.conditioning import AnyConditioner, UnconditionalConfig
from carrara.denoiser import Denoiser
from carrara.errors import UserError
from carrara.kinds import BY_KIND, SPELLED
from carrara.noise import AnyParameterization, AnySchedule
from carrara.sample import SampleSettings
from carrara.types import Columns, Conditioning

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything needed to build a model.

    Attributes:
        shape: one sample's: (C, H, W) of pictures, (D,) of points.
        sample: how to sample it unless told otherwise.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    shape: tuple[int, ...]
    backbone: Annotated[AnyBackbone, SPELLED, BY_KIND]
    schedule: Annotated[AnySchedule, SPELLED, BY_KIND]
    parameterization: Annotated[AnyParameterization, SPELLED, BY_KIND]
    conditioner: Annotated[AnyConditioner, SPELLED, BY_KIND] = UnconditionalConfig()
    first_stage: Annotated[AnyFirstStage, SPELLED] = IdentityConfig()
    sample: SampleSettings = field(default_factory=SampleSettings)


class DiffusionModel(nn.Module):
    """A model that can be trained, sampled, saved and loaded.

    Args:
        config: how to build it.
        about: what is worth knowing about it: data, fingerprint, steps, metrics; plain JSON.

    Raises:
        ValueError: the parts do not fit together.
    """

    def __init__(self, config: ModelConfig, about: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.config, self.about = config, dict(about or {})
        self.first_stage = config.first_stage.build()
        self.latent_shape = self.first_stage.latent_shape(config.shape)
        self.conditioner = config.conditioner.build(config.backbone.vector_width)
        backbone = config.backbone.build(self.latent_shape)
        self.denoiser = Denoiser(backbone, config.schedule, config.parameterization)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.denoiser.parameters()).device

    @property
    def guidable(self) -> bool:
        """Whether the model has a condition, so that guidance means something."""
        return self.conditioner.column is not None

    def conditions(self, wishes: Sequence[str | None]) -> Conditioning:
        """The condition of each sample from what a user typed; None says nothing.

        Raises:
            UserError: a wish that this model does not understand.
        """
        rows = [None if wish is None else self.conditioner.parse(wish) for wish in wishes]
        null = self.conditioner.null(len(rows))
        said = next((row for row in rows if row is not None), None)
        if said is None:
            return null
        column = torch.stack([torch.zeros_like(said) if row is None else row for row in rows]).to(self.device)
        keep = torch.tensor([row is not None for row in rows], device=self.device)
        columns: Columns = {str(self.conditioner.column): column}
        return self.conditioner.embed(columns).where(keep, null)

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

    def digest(self) -> str:
        """A fingerprint of configuration and weights: 16 hexadecimal digits."""
        state = hashlib.sha256(repr(self.config).encode())
        for name, value in self.state_dict().items():
            state.update(name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return state.hexdigest()[:16]

    def save(self, folder: Path, **about: Any) -> None:
        """Writes the model to ``folder``, with ``about`` added to what is known about it."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, part in self.named_children():
            if tensors := weights(part):
                save_file(tensors, folder / f"{name}.safetensors")
        (folder / "config.json").write_bytes(config_json(self.config, {**self.about, **about}))

    @classmethod
    def load(cls, folder: Path) -> "DiffusionModel":
        """Reads a model from ``folder``, on the CPU, in evaluation mode.

        Raises:
            UserError: the folder is not a model's, is damaged, or is from a newer Carrara.
        """
        config, about = read_config(folder)
        try:
            model = cls(config, about)
        except ValueError as error:
            raise UserError(f"'{folder / 'config.json'}' describes no model that works: {error}") from error
        for name, part in model.named_children():
            if weights(part):
                _read_part(folder / f"{name}.safetensors", part)
        return model.eval()


def weights(part: nn.Module) -> dict[str, Tensor]:
    """A part's tensors, contiguous and on the CPU, as files hold them."""
    return {name: value.detach().cpu().contiguous() for name, value in part.state_dict().items()}


def config_json(config: ModelConfig, about: Mapping[str, Any]) -> bytes:
    """The contents of ``config.json``."""
    model = TypeAdapter(ModelConfig).dump_python(config, mode="json")
    document = {"format": FORMAT, "carrara": carrara.__version__, "model": model, "about": dict(about)}
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def read_config(folder: Path) -> tuple[ModelConfig, dict[str, Any]]:
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
        return TypeAdapter(ModelConfig).validate_python(document["model"]), document.get("about", {})
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
