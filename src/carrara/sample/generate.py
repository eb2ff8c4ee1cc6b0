"""From seeds to samples: the composition of a grid, a first state, fresh noise and a sampler.

Every random number is a function of (seed of the sample, purpose, step), so sample k is the same alone or among others,
and ``seeds=[7]`` is the picture that ``seeds=range(64)`` has at place 7.
"""

from collections.abc import Iterator, Sequence

import torch

from carrara.noise import Schedule
from carrara.sample.base import Sampler, SampleStep
from carrara.sample.grids import TimeGrid
from carrara.seeds import Draws
from carrara.types import DenoiseFn, NoiseFn


def draws_for(seeds: Sequence[int], device: torch.device | str = "cpu") -> Draws:
    """The random numbers of one sample per seed, on ``device``."""
    return Draws(seed=0, samples=torch.tensor(seeds, dtype=torch.int64, device=device))


def noise_for(draws: Draws, shape: Sequence[int]) -> NoiseFn:
    """The fresh noise ``(B, *shape)`` float32 of each step."""
    return lambda index: draws.at(index).normal("sampler noise", *shape)


def without_gradients(steps: Iterator[SampleStep]) -> Iterator[SampleStep]:
    """The same steps, made without gradients. Between two of them the caller's own mode holds."""
    while True:
        with torch.no_grad():
            step = next(steps, None)
        if step is None:
            return
        yield step


def generate(
    denoise: DenoiseFn,
    shape: Sequence[int],
    seeds: Sequence[int] | Draws,
    *,
    sampler: Sampler,
    grid: TimeGrid,
    steps: int,
    schedule: Schedule,
    device: torch.device | str = "cpu",
) -> Iterator[SampleStep]:
    """Makes samples from noise, one ``SampleStep`` per step; without gradients.

    Args:
        shape: one sample's, without the batch.
        seeds: one per sample, or the draws themselves, which bring their own device.

    Raises:
        UserError: the grid has no such number of steps.
    """
    draws = seeds if isinstance(seeds, Draws) else draws_for(seeds, device)
    times = grid(steps, schedule)
    x = sampler.initial(draws, shape, schedule, times[0].item())
    return without_gradients(sampler.steps(denoise, x, times, schedule, noise_for(draws, shape)))
