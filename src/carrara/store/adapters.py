"""Adapters (LoRA) that a request adds to the weights of its model."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field
from torch import nn

from carrara.errors import UserError, option
from carrara.files import is_folder
from carrara.lora import file_in, fingerprint, merge, none_in, read_adapter, weight_of
from carrara.model import DiffusionModel, Model
from carrara.naming import CONDITION, adopted
from carrara.nn.low_rank import Factors

LARGEST = 100.0
"""So many times an adapter can be taken, at most."""


@dataclass(frozen=True, kw_only=True)
class Added:
    """An adapter that a request adds to its model.

    Attributes:
        file: where it is: a folder, or a safetensors file.
        times: how much of it.
        weights: what identifies its tensors.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    file: str
    times: Annotated[float, Field(ge=-LARGEST, le=LARGEST)] = 1.0
    weights: str


def located(said: str) -> tuple[Path, float]:
    """Which adapter is meant by ``FILE`` or ``FILE:0.8``, and how much of it.

    A run's folder stands for the adapter that it has learned.

    Raises:
        UserError: there is none, or the weight is no number.
    """
    place, colon, number = said.rpartition(":")
    path, times = Path(said), 1.0
    if colon and not path.exists():
        path = Path(place)
        try:
            times = float(number)
        except ValueError:
            shown = option("lora", "FILE:0.8")
            raise UserError(f"'{number}' is no weight of an adapter: say it as in {shown}") from None
        if not abs(times) <= LARGEST:
            raise UserError(f"an adapter cannot be taken {number} times: take {-LARGEST:g} to {LARGEST:g}")
    if is_folder(path) and file_in(path) is None:
        inner = [one for one in (path / "model", path / "best") if is_folder(one) and file_in(one) is not None]
        if not inner:
            raise none_in(path)
        path = inner[0]
    return path, times


def added(model: DiffusionModel, adapters: Sequence[Added]) -> DiffusionModel:
    """A model with adapters merged into its network and its condition; what they do not change is shared.

    Raises:
        UserError: an adapter is gone, has changed since, or is for another network.
    """
    read = [(one, fitting(Path(one.file), model)) for one in adapters]
    changing = {f"{layer}.weight" for _, factors in read for layer in factors}
    own = [(name.removeprefix("backbone."), weight) for name, weight in model.denoiser.named_parameters()]
    own += [(CONDITION + name, weight) for name, weight in model.conditioner.named_parameters()]
    kept = {id(weight): weight for name, weight in own if name not in changing}
    denoiser, conditioner = deepcopy(model.denoiser, kept), model.conditioner
    if any(layer.startswith(CONDITION) for layer in changing):
        conditioner = deepcopy(model.conditioner, kept)
    for one, factors in read:
        if fingerprint(factors) != one.weights:
            raise UserError(f"the adapter '{one.file}' has changed since: name another one with {option('lora')}")
        for part, inner in _parts(denoiser.backbone, conditioner, factors):
            merge(part, inner, one.times, one.file)
    changed = copy(model)
    parts = {**model._modules, "denoiser": denoiser, "conditioner": conditioner}  # pyright: ignore[reportPrivateUsage]
    changed._modules = parts  # pyright: ignore[reportPrivateUsage]
    return changed


def fits(shapes: Mapping[str, Sequence[int]], model: Model) -> bool:
    """Whether ``named`` would take an adapter of these shapes, by the names of layers, for a model."""
    if not model.diffuses:
        return False
    network = model.diffusion("adapters are for networks that diffuse").denoiser.backbone
    own = dict(network.named_parameters(remove_duplicate=False))
    weights = {layer: own.get(f"{layer}.weight") for layer in shapes}
    return all(weight is not None and tuple(weight.shape) == tuple(shapes[layer]) for layer, weight in weights.items())


def named(said: Sequence[str], model: Model) -> tuple[Added, ...]:
    """The adapters that a user names, if they fit a model.

    Raises:
        UserError: one is not there, or is for another network.
    """
    found = list[Added]()
    for one in said:
        path, times = located(one)
        diffusion = model.diffusion(f"adapters are for networks that diffuse: leave {option('lora')} out")
        found.append(Added(file=str(path), times=times, weights=fingerprint(fitting(path, diffusion))))
    return tuple(found)


def fitting(path: Path, model: DiffusionModel) -> dict[str, Factors]:
    """The adapter in a folder or file, by our names of the layers of a model; see ``naming.adopted``.

    Raises:
        UserError: it is not there, damaged, or for another network.
    """
    network, conditioner = model.denoiser.backbone, model.conditioner
    factors = adopted(read_adapter(path), network, conditioner, str(path))
    for part, inner in _parts(network, conditioner, factors):
        for layer, pair in inner.items():
            weight_of(part, layer, pair, str(path))
    return factors


def _parts(
    network: nn.Module, conditioner: nn.Module, factors: Mapping[str, Factors]
) -> Iterator[tuple[nn.Module, dict[str, Factors]]]:
    """What is changed of a model, with the factors of its layers."""
    told = {layer.removeprefix(CONDITION): one for layer, one in factors.items() if layer.startswith(CONDITION)}
    yield network, {layer: one for layer, one in factors.items() if not layer.startswith(CONDITION)}
    yield conditioner, told
