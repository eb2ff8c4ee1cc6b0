"""Which ways of computing its layers are the fastest on this machine, by measurement.

A CPU alone has a choice (``nn.ways``). What was measured is remembered in the user's cache folder.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from carrara.errors import UserError
from carrara.files import BadFile, cache_folder, make_folder, read_as, replacing
from carrara.measure.timing import Work, machine, seconds_until_clear
from carrara.nn import Calls, Size, calls, native
from carrara.objective import Objective
from carrara.seeds import Draws
from carrara.train import TrainSettings, autocast
from carrara.train.precision import matmul_dtype
from carrara.types import Batch

SECONDS = 15.0
"""After these no other size is begun to be measured. Compiling kernels is not counted."""
ROUNDS, CLEAR = 3, 1.3
"""At most, after one that does not count; and the ratio at which fewer will do."""
WORTH = 1.05
"""A way that is taken in the place of the first one is so many times as fast."""
FEW = 2
"""Pictures that show which sizes a network meets."""
PLACES = 8192
"""Of all maps, for each thread, by which ways are measured at most. They are 512 tiles of Winograd's: with more of them
its time by torch's stays within 6 %, and with fewer it was up to five times as much (32 to 256 channels, a core with
AVX2)."""
KERNELS = "winograd"
"""Ways of this name need ``native``."""
_OFF = {"0", "false", "no", "off"}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How long the ways of a layer take.

    Attributes:
        kind, weight, places: see ``Size``.
        precision: what was multiplied in.
        pictures: how many.
        milliseconds: forward and backward, by the way's name; the first way is the first.
    """

    kind: str
    weight: tuple[int, ...]
    places: tuple[int, ...]
    precision: str
    milliseconds: Mapping[str, float]
    pictures: int = 0

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
        threads: on which a step is the fastest; None: on all.
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
    known = {_key(one): one for one in kept if not (why and KERNELS in one.fastest)}
    found, until = list[Measured](), perf_counter() + SECONDS
    for size, met in _by_worth(_met(objective, batch, settings)):
        asked = Measured(
            kind=size.kind,
            weight=size.weight,
            places=size.places,
            precision=precision,
            pictures=len(met.inputs[0]),
            milliseconds={},
        )
        one = known.get(_key(asked))
        if one is None and perf_counter() < until:
            one = replace(asked, milliseconds=_trial(met, settings, without=bool(why) or precision != "float32"))
        found += [] if one is None or len(one.milliseconds) < 2 else [one]
    known |= {_key(one): one for one in found}
    keep_ways(place, Ways(machine=machine(device), measured=tuple(known.values())))
    return Ways(machine=machine(device), measured=tuple(found)), why


def _key(one: Measured) -> tuple[Size, str, int]:
    return one.size, one.precision, one.pictures


def _met(objective: Objective, batch: Batch, settings: TrainSettings) -> dict[Size, Calls]:
    """What a step's micro-batch meets, with as many pictures as are to be measured: a few tell the sizes."""
    twin, device = deepcopy(objective), next(objective.parameters()).device
    micro = math.ceil(len(batch) / settings.accumulate)
    few = next(iter(batch.to(device).split(min(FEW, micro))))
    with calls(twin) as met, torch.no_grad(), autocast(settings.precision, device):
        for role in twin.roles():
            twin(few, role, Draws(0, few.position))
    for size, found in met.items():
        x, *others = found.inputs
        most = math.ceil(PLACES * torch.get_num_threads() / math.prod(size.places))
        shape = min(most, len(x) * micro // len(few)), *x.shape[1:]
        met[size] = replace(found, inputs=(x.new_empty(shape), *others))
    return met


def _by_worth(met: Mapping[Size, Calls]) -> Iterable[tuple[Size, Calls]]:
    """What wins the most for each second of measuring comes first: time is won by each layer of a size, and spent by
    one. Then the largest."""

    def worth(item: tuple[Size, Calls]) -> tuple[int, int]:
        size, found = item
        return found.count, len(found.inputs[0]) * math.prod(size.places) * math.prod(size.weight)

    return sorted(met.items(), key=worth, reverse=True)


def _trial(met: Calls, settings: TrainSettings, without: bool) -> dict[str, float]:
    """The milliseconds of a layer's ways, ``without`` those that need kernels; nothing where it has one way."""
    layer, (maps, *others) = met.layer, met.inputs
    x = torch.randn_like(maps, dtype=torch.float32).requires_grad_()
    learning = [x, *(p for p in layer.parameters() if p.requires_grad)]
    ways = [way for way in layer.ways if not (without and KERNELS in way)]
    if len(ways) < 2:
        return {}

    def run(way: str) -> tuple[Tensor, ...]:
        layer.chosen = {tuple(x.shape[2:]): way}
        with autocast(settings.precision, x.device):
            out = layer(x, *others)
        return torch.autograd.grad(out, learning, torch.ones_like(out))

    works = [Work(name=way, do=lambda way=way: run(way)) for way in ways]
    took = seconds_until_clear(works, ROUNDS, CLEAR, x.device)
    return {way: round(1e3 * seconds, 3) for way, seconds in took.items()}


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
