"""Samples that know how they were made: collected, shown, and written with a record."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

import carrara
from carrara import pixels, ranks
from carrara.draw.generate import Progress, sample
from carrara.draw.request import Request, dump_request
from carrara.medium import Medium
from carrara.sample import SampleStep
from carrara.store import OpenModel

PictureKind = Literal["grid", "strip", "sample"]
"""All samples; a few samples on their way from noise; a sample alone."""
STRIP_STATES = 9
"""States on the way that a strip shows, about."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What came out of a request, on the CPU.

    Attributes:
        values: (N, *S).
        states: a few samples on their way, from noise to data, if they were asked for: (n, *S) each.
    """

    request: Request
    medium: Medium
    values: Tensor
    states: tuple[Tensor, ...] = ()

    def picture(self, kind: PictureKind) -> Image.Image:
        """All samples, their way from noise, or the only sample.

        Raises:
            ValueError: no states were collected, of which a strip is made.
        """
        if kind == "strip":
            if not self.states:
                raise ValueError("a strip is made of states on the way: collect(..., strip=True) keeps them")
            return self.medium.strip(self.states)
        alone = self.medium.single(self.values[0]) if kind == "sample" else None
        return alone or self.medium.grid(self.values, self.request.columns, self.request.labels)

    def save(self, folder: Path, about: Mapping[str, Any]) -> list[Path]:
        """Writes all samples as one ``grid.png``, each as a file of its own, and their way from noise if it was kept.

        Pictures become PNGs that carry their recipe, and other samples files of their own formats; points, and
        pictures that PNG cannot hold, become ``.npy``.
        Nothing is overwritten.
        """
        paths = [pixels.save_png(self.picture("grid"), folder / "grid.png", about)]
        if self.states:
            paths.append(pixels.save_png(self.picture("strip"), folder / "strip.png", {**about, "picture": "strip"}))
        return paths + self.medium.write_all(self.values, folder, lambda k: self._about(k, about))

    def _about(self, k: int, about: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the files of a sample say of themselves."""
        return {**about, "picture": "sample", "request": dump_request(self.request.only(k))}


def collect(
    opened: OpenModel, request: Request, progress: Iterable[Progress] | None = None, *, strip: bool = False
) -> Samples:
    """Runs a request to its end.

    Args:
        progress: what ``sample`` yields, for a caller who wants to watch it.
        strip: a few samples are kept on their way, too, which have to be decoded for that.
    """
    steps = sample(opened, request) if progress is None else progress
    return _samples(opened, request, [_drawn(opened, request, steps, strip)])


def collect_together(
    opened: OpenModel, request: Request, watched: Callable[[Iterator[Progress]], Iterable[Progress]], *, strip: bool
) -> Samples:
    """Runs a request to its end on all ranks, each of which draws its part; all have the samples of one process.

    Args:
        watched: passes on what ``sample`` yields.
        strip: see ``collect``.
    """

    def mine() -> tuple[list[Tensor], list[Tensor]]:
        steps = sample(opened, request, rank=ranks.rank(), world=ranks.world())
        return _drawn(opened, request, watched(steps), strip)

    return _samples(opened, request, ranks.from_all(mine))


def _drawn(
    opened: OpenModel, request: Request, progress: Iterable[Progress], strip: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Finished batches; and for a strip a few samples on their way, where the first batch is among them."""
    finished: list[Tensor] = []
    states: list[Tensor] = []
    for at in progress:
        if strip and at.first == 0 and _is_shown(at.step):
            few = opened.model.medium.few(at.step.x)
            seen = opened.model.visible(few, at.step.t, fast=request.fast, size=request.pixel_size)
            states.append(seen.cpu())
        if at.pixels is not None:
            finished.append(at.pixels.cpu())
    return finished, states


def _samples(opened: OpenModel, request: Request, parts: Sequence[tuple[list[Tensor], list[Tensor]]]) -> Samples:
    values, states = (list(chain(*each)) for each in zip(*parts, strict=True))
    return Samples(request=request, medium=opened.model.medium, values=torch.cat(values), states=tuple(states))


def _is_shown(step: SampleStep) -> bool:
    """About ``STRIP_STATES`` steps, evenly spaced, the last one among them."""
    return (step.total - 1 - step.index) % max(1, round(step.total / STRIP_STATES)) == 0


def record(opened: OpenModel, request: Request, kind: PictureKind | Literal["edit"] = "grid") -> dict[str, Any]:
    """What a PNG carries: enough to make it again, and to know whether the weights are still the same."""
    return origin(opened, kind) | {"request": dump_request(request)}


def origin(opened: OpenModel, kind: PictureKind | Literal["edit"]) -> dict[str, Any]:
    """The part of a record that says by which model."""
    folder, weights = str(opened.folder), opened.model.digest()
    return {"carrara": carrara.__version__, "run": folder, "weights": weights, "picture": kind}
