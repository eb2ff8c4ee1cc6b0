"""Samples from a model: the same pictures for the same seeds, however they are batched."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from carrara.autoencoder import LayeredVae
from carrara.errors import UserError
from carrara.model import AnyModel, Autoencoder, DiffusionModel
from carrara.sample import SampleSettings, SampleStep
from carrara.sample import generate as run
from carrara.seeds import Draws
from carrara.types import Conditioning, DenoiseFn


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


def generate(
    model: AnyModel,
    wishes: Sequence[str | None],
    seeds: Sequence[int],
    settings: SampleSettings,
    *,
    batch: int = 64,
    autocast: torch.dtype = torch.float32,
    fast: bool = False,
) -> Iterator[Progress]:
    """Makes one sample per seed, in batches, without gradients; memory does not grow with their number.

    Args:
        wishes: the condition of each sample as a user types it; None says nothing.
        seeds: one per sample, any whole numbers.
        batch: samples at a time; has no influence on the result.
        autocast: what the network multiplies in.
        fast: decodes with the distilled decoder, if there is one.

    Raises:
        UserError: a wish that the model does not understand, guidance for an unconditional model, or an autoencoder.
    """
    assert len(wishes) == len(seeds)
    if isinstance(model, Autoencoder):
        yield from _from_prior(model, seeds, batch)
        return
    for first in range(0, len(seeds), batch):
        part = slice(first, first + batch)
        with torch.no_grad():
            cond, null = model.conditions(wishes[part]), model.conditions([None] * len(seeds[part]))
        denoise = settings.wrap(_lowered(model, cond, autocast), _lowered(model, null, autocast))
        steps = run(
            denoise,
            model.latent_shape,
            seeds[part],
            sampler=settings.sampler,
            grid=settings.grid,
            steps=settings.steps,
            schedule=model.config.schedule,
            device=model.device,
        )
        for step in steps:
            done = step.index == step.total - 1
            with torch.no_grad():
                pixels = model.pixels(step.x, fast=fast) if done else None
            yield Progress(first=first, step=step, pixels=pixels)


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


def _lowered(model: DiffusionModel, cond: Conditioning, dtype: torch.dtype) -> DenoiseFn:
    """The model's denoiser with its network in ``dtype``; the context lasts one call, not from one step to the next."""
    denoise = model.denoiser.bind(cond)

    def lowered(x_t: Tensor, t: Tensor) -> Tensor:
        with torch.autocast(x_t.device.type, dtype, enabled=dtype is not torch.float32):
            return denoise(x_t, t)

    return lowered
