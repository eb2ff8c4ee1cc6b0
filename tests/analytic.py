"""Denoisers that are known exactly, and exact ways to measure what a sampler does with them. Everything is float64."""

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from carrara.noise import (
    Coefficients,
    Cosine,
    Linear,
    Parameterization,
    RectifiedFlow,
    ScaledLinear,
    Schedule,
    Sigmoid,
    VarianceExploding,
)
from carrara.sample import Sampler, last
from carrara.types import DenoiseFn

SCHEDULES: dict[str, Schedule] = {
    "linear": Linear(),
    "linear, zero terminal": Linear(zero_terminal_snr=True),
    "scaled_linear": ScaledLinear(),
    "scaled_linear, zero terminal": ScaledLinear(zero_terminal_snr=True),
    "cosine": Cosine(),
    "sigmoid": Sigmoid(),
    "rectified_flow": RectifiedFlow(),
    "rectified_flow, shift 3": RectifiedFlow(shift=3.0),
    "ve": VarianceExploding(),
}


@cache
def level(schedule: Schedule, t: float) -> tuple[Tensor, Tensor]:
    """Alpha and sigma, () each, computed once per schedule and time: the tests visit the same times again and again."""
    return schedule(torch.tensor(t, dtype=torch.float64))


def gaussian(schedule: Schedule, std: float = 0.5, mean: float = 0.0) -> DenoiseFn:
    """E[x0 | x_t] of data N(mean, std^2), elementwise."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = level(schedule, t.item())
        return (alpha * std**2 * x + sigma**2 * mean) / (alpha**2 * std**2 + sigma**2)

    return denoise


def mixture(schedule: Schedule, means: Sequence[float], stds: Sequence[float], weights: Sequence[float]) -> DenoiseFn:
    """E[x0 | x_t] of a mixture of Gaussians, elementwise: the components' own, weighted by their posterior."""
    m, s, w = (torch.tensor(v, dtype=torch.float64) for v in (means, stds, weights))

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = level(schedule, t.item())
        variance = alpha**2 * s**2 + sigma**2
        off = x[..., None] - alpha * m
        gamma = torch.softmax(torch.log(w) - 0.5 * torch.log(variance) - 0.5 * off**2 / variance, dim=-1)
        return (gamma * (alpha * s**2 * x[..., None] + sigma**2 * m) / variance).sum(-1).to(x.dtype)

    return denoise


@cache
def time_of(schedule: Schedule, half_logsnr: float) -> Tensor:
    """Where the schedule has this level; computed once, too."""
    return schedule.time_of(torch.tensor(half_logsnr, dtype=torch.float64))


def network(exact: DenoiseFn, schedule: Schedule, kind: Parameterization) -> DenoiseFn:
    """The same denoiser through a perfect network F*, which gets the scaled input and the noise level, nothing else."""

    @cache
    def at_time(t: float) -> Coefficients:
        return kind(*level(schedule, t))

    @cache
    def at_level(half_logsnr: float) -> tuple[Tensor, Coefficients]:
        t = time_of(schedule, half_logsnr)
        return t, at_time(t.item())

    def f_star(z: Tensor, noise_level: Tensor) -> Tensor:
        t, c = at_level(noise_level.item())
        x = z / c.inp
        return (exact(x, t) - c.skip * x) / c.out

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        c = at_time(t.item())
        return c.denoised(x, f_star(c.inp * x, c.noise_level))

    return denoise


def no_noise(index: int) -> Tensor:
    """What a deterministic sampler gets: it must not ask."""
    raise AssertionError(f"step {index} of a deterministic sampler asked for noise")


def linear_response(
    sampler: Sampler, denoise: DenoiseFn, times: Tensor, schedule: Schedule, start: float = 1.0
) -> float:
    """The exact standard deviation of the output if ``denoise`` is linear and x begins as N(0, start^2).

    A linear denoiser makes the output a linear function of the first state and of each step's noise. Feeding each of
    these a unit vector of its own collects all coefficients in one run.
    """
    basis = torch.eye(len(times), dtype=torch.float64)
    steps = sampler.steps(denoise, start * basis[:1], times, schedule, lambda k: basis[k + 1 : k + 2])
    return last(steps).x.norm().item()


def quantiles(count: int, std: float = 1.0) -> Tensor:
    """``(count, 1)`` equally likely values of N(0, std^2): noise without sampling error."""
    u = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return std * torch.special.ndtri(u)[:, None]


def order(error: Callable[[int], float], steps: Sequence[int]) -> float:
    """Minus the slope of log error over log n, by least squares."""
    n, e = (torch.tensor([math.log(v) for v in values]) for values in (steps, [error(n) for n in steps]))
    n = n - n.mean()
    return -(n @ e / (n @ n)).item()
