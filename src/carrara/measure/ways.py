"""Which ways of computing its layers are the fastest on this machine, by measurement.

A CPU alone has a choice (``nn.ways``). What was measured is remembered in the user's cache folder.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from carrara.errors import UserError
from carrara.files import BadFile, cache_folder, make_folder, read_as, replacing
from carrara.measure.timing import Work, machine, time_in_turns
from carrara.nn import Choosing, Size, calls, native
from carrara.objective import Objective
from carrara.seeds import Draws
from carrara.train import TrainSettings, autocast
from carrara.train.precision import matmul_dtype
from carrara.types import Batch

SECONDS = 15.0
"""After these no other layer is begun to be measured; the largest come first. Compiling kernels is not counted."""
ROUNDS = 3
WORTH = 1.05
"""A way that is taken in the place of the first one is so many times as fast."""
KERNELS = "winograd"
"""Ways of this name need ``native``."""
_OFF = {"0", "false", "no", "off"}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How long the ways of a layer take.

    Attributes:
        kind, weight, places: see ``Size``.
        precision: what was multiplied in.
        milliseconds: forward and backward, by the way's name; the first way is the first.
    """

    kind: str
    weight: tuple[int, ...]
    places: tuple[int, ...]
    precision: str
    milliseconds: Mapping[str, float]

    @property
    def size(self) -> Size:
        return Size(kind=self.kind, weight=self.weight, places=self.places)

    @property
    def fastest(self) -> str:
        """The way to take."""
        first = next(iter(self.milliseconds))
        best = min(self.milliseconds, key=self.milliseconds.__getitem__)
        return best if WORTH * self.milliseconds[best] <= self.milliseconds[first] else first

    @property
    def gain(self) -> float:
        """How many times as fast that is as the first way."""
        return next(iter(self.milliseconds.values())) / self.milliseconds[self.fastest]


@dataclass(frozen=True, kw_only=True)
class Ways:
    """What was measured on a machine.

    Attributes:
        threads: on which a step is the fastest; None leaves them as they are.
    """

    machine: str
    measured: tuple[Measured, ...] = ()
    threads: int | None = None

    @property
    def fastest(self) -> dict[Size, str]:
        """For ``nn.choose``."""
        return {one.size: one.fastest for one in self.measured}

    @property
    def needs_kernels(self) -> bool:
        """Whether any of the fastest ways is ours."""
        return any(KERNELS in one.fastest for one in self.measured)


def turned_off() -> bool:
    """Whether the environment forbids it."""
    return os.environ.get("CARRARA_TUNE", "").strip().lower() in _OFF


def measure_ways(objective: Objective, batch: Batch, settings: TrainSettings) -> tuple[Ways, str]:
    """The ways of all layers that a batch meets, and why kernels are missing, or ""."""
    device = next(objective.parameters()).device
    precision = str(matmul_dtype(settings.precision, device)).removeprefix("torch.")
    why = native.missing() if precision == "float32" else ""
    place = cache_folder() / f"ways-{_digest(device)}.json"
    kept = (read_ways(place) or Ways(machine="")).measured
    known = {(one.size, one.precision): one for one in kept if not (why and KERNELS in one.fastest)}
    twin, found, until = deepcopy(objective), list[Measured](), perf_counter() + SECONDS
    micro = next(iter(batch.to(device).split(math.ceil(len(batch) / settings.accumulate))))
    with calls(twin) as met, torch.no_grad(), autocast(settings.precision, device):
        for role in twin.roles():
            twin(micro, role, Draws(0, micro.position))
    for size, (layer, inputs) in sorted(met.items(), key=lambda item: -_work(item[0], item[1][1][0])):
        one = known.get((size, precision))
        if one is None and perf_counter() < until:
            one = _trial(size, layer, inputs, settings, precision, without=bool(why))
        found += [] if one is None else [one]
    known |= {(one.size, one.precision): one for one in found}
    keep_ways(place, Ways(machine=machine(device), measured=tuple(known.values())))
    return Ways(machine=machine(device), measured=tuple(found)), why


def _work(size: Size, x: Tensor) -> int:
    """What a layer's time grows with."""
    return len(x) * math.prod(size.weight) * math.prod(size.places)


def _trial(
    size: Size, layer: Choosing, inputs: Sequence[Any], settings: TrainSettings, precision: str, without: bool
) -> Measured | None:
    """Times the ways of a layer in turns."""
    x = torch.randn_like(inputs[0], dtype=torch.float32).requires_grad_()
    learning = [x, *(p for p in layer.parameters() if p.requires_grad)]
    ways = [way for way in layer.ways if not (KERNELS in way and (without or precision != "float32"))]
    if len(ways) < 2:
        return None

    def run(way: str) -> object:
        layer.chosen = {size.places: way}
        with autocast(settings.precision, x.device):
            out = layer(x, *inputs[1:])
        return torch.autograd.grad(out, learning, torch.ones_like(out))

    works = [Work(name=way, do=lambda way=way: run(way)) for way in ways]
    took = time_in_turns(works, ROUNDS, x.device)
    return Measured(
        kind=size.kind,
        weight=size.weight,
        places=size.places,
        precision=precision,
        milliseconds={timing.name: round(1e3 * timing.median, 3) for timing in took},
    )


def _digest(device: torch.device) -> str:
    return hashlib.blake2b(machine(device).encode(), digest_size=8).hexdigest()


def read_ways(file: Path) -> Ways | None:
    """What such a file holds; None where there is none, or it is damaged."""
    with suppress(BadFile):
        return read_as(file, Ways)
    return None


def keep_ways(file: Path, ways: Ways) -> None:
    """Writes it, if the disk lets us: a memory that cannot be written is only slow."""
    with suppress(OSError, UserError):
        make_folder(file.parent)
        with replacing(file) as out:
            out.write(json.dumps(asdict(ways), indent=1).encode())
