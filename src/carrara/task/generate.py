"""Samples from a model: the same pictures for the same seeds, however they are batched."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from carrara.model import DiffusionModel
from carrara.sample import SampleSettings, SampleStep
from carrara.sample import generate as run
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
    model: DiffusionModel,
    wishes: Sequence[str | None],
    seeds: Sequence[int],
    settings: SampleSettings,
    *,
    batch: int = 64,
    autocast: torch.dtype = torch.float32,
) -> Iterator[Progress]:
    """Makes one sample per seed, in batches, without gradients; memory does not grow with their number.

    Args:
        wishes: the condition of each sample as a user types it; None says nothing.
        seeds: one per sample, any whole numbers.
        batch: samples at a time; has no influence on the result.
        autocast: what the network multiplies in.

    Raises:
        UserError: a wish that the model does not understand, or guidance for an unconditional model.
    """
    assert len(wishes) == len(seeds)
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
                pixels = model.first_stage.decode(step.x) if done else None
            yield Progress(first=first, step=step, pixels=pixels)


def _lowered(model: DiffusionModel, cond: Conditioning, dtype: torch.dtype) -> DenoiseFn:
    """The model's denoiser with its network in ``dtype``; the context lasts one call, not from one step to the next."""
    denoise = model.denoiser.bind(cond)

    def lowered(x_t: Tensor, t: Tensor) -> Tensor:
        with torch.autocast(x_t.device.type, dtype, enabled=dtype is not torch.float32):
            return denoise(x_t, t)

    return lowered
