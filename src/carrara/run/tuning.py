"""How the layers of a training are computed, by measurement: the fastest way for each size on this machine.

A CPU alone has a choice (``nn.ways``). It is measured before a long training, for the sizes that its batches meet, in
at most ``SECONDS`` beside the compiling of kernels, which happens once; what was measured is remembered in the user's
cache folder. The ways differ by rounding, so a run keeps those that it began with: they are in its folder, and hold
wherever the machine is the same. ``train.tune=false`` and the environment's ``CARRARA_TUNE=0`` turn all of it off.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
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
from carrara.nn import Choosing, Size, calls, choose, native
from carrara.objective import Objective
from carrara.run.compilation import Note
from carrara.seeds import Draws
from carrara.train import TrainSettings, distributed
from carrara.train.precision import autocast, matmul_dtype
from carrara.types import Batch

SECONDS = 15.0
"""For measuring; the largest layers come first."""
LONG = 10
"""Minutes from which on a training is worth it; where steps are counted, ``LONG_STEPS``."""
LONG_STEPS = 2000
ROUNDS = 3
WORTH = 1.05
"""A way that is taken in the place of the first one is so many times as fast."""
_OFF = {"0", "false", "no", "off"}
FILE = "ways.json"
KERNELS = "winograd"
"""Ways of this name need ``native``."""


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
    """What was measured on a machine."""

    machine: str
    measured: tuple[Measured, ...] = ()


def tuned(objective: Objective, batch: Batch, settings: TrainSettings, folder: Path) -> Iterator[Note]:
    """Has a training's layers take their fastest ways, where that is wanted and worth it.

    Args:
        objective: on its device.
        batch: of this process.
        folder: the run's.
    """
    device = next(objective.parameters()).device
    if not wanted(settings, device) or distributed.world() > 1:
        return
    ways = _recalled(folder / FILE, device)
    if ways is None:
        yield Note(text="measuring which ways of computing layers are the fastest here: once for a machine and a size")
        ways, why = measured(objective, batch, settings)
        if why:
            yield Note(text=f"convolutions are torch's own: the faster kernels are not here ({why})")
        _keep(folder / FILE, ways)
    elif any(KERNELS in one.fastest for one in ways.measured) and (why := native.missing()):
        yield Note(text=f"the kernels with which this run began are not here ({why}): it goes on with torch's own")
        ways = Ways(machine=ways.machine)
    choose(objective, {one.size: one.fastest for one in ways.measured})
    other = [one for one in ways.measured if one.gain > 1]
    if other:
        most = max(other, key=lambda one: one.gain)
        yield Note(
            text=f"{len(other)} of {len(ways.measured)} kinds of layers take another way than torch's, up to "
            f"{most.gain:.1f} times as fast; the numbers differ by rounding (train.tune=false leaves all as it was)"
        )


def wanted(settings: TrainSettings, device: torch.device) -> bool:
    """Whether a training's layers are to be measured."""
    if device.type != "cpu" or settings.compile or os.environ.get("CARRARA_TUNE", "").strip().lower() in _OFF:
        return False
    if settings.tune is None:
        return (settings.minutes or 0) >= LONG or (settings.steps or 0) >= LONG_STEPS
    return settings.tune


def measured(objective: Objective, batch: Batch, settings: TrainSettings) -> tuple[Ways, str]:
    """The ways of all layers that a batch meets, and why kernels are missing, or ""."""
    device = next(objective.parameters()).device
    precision = str(matmul_dtype(settings.precision, device)).removeprefix("torch.")
    why = native.missing() if precision == "float32" else ""
    place = cache_folder() / f"ways-{_digest(device)}.json"
    known = {(one.size, one.precision): one for one in (_read(place) or Ways(machine="")).measured}
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
    _keep(place, Ways(machine=machine(device), measured=tuple(known.values())))
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


def _recalled(file: Path, device: torch.device) -> Ways | None:
    """What a run began with, if that was on this machine."""
    ways = _read(file)
    return ways if ways is not None and ways.machine == machine(device) else None


def _read(file: Path) -> Ways | None:
    with suppress(BadFile):
        return read_as(file, Ways)
    return None


def _keep(file: Path, ways: Ways) -> None:
    with suppress(OSError, UserError):  # a memory that cannot be written is only slow
        make_folder(file.parent)
        with replacing(file) as out:
            out.write(json.dumps(asdict(ways), indent=1).encode())
