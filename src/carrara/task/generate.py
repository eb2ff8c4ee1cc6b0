"""Samples from a model: the same pictures for the same seeds, however they are batched.

``Told`` is what each sample shall show and how it is drawn; ``denoiser`` makes of it the one function that samplers and
edits call.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from carrara.autoencoder import LayeredVae
from carrara.denoiser import Denoiser
from carrara.errors import UserError
from carrara.model import AnyModel, Autoencoder, DiffusionModel, Size
from carrara.nn import lowered
from carrara.sample import SampleSettings, SampleStep, tiled
from carrara.sample import generate as run
from carrara.seeds import Draws
from carrara.task.estimate import Estimate
from carrara.task.wishes import spoken
from carrara.types import Conditioning, DenoiseFn, Wrapper

Side = tuple[DiffusionModel, Sequence[str | None], Tensor | None]
"""Who is asked, what it is told, and what it sees."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a request is.

    Attributes:
        first: the number, within the request, of the batch's first sample.
        step: the sampler's step.
        pixels: (B, *S) the finished samples after the last step of a batch; None before.
    """

    first: int
    step: SampleStep
    pixels: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Told:
    """What is asked of a diffusion model besides sizes; attributes as the arguments of ``generate``.

    Attributes:
        forms: of networks, in which they are asked. They have the weights of when they were first asked: make another
            request after these have changed.
    """

    wishes: Sequence[str | None]
    seeds: Sequence[int]
    settings: SampleSettings
    autocast: torch.dtype = torch.float32
    fast: bool = False
    tile: Size | None = None
    negative: str | None = None
    weak: DiffusionModel | None = None
    within: Wrapper | None = None
    image: Tensor | None = None
    forms: dict[Denoiser, Denoiser] = field(default_factory=dict[Denoiser, Denoiser], repr=False, compare=False)

    def __post_init__(self) -> None:
        assert len(self.wishes) == len(self.seeds)

    def network(self, model: DiffusionModel) -> Denoiser:
        """The model's network in the form that is asked, made once for all batches."""
        if self.autocast is torch.float32:
            return model.denoiser
        if model.denoiser not in self.forms:
            self.forms[model.denoiser] = lowered(model.denoiser, self.autocast)
        return self.forms[model.denoiser]

    def only(self, part: slice) -> "Told":
        """The same for some of the samples, which come out as they do among all."""
        image = None if self.image is None else self.image[part]
        return replace(self, wishes=self.wishes[part], seeds=self.seeds[part], image=image)


def denoiser(model: DiffusionModel, told: Told) -> DenoiseFn:
    """The model's estimate for the samples of ``told``, with its guidance, its windows and its precision.

    Raises:
        UserError: a wish that the model does not understand, guidance that cannot be, or a picture to see too few or
            too many.
    """
    _check_guidance(model, told.settings.guidance, told.negative, told.weak)
    _check_image(model, told.image)
    window = () if told.tile is None else model.latents_of(told.tile)[1:]
    with torch.no_grad():
        sides = (model, told.wishes, told.image), _other_side(model, told)
        cond, null = (_estimate(told, side, window) for side in sides)
    both = cond.with_null(null) if isinstance(cond, Estimate) else None
    return told.settings.wrap(cond, null, model.config.schedule, told.within, both)


