"""The exhibits of the Learn tab, as numbers and small pictures that the page draws.

What they show is computed in ``measure.lessons``, by the functions that train and sample. An exhibit is a frozen value
of what can be moved; it is made once in a thread of its own, so nobody else waits, and its answer is kept for a while.
"""

import asyncio
import json
import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast, final

import torch
from torch import Tensor

from carrara import pixels
from carrara.errors import UserError
from carrara.measure import lessons
from carrara.measure.schedules import LEAK, example
from carrara.medium import Picture
from carrara.noise import DiscreteSchedule
from carrara.sample import sampler
from carrara.serve.previews import as_data
from carrara.serve.said import Busy
from carrara.serve.uploads import without_folder

KEPT = 1 << 25
"""Bytes of answers that are kept."""
WAITING = 32
"""Answers that may wait for their turn."""
EDGES = (-2.5, 2.5)
"""What is shown of numbers."""
_BINS = 80


@dataclass(frozen=True, kw_only=True)
class Exhibit(ABC):
    """Something to be looked at, and how it is set. Abstract in what."""

    @abstractmethod
    def made(self) -> dict[str, Any]:
        """What the page is told; errors where that cannot be."""


@final
class Lessons:
    """Makes exhibits, one after the other, and keeps the latest."""

    def __init__(self, most: int = KEPT) -> None:
        self._most, self._size, self._waiting = most, 0, 0
        self._kept: OrderedDict[Exhibit, bytes] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, "carrara-lessons")

    async def answer(self, exhibit: Exhibit) -> bytes:
        """An exhibit as JSON.

        Raises:
            UserError: it cannot be made.
            Busy: too many wait already.
        """
        if (kept := self._kept.get(exhibit)) is not None:
            self._kept.move_to_end(exhibit)
            return kept
        if self._waiting >= WAITING:
            raise Busy("many lessons are given at once: ask again in a second")
        self._waiting += 1
        try:
            made = await asyncio.get_running_loop().run_in_executor(self._thread, _written, exhibit)
        finally:
            self._waiting -= 1
        self._keep(exhibit, made)
        return made

    def _keep(self, exhibit: Exhibit, made: bytes) -> None:
        self._size += len(made) - len(self._kept.pop(exhibit, b""))
        self._kept[exhibit] = made
        while self._size > self._most and len(self._kept) > 1:
            self._size -= len(self._kept.popitem(last=False)[1])

    def close(self) -> None:
        """Makes no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _written(exhibit: Exhibit) -> bytes:
    with torch.no_grad():
        return json.dumps(exhibit.made(), allow_nan=False, separators=(",", ":")).encode()


def listed(values: Tensor, digits: int = 4) -> Any:
    """Numbers as JSON has them: rounded, and None where they are infinite."""
    rounded = values.double().round(decimals=digits) + 0.0  # no -0
    plain: Any = rounded.tolist()
    return plain if bool(rounded.isfinite().all()) else _finite(plain)


def _finite(values: Any) -> Any:
    if isinstance(values, list):
        return [_finite(value) for value in cast(list[Any], values)]
    return values if math.isfinite(values) else None


def flat(frames: Tensor) -> Any:
    """Points (n, B, 2) as n lists of x and y by turns, in hundredths."""
    return listed(frames.flatten(1), 2)


def as_frame(x: Tensor, *, lossless: bool = False) -> str:
    """A picture (C, H, W) in [-1, 1] as a ``data:`` address."""
    return as_data(pixels.to_image(pixels.to_uint8(x[None])[0]), lossless=lossless)


@final
@dataclass(frozen=True, kw_only=True)
class Noising(Exhibit):
    """A picture at evenly spaced times; the first frame is the picture itself, without a loss.

    Attributes:
        sha256: of the picture.
        zero: gives a discrete schedule a zero terminal SNR.
        frames: how many times.
    """

    schedule: str
    zero: bool
    frames: int
    sha256: str
    picture: Picture = field(compare=False, repr=False)

    def made(self) -> dict[str, Any]:
        schedule = lessons.schedules(self.zero)[self.schedule]
        x0, curves = self._x0(), lessons.curves(schedule, self.frames)
        states = lessons.noised(x0, schedule, curves.t)
        return {
            "schedule": self.schedule,
            "height": x0.shape[2],
            "width": x0.shape[3],
            "times": listed(curves.t),
            "alpha": listed(curves.alpha),
            "sigma": listed(curves.sigma),
            "logsnr": listed(curves.logsnr),
            "frames": [as_frame(x, lossless=k == 0) for k, x in enumerate(states)],
        }

    def _x0(self) -> Tensor:
        try:
            return example(self.picture)
        except UserError as error:
            raise without_folder(error, self.picture.path) from None


@final
@dataclass(frozen=True, kw_only=True)
class Schedules(Exhibit):
    """All schedules side by side.

    Attributes:
        zero: gives the discrete ones a zero terminal SNR.
        points: how many times of each curve.
    """

    zero: bool
    points: int

    def made(self) -> dict[str, Any]:
        found = lessons.schedules(self.zero)
        return {"leak": LEAK, "schedules": [self._of(name) for name in found]}

    def _of(self, name: str) -> dict[str, Any]:
        schedule = lessons.schedules(self.zero)[name]
        curves = lessons.curves(schedule, self.points)
        return {
            "name": name,
            "discrete": isinstance(schedule, DiscreteSchedule),
            "t": listed(curves.t),
            "abar": listed(curves.alpha**2, 6),
            "share": listed(curves.alpha**2 / (curves.alpha**2 + curves.sigma**2), 6),
            "sigma": listed(curves.sigma),
            "logsnr": listed(curves.logsnr),
            "end": _finite(curves.end),
            "leak": curves.leak,
        }


@final
@dataclass(frozen=True, kw_only=True)
class Ways(Exhibit):
    """Numbers on their way from noise to three heaps, by DDPM and by DDIM.

    Attributes:
        steps: of each way.
        paths: how many are shown.
    """

    schedule: str
    steps: int
    paths: int

    def made(self) -> dict[str, Any]:
        x = torch.linspace(*EDGES, 201, dtype=torch.float64)
        density = lessons.BUMPS.log_density(x[:, None]).exp()
        return {
            "edges": EDGES,
            "density": {"x": listed(x), "p": listed(density)},
            "steps": lessons.STEPS,
            "ways": [self._way(name) for name in ("ddpm", "ddim")],
        }

    def _way(self, name: str) -> dict[str, Any]:
        schedule, method = lessons.schedules()[self.schedule], sampler(name)
        times, states = lessons.particles(method, schedule, self.steps)
        shown = torch.linspace(0, states.shape[1] - 1, self.paths).round().long()
        seen = lessons.shown(states, *schedule(times))
        return {
            "sampler": name,
            "times": listed(times),
            "paths": listed(seen[:, shown].T, 3),
            "ends": listed(lessons.histogram(states[-1], EDGES, _BINS)),
            "error": lessons.distance(states[-1]),
            "errors": lessons.errors(method, schedule),
        }


@final
@dataclass(frozen=True, kw_only=True)
class Roll(Exhibit):
    """Points on their way to a Swiss roll, or from it.

    Attributes:
        forward: from the roll to noise.
        points: of the data, which are all that the denoiser knows.
        count: particles.
    """

    forward: bool
    sampler: str
    schedule: str
    steps: int
    points: int
    count: int
    seed: int

    def made(self) -> dict[str, Any]:
        schedule, steps = lessons.schedules()[self.schedule], self.steps
        if self.forward:
            times, states = lessons.unrolled(schedule, steps=steps, points=self.points, seed=self.seed)
        else:
            method = sampler(self.sampler)
            times, states = lessons.rolled_up(
                method, schedule, steps=steps, points=self.points, count=self.count, seed=self.seed
            )
        data = lessons.roll(self.points)
        near = torch.cdist(states[-1], data, compute_mode="donot_use_mm_for_euclid_dist").amin(1).mean().item()
        return {
            "times": listed(times),
            "frames": flat(states),
            "data": listed(data.flatten(), 2),
            "near": None if self.forward else round(near, 4),
        }


@final
@dataclass(frozen=True, kw_only=True)
class Arrows(Exhibit):
    """Guidance between two classes of points.

    Attributes:
        scale: w; 1 is off.
        low, high: the times of guidance.
    """

    schedule: str
    scale: float
    low: float
    high: float

    def made(self) -> dict[str, Any]:
        schedule, interval = lessons.schedules()[self.schedule], (self.low, self.high)
        made = lessons.guided(schedule, sampler("dpmpp"), self.scale, interval)
        ends = made.states[-1].double()
        one = lessons.CLASSES.part(0)
        return {
            "times": listed(made.t),
            "places": listed(made.places.flatten(), 3),
            "cond": listed(made.cond.flatten(1), 3),
            "null": listed(made.null.flatten(1), 3),
            "guided": listed(made.guided.flatten(1), 3),
            "states": flat(made.states),
            "means": listed(lessons.CLASSES.means),
            "std": listed(one.stds[0]),
            "mean": listed(ends.mean(0)),
            "spread": listed(ends.std(0, correction=0).square().mean().sqrt()),
        }
