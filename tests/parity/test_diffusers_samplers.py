"""The same network, noise and times through diffusers' schedulers give the same states."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from analytic import mixture
from torch import Tensor

from carrara.noise import DiscreteSchedule, Linear, ScaledLinear
from carrara.sample import (
    Ddim,
    Ddpm,
    DpmPp,
    DpmPpSde,
    Euler,
    EulerAncestral,
    Heun,
    Leading,
    Sampler,
    TimeGrid,
    Trailing,
    UniPC,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # diffusers' own, while it is imported
    diffusers = pytest.importorskip("diffusers")

SCHEDULES: list[DiscreteSchedule] = [Linear(), ScaledLinear()]
STEPS = (5, 20, 50)

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.kind)
every_length = pytest.mark.parametrize("steps", STEPS)


def scheduler(name: str, schedule: DiscreteSchedule, grid: TimeGrid, **options: Any) -> Any:
    """Their object for our schedule and grid."""
    betas = {"beta_start": schedule.beta_start, "beta_end": schedule.beta_end, "beta_schedule": schedule.kind}
    return getattr(diffusers, name)(**betas, timestep_spacing=grid.kind, prediction_type="sample", **options)


def noise(index: int) -> Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(index))


def first_state() -> Tensor:
    return noise(10**6)


def ours(sampler: Sampler, schedule: DiscreteSchedule, grid: TimeGrid, steps: int) -> list[Tensor]:
    denoise = mixture(schedule, (-0.6, 0.7), (0.3, 0.2), (0.4, 0.6))
    made = sampler.steps(denoise, first_state(), grid(steps, schedule), schedule, noise)
    return [step.x for step in made]


def theirs(
    scheduler: Any,
    schedule: DiscreteSchedule,
    steps: int,
    options: Callable[[int], Mapping[str, Any]] = lambda _: {},
    over_alpha: bool = False,
) -> list[Tensor]:
    """Their states after each call; in the frame x / alpha, where they use it, before the multiplication by alpha_s."""
    denoise = mixture(schedule, (-0.6, 0.7), (0.3, 0.2), (0.4, 0.6))
    scheduler.set_timesteps(steps)
    alpha = {index: schedule(torch.tensor((index + 1) / 1000, dtype=torch.float64))[0].item() for index in range(1000)}
    x, states = first_state(), list[Tensor]()
    x = x / alpha[int(scheduler.timesteps[0])] if over_alpha else x
    for k, t in enumerate(scheduler.timesteps):
        time = torch.tensor((int(t) + 1) / 1000, dtype=torch.float64)
        x_t = x * alpha[int(t)] if over_alpha else x
        x = scheduler.step(denoise(x_t, time), t, x, **options(k)).prev_sample
        states.append(x)
    return states
