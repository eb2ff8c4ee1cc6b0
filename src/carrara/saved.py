"""What the folder of any model has in common: ``config.json``, and one safetensors file per part that has weights."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import Tensor, nn

import carrara
from carrara.data import CaptionTable

FORMAT = 1
"""Of the folder; a reader refuses a higher one."""


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
        """Writes the model to ``folder``, with ``about`` added to what is known about it.

        Args:
            matrices: the type of matrices and kernels in the files; in the model they are float32 again.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, part in self.named_children():
            if tensors := weights(part):
                lowered = {k: v.to(matrices) if v.ndim > 1 and v.is_floating_point() else v for k, v in tensors.items()}
                save_file(lowered, folder / f"{name}.safetensors")
        (folder / "config.json").write_bytes(config_json(self.config, {**self.about, **about}))


def digest(config: object, module: nn.Module) -> str:
    """A fingerprint of a configuration and a module's weights: 16 hexadecimal digits."""
    state = hashlib.sha256(repr(config).encode())
    for name, value in module.state_dict().items():
        state.update(name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()[:16]


def weights(part: nn.Module) -> dict[str, Tensor]:
    """A part's tensors, contiguous and on the CPU, as files hold them."""
    return {name: value.detach().cpu().contiguous() for name, value in part.state_dict().items()}


def config_json(config: object, about: Mapping[str, Any]) -> bytes:
    """The contents of ``config.json``."""
    model = TypeAdapter(type(config)).dump_python(config, mode="json")
    document = {"format": FORMAT, "carrara": carrara.__version__, "model": model, "about": dict(about)}
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
