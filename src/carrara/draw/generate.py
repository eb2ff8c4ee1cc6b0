"""Samples from a model: the same pictures for the same seeds, however they are batched."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from carrara.draw.drawing import Drawing, check_guidance, open_drawing
from carrara.draw.request import Request, check_cache, check_fast
from carrara.errors import UserError, command
from carrara.medium import Size
from carrara.model import Model
from carrara.ranks import share
from carrara.sample import SampleStep
from carrara.sample import generate as run
from carrara.seeds import Draws
from carrara.store import OpenModel

_T = TypeVar("_T")
AT_ONCE = 64
"""Samples of a model's own size that are drawn at a time. Among others, a sample may differ by rounding."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a drawing is.

    Attributes:
        first: the number, within the drawing, of the batch's first sample.
        count: samples of the drawing.
        step: the sampler's step.
        pixels: (B, *S) the finished samples after the last step of a batch; None before.
    """

    first: int
    count: int
    step: SampleStep
    pixels: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Something that the user should know: a sentence."""

    text: str


def sample(
    opened: OpenModel,
    request: Request,
    *,
    image: Tensor | None = None,
    batch: int = AT_ONCE,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Progress]:
    """Makes one sample per seed, in batches, without gradients; memory does not grow with their number.

    Args:
        image: (N, C', h, w) what the network sees beside its input, from ``model.image``, of latents of the request's
            size.
        batch: samples of the model's own size at a time, and fewer of a larger one; has no influence on the result but
            by rounding.
        rank, world: which of how many parts of the batches are made: the batches are those of all in one process, so
            the samples are the same to the bit.

    Raises:
        UserError: no image for a model that needs one, a wish that the model does not understand, guidance for an
            unconditional model, something to lead away from without guidance, a size that it cannot make, an
            autoencoder that has no prior, or a rival that is gone.
    """
    if opened.model.diffuses:
        drawing, size = open_drawing(opened, request, image), request.pixel_size
        yield from generate(drawing, size=size, batch=batch, rank=rank, world=world)
    else:
        yield from _from_prior(opened.model, request, share(range(0, len(request.seeds), batch), rank, world), batch)


def generate(
    drawing: Drawing, *, size: Size | None = None, batch: int = AT_ONCE, rank: int = 0, world: int = 1
) -> Iterator[Progress]:
    """The samples of a drawing, from noise; see ``sample``.

    Args:
        size: of the pictures; None is the model's own.
    """
    model, settings, shape = drawing.model, drawing.settings, drawing.model.latents_of(size)
    for part in share(list(drawing.batches(shape, batch)), rank, world):
        steps = run(
            drawing.part(part).denoise(),
            shape,
            drawing.seeds[part],
            sampler=settings.sampler,
            grid=settings.grid,
            steps=settings.steps,
            schedule=model.config.schedule,
            device=model.device,
        )
        yield from decoded(drawing, part, size, steps)


def decoded(
    drawing: Drawing, part: slice, size: Size | None, steps: Iterable[SampleStep], count: int | None = None
) -> Iterator[Progress]:
    """Passes a batch's steps on, and decodes the last one.

    Args:
        part: the batch's place among all samples, whose number is ``count``, or that of the seeds.
    """
    count = len(drawing.seeds) if count is None else count
    for step in steps:
        pixels = None
        if step.index == step.total - 1:
            with torch.no_grad():
                pixels = drawing.model.pixels(step.x, fast=drawing.request.fast, size=size)
        yield Progress(first=part.start, count=count, step=step, pixels=pixels)


def follow(steps: Iterable[Progress]) -> Generator[Progress, None, Tensor]:
    """Passes on where a drawing is, and returns all its samples, (N, *S), on the CPU."""
    finished: list[Tensor] = []
    for at in steps:
        yield at
        if at.pixels is not None:
            finished.append(at.pixels.cpu())
    return torch.cat(finished)


def result_of(steps: Generator[Any, None, _T]) -> _T:
    """Goes to the end of whatever can be watched, and gives what comes of it."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def finish(steps: Iterable[Progress]) -> Tensor:
    """All samples of a drawing, (N, *S), on the CPU."""
    return torch.cat([at.pixels.cpu() for at in steps if at.pixels is not None])


def _from_prior(model: Model, request: Request, starts: Sequence[int], batch: int) -> Iterator[Progress]:
    """Samples of a variational autoencoder, whose latents have a law of their own: one step."""
    check_fast(model, request.fast)
    check_cache(request, model)
    check_guidance(model, request, None)
    if request.size is not None or request.tile is not None:
        raise UserError("this model makes samples of one size, the one that it learned: leave size and tile out")
    stage, seeds = model.first_stage, request.seeds
    if not stage.has_prior:
        raise UserError(
            "this run is an autoencoder without a prior, so there is nothing to sample from: look at what it makes of "
            f"pictures with '{command('edit RUN reconstruct')}', or train diffusion on it (model.first_stage.run=RUN)"
        )
    for first in starts:
        samples = torch.tensor(seeds[first : first + batch], device=model.device)
        with torch.no_grad():
            x = stage.generate(Draws(0, samples))
        step = SampleStep(index=0, total=1, t=0.0, x=x, x0=x)
        yield Progress(first=first, count=len(seeds), step=step, pixels=x)
