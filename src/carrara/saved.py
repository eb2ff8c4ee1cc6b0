"""What the folder of any model has in common: ``config.json``, one safetensors file per part that has weights, and a
manifest, by which damage is found (``files.sealed``)."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter
from torch import Tensor, nn

import carrara
from carrara.data import CaptionTable
from carrara.errors import UserError
from carrara.files import (
    BadFile,
    explained,
    is_regular,
    make_folder,
    read_bytes,
    read_tensors,
    sealed,
    write_bytes,
    write_tensors,
)
from carrara.nn.low_rank import merged

CONFIG = "config.json"
FORMAT = 1
"""Of the folder; a reader refuses a higher one."""
Count = Annotated[int, Field(ge=0, le=1 << 53)]
"""Of steps, of pictures."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What is known about a model and looked at by the package; there may be more, for people.

    Attributes:
        step: of the training.
        images: that it saw.
        few_steps: in how many steps it draws, if in no other number.
        beside: the model that ships whose weights it has, if its folder holds an adapter of these and nothing else.
    """

    step: Count = 0
    images: Count = 0
    few_steps: Annotated[int, Field(ge=1, le=10_000)] | None = None
    beside: Annotated[str, Field(max_length=200)] | None = None


@dataclass(frozen=True, kw_only=True)
class Document:
    """What ``config.json`` holds.

    Attributes:
        format: see ``FORMAT``.
        carrara: the version that wrote it.
        model: how to build it.
        about: what is known about it.
    """

    model: Mapping[str, Any]
    format: Count = 1
    carrara: str = "of another version"
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Saved(nn.Module, ABC):
    """What a model's folder holds: it can be saved and loaded, and knows what it is.

    Args:
        about: what is worth knowing about it: data, fingerprint, steps, metrics; plain JSON.
    """

    def __init__(self, about: Mapping[str, Any] | None) -> None:
        super().__init__()
        self.about = dict(about or {})

    @property
    @abstractmethod
    def config(self) -> Any:
        """How to build it: a dataclass with a ``kind``."""

    def purpose(self, path: Path) -> str:
        """What it is and how it is used, where something else is looked for in its folder ``path``."""
        return "a model of another kind than is looked for"

    def captions(self, folder: Path | None = None) -> CaptionTable | None:
        """How it reads captions, if it does; with a run's folder, what took long to read is kept there."""
        return None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def digest(self) -> str:
        """A fingerprint of configuration and weights: 16 hexadecimal digits."""
        return digest(self.config, self)

    def save(self, folder: Path, *, matrices: torch.dtype = torch.float32, **about: Any) -> None:
        """Writes the model to ``folder``, with ``about`` added to what is known about it, and seals it.

        Args:
            matrices: the type of matrices and kernels in the files; in the model they are float32 again.

        Raises:
            UserError: the disk is full, or refuses.
        """
        with explained(folder):
            make_folder(folder)
            sealed.seal(folder, self.write(folder, matrices=matrices, **about))

    def write(self, folder: Path, *, matrices: torch.dtype = torch.float32, **about: Any) -> list[str]:
        """The same in a folder that is there, and that somebody else seals; returns the names of the files."""
        files: list[str] = []
        for name, part in self.named_children():
            if tensors := weights(part):
                lowered = {k: v.to(matrices) if v.ndim > 1 and v.is_floating_point() else v for k, v in tensors.items()}
                files.append(f"{name}.safetensors")
                write_tensors(folder / files[-1], lowered)
        write_bytes(folder / CONFIG, config_json(self.config, {**self.about, **about}))
        return [*files, CONFIG]


def damage(folder: Path) -> str | None:
    """Why the files of a model's folder are not what was written; None if they are, or if nobody wrote that down."""
    if not (folder / sealed.MANIFEST).exists() and not _says_sealed(folder):
        return None
    return sealed.damage(folder, (CONFIG,))


def _says_sealed(folder: Path) -> bool:
    """Whether there must be a manifest: models of earlier versions have none."""
    try:
        return b'"sealed": true' in read_bytes(folder / CONFIG)
    except UserError:
        return False


def digest(config: object, module: nn.Module) -> str:
    """A fingerprint of a configuration and a module's weights: 16 hexadecimal digits."""
    state = hashlib.sha256(repr(config).encode())
    for name, value in merged(module.state_dict()).items():
        state.update(name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()[:16]


def weights(part: nn.Module) -> dict[str, Tensor]:
    """A part's tensors, contiguous and on the CPU, as files hold them: what layers have learned beside their weights is
    added to these."""
    return {name: value.detach().cpu().contiguous() for name, value in merged(part.state_dict()).items()}


def read_part(path: Path, part: nn.Module) -> None:
    """Reads the weights of a part of a model.

    Raises:
        UserError: they are missing, damaged, or another model's.
    """
    if not is_regular(path):
        raise UserError(f"the model's file '{path}' is missing: restore it from a checkpoint of the run")
    try:
        part.load_state_dict(read_tensors(path, like=part.state_dict()))
    except (BadFile, RuntimeError) as error:
        why = error.why if isinstance(error, BadFile) else " ".join(str(error).split())[:200]
        raise UserError(f"'{path}' does not fit its config.json, or is damaged ({why})") from error


def config_json(config: object, about: Mapping[str, Any]) -> bytes:
    """The contents of ``config.json``."""
    model = TypeAdapter(type(config)).dump_python(config, mode="json")
    if model.get("modality", "") is None:  # which pictures do without
        del model["modality"]
    document = {"format": FORMAT, "sealed": True, "carrara": carrara.__version__, "model": model, "about": dict(about)}
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