def batches(model: DiffusionModel, count: int, shape: Sequence[int], batch: int = 64) -> Iterator[slice]:
    """Cuts ``count`` samples of a latent shape into parts: ``batch`` of the model's own size, fewer of a larger one."""
    own = math.prod(model.latent_shape)
    size = max(1, batch * own // max(math.prod(shape), own))
    yield from (slice(first, first + size) for first in range(0, count, size))


def generate(
    model: AnyModel,
    wishes: Sequence[str | None],
    seeds: Sequence[int],
    settings: SampleSettings,
    *,
    batch: int = 64,
    autocast: torch.dtype = torch.float32,
    fast: bool = False,
    size: Size | None = None,
    tile: Size | None = None,
    negative: str | None = None,
    weak: DiffusionModel | None = None,
    within: Wrapper | None = None,
    image: Tensor | None = None,
) -> Iterator[Progress]:
    """Makes one sample per seed, in batches, without gradients; memory does not grow with their number.

    Args:
        wishes: the condition of each sample as a user types it; None says nothing.
        seeds: one per sample, any whole numbers.
        batch: samples of the model's own size at a time, and fewer of a larger one; has no influence on the result.
        autocast: what the network multiplies in.
        fast: decodes with the distilled decoder, if there is one.
        size: of the pictures; None is the model's own, which the network knows best.
        tile: of the windows that the network sees at a time, in pixels; see ``sample.tiles``. None is the whole.
        negative: what guidance leads away from, as a user types it; None is nothing in particular.
        weak: a weaker model on the same schedule and latents, told the same, that guidance leads away from instead.
        within: what becomes of the model's estimates of latents besides, as by a classifier or a measurement.
        image: (N, C', h, w) what the network sees beside its input, from ``model.image``, of latents of this ``size``.

    Raises:
        UserError: no image for a model that needs one, a wish that the model does not understand, guidance for an
            unconditional model, something to lead away from without guidance, a size that it cannot make, or an
            autoencoder.
    """
    if isinstance(model, Autoencoder):
        _check_guidance(model, settings.guidance, negative, weak)
        if size is not None or tile is not None:
            raise UserError("this model makes samples of one size, the one that it learned: leave size and tile out")
        yield from _from_prior(model, seeds, batch)
        return
    told = Told(
        wishes=wishes,
        seeds=seeds,
        settings=settings,
        autocast=autocast,
        fast=fast,
        tile=tile,
        negative=negative,
        weak=weak,
        within=within,
        image=image,
    )
    yield from drawn(model, told, size=size, batch=batch)


def drawn(model: DiffusionModel, told: Told, *, size: Size | None = None, batch: int = 64) -> Iterator[Progress]:
    """The same for a model of diffusion, from all that it is told; see ``generate``."""
    shape, settings = model.latents_of(size), told.settings
    for part in batches(model, len(told.seeds), shape, batch):
        steps = run(
            denoiser(model, told.only(part)),
            shape,
            told.seeds[part],
            sampler=settings.sampler,
            grid=settings.grid,
            steps=settings.steps,
            schedule=model.config.schedule,
            device=model.device,
        )
        for step in steps:
            done = step.index == step.total - 1
            with torch.no_grad():
                pixels = model.pixels(step.x, fast=told.fast, size=size) if done else None
            yield Progress(first=part.start, step=step, pixels=pixels)


def _check_guidance(model: AnyModel, scale: float, negative: str | None, weak: DiffusionModel | None) -> None:
    """Refuses what guidance cannot lead away from."""
    if negative is None and weak is None:
        return
    what = "a negative prompt" if weak is None else "a weaker model"
    if negative is not None and weak is not None:
        raise UserError("guidance leads away from a negative prompt or from a weaker model, not both: leave one out")
    if isinstance(model, Autoencoder):
        raise UserError(f"{what} is for guidance, and this model samples in one step, without it: leave it out")
    if negative is not None and not model.guidable:
        raise UserError(f"{what} needs a model with a condition, and this one is unconditional: leave it out")
    if scale == 1:
        raise UserError(f"{what} does nothing at guidance 1, which is off: ask for more guidance, or leave it out")


def _check_image(model: DiffusionModel, image: Tensor | None) -> None:
    if model.image is not None and image is None:
        raise UserError(f"this model {model.image.asked}")
    if model.image is None and image is not None:
        raise UserError("this model sees no picture beside its input: train one that does, with model.image")


def _other_side(model: DiffusionModel, told: Told) -> Side:
    """Who is asked for the estimate that guidance leads away from; without words or a weaker model it sees nothing."""
    if told.weak is not None:
        return told.weak, told.wishes, told.image
    seen = told.image
    if seen is not None and model.conditioner.column is None:
        seen = torch.zeros_like(seen)
    return model, [told.negative] * len(told.wishes), seen


def _estimate(told: Told, side: Side, window: Sequence[int]) -> DenoiseFn:
    """What a side answers, by windows of this size if there is one."""
    model, wishes, image = side
    network = told.network(model)
    image = None if image is None else image.to(model.device)

    def bound(said: Conditioning) -> DenoiseFn:
        estimate = Estimate(network=network, cond=replace(said, image=image), autocast=told.autocast)
        return _by_windows(estimate, model.latent_shape[0], (window[0], window[1])) if window else estimate

    return spoken(model, wishes, bound)


def _by_windows(estimate: Estimate, channels: int, window: Size) -> DenoiseFn:
    """The same of a canvas with so many channels; the network sees the part of the image that is beside a window."""
    cond = estimate.cond

    def of_window(x_t: Tensor, t: Tensor) -> Tensor:
        beside = None if cond.image is None else x_t[:, channels:]
        return replace(estimate, cond=replace(cond, image=beside))(x_t[:, :channels], t)

    return tiled(of_window, window, beside=cond.image)


def _from_prior(model: Autoencoder, seeds: Sequence[int], batch: int) -> Iterator[Progress]:
    """Samples of a variational autoencoder, whose latents have a law of their own: one step."""
    stage = model.first_stage
    if not isinstance(stage, LayeredVae):
        raise UserError(
            "this run is an autoencoder without a prior, so there is nothing to sample from: look at what it makes of "
            "pictures with 'carrara edit RUN reconstruct', or train diffusion on it (model.first_stage.run=RUN)"
        )
    for first in range(0, len(seeds), batch):
        samples = torch.tensor(seeds[first : first + batch], device=model.device)
        with torch.no_grad():
            x = stage.generate(Draws(0, samples))
        yield Progress(first=first, step=SampleStep(index=0, total=1, t=0.0, x=x, x0=x), pixels=x)
