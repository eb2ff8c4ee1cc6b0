"""A request: everything but the weights that samples are a function of. It is what a picture of Carrara's carries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from pydantic import ConfigDict, TypeAdapter

from carrara.backbone import Layered
from carrara.errors import UserError, command, option
from carrara.files import as_kind
from carrara.medium import Size, read_size
from carrara.model import DiffusionModel, Model
from carrara.sample import SampleSettings
from carrara.store.adapters import Added
from carrara.store.rivals import Guide, WeakerModel

MOST = 1_000_000
"""Samples of a request, and columns that they are shown in."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a user says of all samples and what needs no model to be understood.

    Attributes:
        negative: What guidance leads away from, in the place of nothing in particular.
        size: Height x width of the pictures, as in 96x64, or one number for a square; the model's own, if not given.
        tile: Show the network windows of this size, as it knows them, and make one large picture of its answers.
        fast: Decode with the tiny decoder that was distilled from the run's.
        cache: Compute the lower levels of a U-Net in one of so many evaluations, as 2 or 3, and reuse what they said in
            the others: sooner done, and another sample; 1 computes everything.

    Raises:
        UserError: a size that is none, or no such number of evaluations.
    """

    __pydantic_config__ = ConfigDict(allow_inf_nan=False)

    negative: str | None = None
    size: str | int | Size | None = None
    tile: str | int | Size | None = None
    fast: bool = False
    cache: int | None = None

    def __post_init__(self) -> None:
        if self.cache is not None and self.cache < 1:
            raise UserError(f"{option('cache', self.cache)} cannot be: 2 or 3 evaluations share features, 1 is off")
        for name in ("size", "tile"):
            object.__setattr__(self, name, read_size(getattr(self, name)))

    @property
    def pixel_size(self) -> Size | None:
        """``size`` as it is meant."""
        return read_size(self.size)

    @property
    def window(self) -> Size | None:
        """``tile`` as it is meant."""
        return read_size(self.tile)


@dataclass(frozen=True, kw_only=True)
class Request(Terms):
    """What is drawn, complete: the same request of the same weights gives the same samples.

    Attributes:
        wishes: what each sample shall show, as a user types it; None says nothing.
        seeds: one per sample.
        settings: how to go from noise to data.
        precision: what the network multiplies in.
        columns: how many samples side by side; None makes a square.
        labels: of the rows.
        weak: the weaker model that guidance leads away from instead.
        guide: what a classifier shall find.
        adapters: what is added to the model's weights.
    """

    wishes: tuple[str | None, ...]
    seeds: tuple[int, ...]
    settings: SampleSettings
    precision: Literal["float32", "bfloat16"] = "float32"
    columns: int | None = None
    labels: tuple[str, ...] = ()
    weak: WeakerModel | None = None
    guide: Guide | None = None
    adapters: tuple[Added, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.wishes) != len(self.seeds):
            raise UserError(f"{len(self.wishes)} wishes and {len(self.seeds)} seeds are not of the same samples")
        for count, least in ((len(self.seeds), 0), (len(self.labels), 0), (self.columns, 1)):
            if count is not None and not least <= count <= MOST:
                raise UserError(f"{count} samples or columns are too many, or none: ask for 1 to {MOST}")
        for seed in self.seeds:
            check_seed(seed)

    @property
    def autocast(self) -> torch.dtype:
        """``precision`` as torch has it."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def only(self, k: int) -> "Request":
        """The request for sample ``k`` alone, which gives the same sample."""
        return replace(self, wishes=(self.wishes[k],), seeds=(self.seeds[k],), columns=None, labels=())

    def part(self, part: slice) -> "Request":
        """The same for some of the samples, which come out as they do among all."""
        return replace(self, wishes=self.wishes[part], seeds=self.seeds[part])


def dump_request(request: Request) -> dict[str, Any]:
    """As plain JSON."""
    values = TypeAdapter(Request).dump_python(request, mode="json")
    if not request.adapters:  # as records were
        del values["adapters"]
    if request.cache is None:
        del values["cache"]
    return values


def read_request(values: Mapping[str, Any]) -> Request:
    """From plain JSON.

    Raises:
        ValueError: it is of another version, or damaged.
    """
    values = dict(values)
    if "found" in values:  # as earlier versions called it
        values["guide"] = values.pop("found")
    return as_kind(values, Request)


def check_seed(seed: int) -> None:
    """Refuses what is no seed: they have 64 bits, and count up."""
    if abs(seed) >= 1 << 62:
        raise UserError(f"seed {seed} is too large: take one of at most 18 digits")


def cycled(model: Model, count: int) -> list[str | None]:
    """What to ask for when nothing in particular is: each class in turn, or nothing."""
    classes: Sequence[str] = model.conditioner.classes
    return [classes[k % len(classes)] if classes else None for k in range(count)]


def check_cache(terms: Terms, *models: Model) -> None:
    """Refuses reuse where nothing is below, or what is there belongs to other places or times.

    Raises:
        UserError: a model is no U-Net or draws in few steps, or the request has windows.
    """
    if terms.cache is None or terms.cache == 1:
        return
    said = option("cache", terms.cache)
    if not all(reusable(model) for model in models):
        raise UserError(
            f"{said} reuses the lower levels of a U-Net from step to step, and this model or its rival has none, or "
            "too few steps: leave it out"
        )
    if terms.tile is not None:
        raise UserError(f"{said} remembers one place, and windows are many: leave it or {option('tile')} out")


def reusable(model: Model) -> bool:
    """Whether a model has deep features that change little from step to step."""
    return (
        isinstance(model, DiffusionModel) and model.few_steps is None and isinstance(model.denoiser.backbone, Layered)
    )


def check_fast(model: Model, fast: bool) -> None:
    """Refuses a distilled decoder that is not there."""
    if fast and model.fast is None:
        makes = command("distill RUN", decoder=True)
        raise UserError(f"this model has no distilled decoder to be fast with: '{makes}' makes one")
