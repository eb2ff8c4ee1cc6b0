"""Files of low-rank adapters (LoRA): as peft writes and reads them, and as diffusers and kohya's scripts write them.

A folder of peft's has ``adapter_config.json`` and ``adapter_model.safetensors``. The names in it are those of the
network's layers, ``base_model.model.LAYER.lora_A.weight`` and ``lora_B``. diffusers' file says ``PART.LAYER`` for the
layers of a pipeline's parts, and ``lora.down`` and ``lora.up`` if it is older; the description of peft is in its
header, if it is new. kohya's says ``lora_PART_LAYER.lora_down.weight``, with an alpha beside each pair. Where nothing
says alpha, it is the rank. Whose names the layers have is not known here; see ``carrara.naming``.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field
from torch import Tensor

from carrara.errors import UserError
from carrara.files import (
    BadFile,
    Malformed,
    as_kind,
    is_folder,
    is_regular,
    parse_json,
    read_as,
    read_tensors,
    said_beside,
    shapes,
    write_bytes,
    write_tensors,
)
from carrara.nn.low_rank import Factors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LOADED = "pytorch_lora_weights.safetensors"
"""What pipelines of diffusers write and load."""
PREFIX = "base_model.model."
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
LONGEST = 500
"""Characters of a name, or of a pattern of names."""
_HEADER = "lora_adapter_metadata"
_PAIR = re.compile(r"(.+?)(?:\.lora_(A|B|down|up)|(_lora|\.lora|\.lora_linear_layer)\.(down|up))\.weight")
_ALPHA = re.compile(r"(.+?)(_lora|\.lora|\.lora_linear_layer)?\.alpha")
_HALVES = {"down": "lora_A, or down", "up": "lora_B, or up"}
_OF_PIXELS = {"to_out": "to_out.0"}
_OF_TEXTS = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
"""Layers of attention, by what diffusers' older files call the factors of their processors."""
_OTHERS = {
    "hada_": "a LoHa",
    "lokr_": "a LoKr",
    "dora_scale": "a DoRA",
    "lora_magnitude_vector": "a DoRA",
    "lora_mid": "a LoRA of three factors (LoCon, by Tucker)",
    "oft_": "an OFT",
    "lora_B.bias": "a LoRA with biases",
    "bundle_emb": "a LoRA with embeddings",
}
"""What else there is, by what is in the names of its tensors."""
_Positive = Annotated[float, Field(gt=0, le=1e6)]


@dataclass(frozen=True, kw_only=True)
class Description:
    """What ``adapter_config.json`` says, as far as it is understood here.

    Attributes:
        lora_alpha: alpha, for all layers that ``alpha_pattern`` does not name; ranks are seen in the tensors.
        alpha_pattern: of layers, by expressions that their names, or ends of these, fit; a few repetitions in each.
        use_rslora: whether alpha is divided by the root of the rank.
        use_dora: what is not read.
    """

    __pydantic_config__ = ConfigDict(extra="ignore", allow_inf_nan=False)

    peft_type: str = "LORA"
    lora_alpha: _Positive = 8
    alpha_pattern: Annotated[Mapping[str, _Positive], Field(max_length=1 << 12)] = field(
        default_factory=dict[str, float]
    )
    use_rslora: bool = False
    use_dora: bool = False

    def __post_init__(self) -> None:
        for pattern in self.alpha_pattern:  # anybody may have written it, and some expressions take for ever
            plain = pattern.replace("(?:", "(")
            if len(pattern) > LONGEST or len(re.findall(r"[*+?{]", plain)) > 2 or re.search(r"\)[*+?{]", plain):
                raise ValueError(f"the pattern '{pattern[:100]}' of alpha_pattern is too intricate")

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
        "rank_pattern": {_pattern(name, factors): r for name, r in ranks.items() if r != rank},
        "alpha_pattern": {_pattern(name, factors): a for name, a in alphas.items() if a != alpha},
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
    """What an adapter's folder, or file, holds, by the names of layers, which may be those of another program.

    Raises:
        UserError: it is not there, damaged, or of another kind.
    """
    if (file := file_in(path)) is None:
        raise none_in(path)
    about, found = file.with_name(CONFIG), _spelled(file)
    if file.name != LOADED and is_regular(about):
        described = {"": _checked(about, read_as(about, Description))}
    else:
        described = _described(file)
    tensors = read_tensors(file)
    return {
        layer: _factors(file, layer, {role: (name, tensors[name]) for role, name in parts.items()}, described)
        for layer, parts in found.items()
    }


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights that an adapter is for, by the names of layers there; its tensors are not read.

    Raises:
        UserError: as ``read_adapter``, as far as can be seen without them.
    """
    if (file := file_in(path)) is None:
        raise none_in(path)
    about, found = file.with_name(CONFIG), shapes(file)
    if file.name != LOADED and is_regular(about):
        _checked(about, read_as(about, Description))
    return {layer: (*found[parts["up"]][:1], *found[parts["down"]][1:]) for layer, parts in _spelled(file).items()}


def file_in(path: Path) -> Path | None:
    """The file of an adapter that is meant by a folder or a file; None if it is not there."""
    files = [path / WEIGHTS, path / LOADED] if is_folder(path) else [path]
    return next((file for file in files if is_regular(file)), None)


def _spelled(file: Path) -> dict[str, dict[str, str]]:
    """The names of the tensors of each layer, by what they are: ``down``, ``up`` and ``alpha``."""
    found = dict[str, dict[str, str]]()
    names = sorted(shapes(file))
    for name in names:
        if len(name) > LONGEST:
            raise _strange(file, name)
        if (pair := _PAIR.fullmatch(name)) is not None:
            layer, role = _layer(pair[1], pair[3]), "down" if (pair[2] or pair[4]) in ("A", "down") else "up"
        elif (alpha := _ALPHA.fullmatch(name)) is not None:
            layer, role = _layer(alpha[1], alpha[2]), "alpha"
        else:
            raise _strange(file, name)
        if role in found.setdefault(layer, {}):
            raise BadFile(file, f"holds the layer '{layer[:100]}' twice", "name a LoRA as it was written")
        found[layer][role] = name
    if not found:
        raise BadFile(file, "holds no pair of lora_A and lora_B", "name a LoRA")
    for layer, parts in found.items():
        for role, said in _HALVES.items():
            if role not in parts:
                raise BadFile(file, f"holds no {said}, of '{layer[:100]}'", "name a whole LoRA")
    return found


def _layer(name: str, processor: str | None) -> str:
    """The name of a layer, without what a program has before it, or between its parts."""
    name = name.removeprefix(PREFIX).replace(".processor.", ".")
    if processor != "_lora":
        return name
    above, dot, last = name.rpartition(".")
    return f"{above}{dot}{(_OF_TEXTS if above.endswith('self_attn') else _OF_PIXELS).get(last, last)}"


def _strange(file: Path, name: str) -> BadFile:
    kind = next((kind for sign, kind in _OTHERS.items() if sign in name), None)
    if kind is not None:
        return BadFile(file, f"is {kind} ('{name[:100]}'), and LoRA alone is read", "merge it where it was made")
    return BadFile(file, f"holds '{name[:100]}', and a LoRA has pairs of factors alone", "name a LoRA")


def _described(file: Path) -> dict[str, Description]:
    """What the header of diffusers' file says, by the part of the pipeline that it is about."""
    if (text := said_beside(file).get(_HEADER)) is None:
        return {}
    try:
        keys = as_kind(parse_json(text), dict[str, Any])
        parts = {key.partition(".")[0] for key in keys}
        return {part: _checked(file, as_kind(_below(keys, f"{part}."), Description)) for part in parts}
    except Malformed as error:
        raise BadFile(file, f"has {_HEADER} in its header, which {error}") from None


