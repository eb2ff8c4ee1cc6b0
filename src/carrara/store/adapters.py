"""Adapters (LoRA) that a request adds to the weights of its model."""

from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field

from carrara.errors import UserError, option
from carrara.files import is_folder, is_regular
from carrara.lora import WEIGHTS, fingerprint, merge, none_in, read_adapter, weight_of
from carrara.model import DiffusionModel, Model

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
    if is_folder(path) and not is_regular(path / WEIGHTS):
        inner = [one for one in (path / "model", path / "best") if is_regular(one / WEIGHTS)]
        if not inner:
            raise none_in(path)
        path = inner[0]
    return path, times


def added(model: DiffusionModel, adapters: Sequence[Added]) -> DiffusionModel:
    """A model with adapters merged into its network; what they do not change is shared.

    Raises:
        UserError: an adapter is gone, has changed since, or is for another network.
    """
    read = [(one, read_adapter(Path(one.file))) for one in adapters]
    changing = {f"backbone.{layer}.weight" for _, factors in read for layer in factors}
    kept = {id(own): own for name, own in model.denoiser.named_parameters() if name not in changing}
    denoiser = deepcopy(model.denoiser, kept)
    for one, factors in read:
        if fingerprint(factors) != one.weights:
            raise UserError(f"the adapter '{one.file}' has changed since: name another one with {option('lora')}")
        merge(denoiser.backbone, factors, one.times, one.file)
    changed = copy(model)
    changed._modules = {**model._modules, "denoiser": denoiser}  # pyright: ignore[reportPrivateUsage]
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
        factors = read_adapter(path)
        network = model.diffusion(f"adapters are for networks that diffuse: leave {option('lora')} out").denoiser
        for layer, pair in factors.items():
            weight_of(network.backbone, layer, pair, str(path))
        found.append(Added(file=str(path), times=times, weights=fingerprint(factors)))
    return tuple(found)
