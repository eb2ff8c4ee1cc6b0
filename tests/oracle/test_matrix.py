"""Any schedule with any parameterization with any sampler: the moments of data that are known exactly.

The denoiser is a perfect network F* behind the parameterization's coefficients. It sees the scaled input and the noise
level only, so a wrong coefficient, level or scale shows as a wrong moment.
"""

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from analytic import SCHEDULES, gaussian, mixture, network, quantiles
from carrara.noise import X0, Edm, Eps, Flow, Parameterization, Schedule, V
from carrara.sample import SAMPLERS, Karras, Sampler, TimeGrid, Uniform, last, sampler
from carrara.seeds import Draws, permutation

PARAMETERIZATIONS: list[Parameterization] = [Eps(), X0(), V(), Flow(), Edm(sigma_data=0.6)]
FIRST_ORDER = ("ddpm", "ddim", "euler", "euler_a")
MEANS, STDS, WEIGHTS = (-0.6, 0.7), (0.3, 0.2), (0.4, 0.6)
COUNT = 1000
TESTED = ("linear", "linear, zero terminal", "scaled_linear", "cosine", "sigmoid", "rectified_flow", "ve")


def grid_for(method: Sampler, schedule: Schedule, kind: Parameterization) -> TimeGrid:
    """Noise prediction needs some signal, and Heun's method no giant first step: both begin at sigma / alpha = 80."""
    starts_blind = kind.needs_signal and schedule(torch.ones((), dtype=torch.float64))[0] == 0
    return Karras() if starts_blind or method.kind == "heun" else Uniform()


@cache
def mixture_samples() -> Tensor:
    """``(1, COUNT)`` equally likely values of the data, in a random order."""
    parts = [m + quantiles(round(COUNT * w), s) for m, s, w in zip(MEANS, STDS, WEIGHTS, strict=True)]
    return torch.cat(parts)[permutation(COUNT, "mixture")].T


@cache
def fresh(index: int) -> Tensor:
    """The noise of step ``index``, ``(1, COUNT)``."""
    return Draws(seed=0, samples=torch.tensor([0]), step=index).normal("matrix", COUNT).double()


@pytest.mark.parametrize("schedule", [SCHEDULES[name] for name in TESTED], ids=TESTED)
@pytest.mark.parametrize("kind", PARAMETERIZATIONS, ids=lambda p: p.kind)
@pytest.mark.parametrize("name", SAMPLERS)
def test_moments(schedule: Schedule, kind: Parameterization, name: str) -> None:
    """Both data sets go through one run: unit vectors for the Gaussian (see ``linear_response``), samples for the
    mixture. The first state has the true law at the grid's first time, so all error is the sampler's."""
    method, steps, bound = sampler(name), *((64, 0.11) if name in FIRST_ORDER else (40, 0.05))
    times = grid_for(method, schedule, kind)(steps, schedule)
    alpha, sigma = (v.tolist() for v in schedule(times))
    one, two = gaussian(schedule, std=0.5), mixture(schedule, MEANS, STDS, WEIGHTS)

    def exact(x: Tensor, t: Tensor) -> Tensor:
        return torch.cat([one(x[:, : steps + 1], t), two(x[:, steps + 1 :], t)], dim=1)

    basis, data = torch.eye(steps + 1, dtype=torch.float64), mixture_samples()
    std, noised = math.hypot(0.5 * alpha[0], sigma[0]), alpha[0] * data + sigma[0] * quantiles(COUNT).T
    start = torch.cat([std * basis[:1], noised], dim=1)

    def noise(index: int) -> Tensor:
        return torch.cat([basis[index + 1 : index + 2], fresh(index)], dim=1)

    x = last(method.steps(network(exact, schedule, kind), start, times, schedule, noise)).x
    coefficients, samples = x[:, : steps + 1], x[:, steps + 1 :]
    assert coefficients.norm().item() == pytest.approx(math.hypot(0.5, sigma[-1]), rel=bound)
    assert samples.mean().item() == pytest.approx(data.mean().item(), abs=0.1 * data.std().item())
    assert samples.std().item() == pytest.approx(data.std().item(), rel=bound)