def _below(keys: Mapping[str, Any], above: str) -> dict[str, Any]:
    return {key.removeprefix(above): value for key, value in keys.items() if key.startswith(above)}


def _checked(file: Path, described: Description) -> Description:
    if described.peft_type.upper() != "LORA" or described.use_dora:
        kind = "DORA" if described.use_dora else described.peft_type[:100]
        raise BadFile(file, f"says {kind}, and LoRA alone is read", "merge it into its model where it was made")
    return described


def _factors(
    file: Path, layer: str, parts: Mapping[str, tuple[str, Tensor]], described: Mapping[str, Description]
) -> Factors:
    down, up = (_numbers(file, *parts[role]) for role in ("down", "up"))
    rank, scale = max(1, len(down) if down.ndim else 0), 1.0
    part, _, inner = layer.partition(".")
    if "alpha" in parts:
        name, alpha = parts["alpha"]
        if alpha.numel() != 1 or not alpha.double().isfinite():
            raise BadFile(file, f"holds '{name[:100]}', which is not one number", "name a LoRA as it was written")
        scale = float(alpha) / rank
    elif "" in described:
        scale = described[""].scale(layer, rank)
    elif part in described:
        scale = described[part].scale(inner, rank)
    try:
        return Factors(down=down, up=up, scale=scale)
    except ValueError as error:
        raise BadFile(file, f"is damaged: in '{layer[:100]}' {error}", "name a LoRA as it was written") from None


def _numbers(file: Path, name: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        kind = str(value.dtype).removeprefix("torch.")
        raise BadFile(file, f"holds '{name[:100]}' in {kind}, and factors are float32, float16 or bfloat16")
    if not (found := value.float()).isfinite().all():
        raise BadFile(file, f"holds numbers in '{name[:100]}' that are infinite or none (NaN)", "name a sound LoRA")
    return found


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
    try:
        weight = getattr(network.get_submodule(layer), "weight", None)
    except AttributeError:
        raise unfit(name, layer) from None
    if not isinstance(weight, Tensor):
        raise unfit(name, layer)
    if one.shape != tuple(weight.shape):
        raise unfit(name, layer, one.shape, tuple(weight.shape))
    return weight


def unfit(name: str, layer: str, there: tuple[int, ...] = (), here: tuple[int, ...] | None = None) -> UserError:
    """What to say of an adapter that is for another network.

    Args:
        layer: by which that is seen.
        there, here: shapes of its weight; None: it is not here.
    """
    wrong = f"the adapter '{name}' is for another network"
    if here is None:
        return UserError(f"{wrong}: this one has no layer '{layer[:100]}'")
    return UserError(f"{wrong}: '{layer[:100]}' has a weight of {there} there, and one of {here} here")


def none_in(path: Path) -> UserError:
    """What to say where no adapter is."""
    return UserError(
        f"there is no adapter in '{path}': name a folder with {WEIGHTS} or {LOADED}, or a safetensors file"
    )


def _pattern(name: str, layers: Iterable[str]) -> str:
    """What means one of the layers and no other: its name, which may be the end of another's."""
    return f"^{name}" if any(_is_named(other, name) for other in layers if other != name) else name


def _is_named(layer: str, pattern: str) -> bool:
    """Whether a key of ``alpha_pattern`` means a layer: it is a regular expression of the name, or of its end."""
    try:
        return re.match(rf"(?:.*\.)?(?:{pattern})$", layer) is not None
    except re.error:
        return False


def _both(one: Factors) -> Iterator[tuple[str, Tensor]]:
    yield _DOWN, one.down
    yield _UP, one.up
