"""Files of low-rank adapters (LoRA), as peft writes and reads them.

A folder has ``adapter_config.json`` and ``adapter_model.safetensors``; a file alone has no alpha, which is then the
rank. The names in it are those of the network's layers, ``base_model.model.LAYER.lora_A.weight`` and ``lora_B``.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from pydantic import ConfigDict, Field
from torch import Tensor

from carrara.errors import UserError
from carrara.files import BadFile, is_folder, is_regular, read_as, read_tensors, shapes, write_bytes, write_tensors
from carrara.nn.low_rank import Factors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
_Positive = Annotated[float, Field(gt=0, le=1e6)]


@dataclass(frozen=True, kw_only=True)
class Description:
    """What ``adapter_config.json`` says, as far as it is understood here.

    Attributes:
        lora_alpha: alpha, for all layers that ``alpha_pattern`` does not name; ranks are seen in the tensors.
        use_rslora: whether alpha is divided by the root of the rank.
        use_dora: what is not read.
    """

    __pydantic_config__ = ConfigDict(extra="ignore", allow_inf_nan=False)

    peft_type: str = "LORA"
    lora_alpha: _Positive = 8
    alpha_pattern: Mapping[str, _Positive] = field(default_factory=dict[str, float])
    use_rslora: bool = False
    use_dora: bool = False

    def scale(self, layer: str, rank: int) -> float:
        """What B A is multiplied by in a layer."""
        alpha = next((a for end, a in self.alpha_pattern.items() if _is_named(layer, end)), None)
        return (self.lora_alpha if alpha is None else alpha) / (rank**0.5 if self.use_rslora else rank)


def write_adapter(folder: Path, factors: Mapping[str, Factors], base: str) -> list[str]:
    """Writes an adapter as peft does; returns the names of the files.

    Args:
        factors: by the names of layers.
        base: which model it is for.
    """
    tensors = {f"{PREFIX}{name}{end}": one for name, pair in factors.items() for end, one in _both(pair)}
    ranks = {name: one.rank for name, one in factors.items()}
    alphas = {name: one.scale * one.rank for name, one in factors.items()}
    rank, alpha = next(iter(ranks.values())), next(iter(alphas.values()))
    described = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": int(alpha) if float(alpha).is_integer() else alpha,
        "rank_pattern": {name: r for name, r in ranks.items() if r != rank},
        "alpha_pattern": {name: a for name, a in alphas.items() if a != alpha},
        "target_modules": sorted(factors),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "task_type": None,
    }
    write_tensors(folder / WEIGHTS, {name: one.detach().cpu().contiguous() for name, one in tensors.items()})
    write_bytes(folder / CONFIG, (json.dumps(described, indent=2) + "\n").encode())
    return [WEIGHTS, CONFIG]


def read_adapter(path: Path) -> dict[str, Factors]:
    """What an adapter's folder, or file, holds, by the names of layers.

    Raises:
        UserError: it is not there, damaged, or of another kind.
    """
    file, described = _opened(path)
    tensors = read_tensors(file)
    found = dict[str, Factors]()
    for layer in _layers(file, tensors):
        name, down = layer.removeprefix(PREFIX), tensors[f"{layer}{_DOWN}"]
        scale = 1.0 if described is None else described.scale(name, max(1, len(down) if down.ndim else 0))
        try:
            found[name] = Factors(down=down.float(), up=tensors[f"{layer}{_UP}"].float(), scale=scale)
        except ValueError as error:
            raise BadFile(file, f"is damaged: in '{name}' {error}", "name a LoRA as peft writes them") from None
    return found


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights that an adapter is for, by the names of layers; its tensors are not read.

    Raises:
        UserError: as ``read_adapter``, as far as can be seen without them.
    """
    file, _ = _opened(path)
    found = shapes(file)
    return {
        layer.removeprefix(PREFIX): (*found[f"{layer}{_UP}"][:1], *found[f"{layer}{_DOWN}"][1:])
        for layer in _layers(file, found)
    }


def weights_in(path: Path) -> Path:
    """The file with an adapter's tensors, if it is there."""
    return path / WEIGHTS if is_folder(path) else path


@torch.no_grad()
def merge(network: torch.nn.Module, factors: Mapping[str, Factors], times: float, name: str) -> None:
    """Adds an adapter to the weights of a network, so many times.

    Raises:
        UserError: it is for another network.
    """
    for layer, one in factors.items():
        weight = weight_of(network, layer, one, name)
        weight.copy_(Factors(down=one.down.to(weight), up=one.up.to(weight), scale=one.scale).added(weight, times))


def fingerprint(factors: Mapping[str, Factors]) -> str:
    """What identifies an adapter: 16 hexadecimal digits."""
    state = hashlib.sha256()
    for layer, one in sorted(factors.items()):
        state.update(f"{layer} {one.scale!r}".encode())
        for _, value in _both(one):
            state.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()[:16]


def weight_of(network: torch.nn.Module, layer: str, one: Factors, name: str) -> Tensor:
    """The weight of a layer that factors are for.

    Raises:
        UserError: it is not there, or has another shape.
    """
    weight = getattr(dict(network.named_modules()).get(layer), "weight", None)
    wrong = f"the adapter '{name}' is for another network"
    if not isinstance(weight, Tensor):
        raise UserError(f"{wrong}: this one has no layer '{layer}'")
    if one.shape != tuple(weight.shape):
        raise UserError(f"{wrong}: '{layer}' has a weight of {one.shape} there, and one of {tuple(weight.shape)} here")
    return weight


def none_in(path: Path) -> UserError:
    """What to say where no adapter is."""
    return UserError(f"there is no adapter in '{path}': name a folder with {WEIGHTS}, or a safetensors file")


def _opened(path: Path) -> tuple[Path, Description | None]:
    """The file of an adapter's tensors, and what is said of it."""
    if not is_regular(file := weights_in(path)):
        raise none_in(path)
    about = file.with_name(CONFIG)
    described = read_as(about, Description) if is_regular(about) else None
    if described is not None and (described.peft_type.upper() != "LORA" or described.use_dora):
        kind = "DORA" if described.use_dora else described.peft_type
        raise BadFile(about, f"says {kind}, and LoRA alone is read", "merge it into its model where it was made")
    return file, described


def _layers(file: Path, names: Iterable[str]) -> list[str]:
    """The layers that have both factors among the names of tensors, as they are called there."""
    known = set(names)
    layers = sorted(name.removesuffix(_UP) for name in known if name.endswith(_UP))
    other = sorted(name for name in known if not name.endswith((_DOWN, _UP)))
    if not layers or other:
        what = f"holds '{other[0]}'" if other else "holds no pair of lora_A and lora_B"
        raise BadFile(file, f"{what}, and a LoRA has lora_A and lora_B alone", "name a LoRA as peft writes them")
    if alone := [layer for layer in layers if f"{layer}{_DOWN}" not in known]:
        raise BadFile(file, f"holds no lora_A of '{alone[0]}'", "name a whole LoRA")
    return layers


def _is_named(layer: str, pattern: str) -> bool:
    """Whether a key of ``alpha_pattern`` means a layer: it is a regular expression of the name, or of its end."""
    try:
        return re.match(rf"(?:.*\.)?(?:{pattern})$", layer) is not None
    except re.error:
        return False


def _both(one: Factors) -> Iterator[tuple[str, Tensor]]:
    yield _DOWN, one.down
    yield _UP, one.up
