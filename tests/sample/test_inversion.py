"""Data to noise and back: exact solutions, the orders of errors, and denoisers that the theory does not cover."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from analytic import SCHEDULES, gaussian, level, mixture, no_noise, order
from carrara.noise import Cosine, Linear, RectifiedFlow, Schedule
from carrara.sample import Ddim, Karras, TimeGrid, Uniform, invert, last
from carrara.types import DenoiseFn

X = torch.tensor([[-0.7], [-0.55], [0.65], [0.72]], dtype=torch.float64)
CLUSTERS = (-0.6, 0.7), (0.1, 0.05), (0.4, 0.6)


def noise_of(
    denoise: DenoiseFn, schedule: Schedule, refinements: int, steps: int = 20, grid: TimeGrid | None = None
) -> Tensor:
    times = (grid or Uniform())(steps, schedule).flip(0)
    return last(invert(denoise, X, times, schedule, refinements=refinements)).x


def error(
    denoise: DenoiseFn, schedule: Schedule, refinements: int, steps: int = 20, grid: TimeGrid | None = None
) -> float:
    """The largest error after the way to noise and back."""
    noise = noise_of(denoise, schedule, refinements, steps, grid)
    times = (grid or Uniform())(steps, schedule)
    return (last(Ddim().steps(denoise, noise, times, schedule, no_noise)).x - X).abs().max().item()


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_the_way_back_leads_to_the_data(schedule: Schedule) -> None:
    """Equation (2) converges up to rounding, whichever the schedule's ends are."""
    denoise = gaussian(schedule, std=0.5, mean=0.2)
    assert error(denoise, schedule, 0) > 1e-3
    assert error(denoise, schedule, 100) < 1e-9


def test_the_noise_of_a_gaussian() -> None:
    """On fine grids: (x - m) / s of standard normal noise, and the closed form of each step on coarse ones."""
    schedule, m, s = RectifiedFlow(), 0.2, 0.5
    fine = noise_of(gaussian(schedule, s, m), schedule, 3, steps=200)
    torch.testing.assert_close(fine, (X - m) / s, rtol=1e-2, atol=0)
    times = Uniform()(7, schedule)
    expected = X
    for below, above in pairwise(times.flip(0).tolist()):
        (alpha_s, sigma_s), (alpha, sigma) = level(schedule, below), level(schedule, above)
        k, total = sigma_s / sigma, alpha**2 * s**2 + sigma**2
        c = alpha_s - k * alpha
        expected = (expected - c * sigma**2 * m / total) / (k + c * alpha * s**2 / total)
    torch.testing.assert_close(noise_of(gaussian(schedule, s, m), schedule, 60, steps=7), expected)


@pytest.mark.parametrize("make", [gaussian, lambda schedule: mixture(schedule, *CLUSTERS)], ids=["one", "two"])
def test_each_refinement_helps(make: Callable[[Schedule], DenoiseFn]) -> None:
    schedule = Cosine()
    errors = [error(make(schedule), schedule, n) for n in range(8)]
    assert all(after < before for before, after in pairwise(errors))
    assert errors[5] < errors[0] / 5


def test_refinement_contracts_as_promised() -> None:
    """One step of Gaussian data of the largest variance that (3) allows: exactly the rate of the theory."""
    schedule, times = RectifiedFlow(), torch.tensor([0.2, 0.4], dtype=torch.float64)
    denoise = gaussian(schedule, std=1.0)
    k, u = 0.5, 0.5 + (0.8 - 0.5 * 0.6) * 0.6 / (0.6**2 + 0.4**2)
    found = [last(invert(denoise, X, times, schedule, refinements=n)).x for n in (0, 1, 2, 60)]
    rate = ((found[1] - found[3]) / (found[0] - found[3])).abs()
    torch.testing.assert_close(rate, torch.full_like(rate, (u - k) / (u + k)))
    torch.testing.assert_close((found[2] - found[3]).abs(), rate**2 * (found[0] - found[3]).abs())


def test_without_refinement_the_error_is_of_first_order() -> None:
    schedule = RectifiedFlow()
    denoise = gaussian(schedule, std=0.5, mean=0.2)
    assert abs(order(lambda n: error(denoise, schedule, 0, n), (100, 200, 400)) - 1) < 0.1


def test_no_refinement_is_ddim_upwards() -> None:
    schedule = Linear()
    denoise, times = mixture(schedule, *CLUSTERS), Uniform()(10, schedule).flip(0)
    up = last(Ddim().steps(denoise, X, times, schedule, no_noise)).x
    torch.testing.assert_close(noise_of(denoise, schedule, 0, steps=10), up)


def test_one_step_from_pure_noise_forgets_it() -> None:
    schedule = RectifiedFlow()
    assert torch.isfinite(noise_of(gaussian(schedule), schedule, 3, steps=1)).all()


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_few_long_steps(steps: int) -> None:
    """Where the iteration with 1 / k would diverge."""
    schedule = Cosine()
    assert error(gaussian(schedule), schedule, 300, steps) < 1e-6


def test_a_denoiser_that_is_steeper_than_any_gaussians() -> None:
    """What would diverge is taken back, and goes on more slowly: in a step, less and less is missing."""
    schedule, up = RectifiedFlow(), torch.tensor([0.2, 0.4], dtype=torch.float64)
    exact = gaussian(schedule, 1.0)

    def steep(x: Tensor, t: Tensor) -> Tensor:
        return 8 * exact(x, t)

    missing = list[Tensor]()
    for n in (0, 1, 2, 3, 5, 10, 80):
        noise = last(invert(steep, X, up, schedule, refinements=n)).x
        missing.append((last(Ddim().steps(steep, noise, up.flip(0), schedule, no_noise)).x - X).abs())
    assert all(bool((after <= before).all()) for before, after in pairwise(missing))
    assert missing[0].min() > 0.1 and missing[-1].max() < 1e-9


def test_samples_do_not_disturb_each_other() -> None:
    schedule, times = RectifiedFlow(), torch.linspace(0, 1, 6, dtype=torch.float64)
    denoise = mixture(schedule, *CLUSTERS)
    together = last(invert(denoise, X, times, schedule, refinements=3)).x
    alone = torch.cat([last(invert(denoise, x[None], times, schedule, refinements=3)).x for x in X])
    torch.testing.assert_close(together, alone)


def test_other_grids_and_the_way_up_to_a_time() -> None:
    """A grid that ends below pure noise; a state on the way; its parts count their steps and times."""
    schedule = Linear()
    assert error(gaussian(schedule), schedule, 60, 12, Karras()) < 1e-8
    steps = list(invert(gaussian(schedule), X, torch.tensor([0.0, 0.25, 0.5]), schedule))
    assert [(step.index, step.total, step.t) for step in steps] == [(0, 2, 0.25), (1, 2, 0.5)]


def test_how_often_the_denoiser_is_asked() -> None:
    calls, schedule = list[float](), RectifiedFlow()

    def counted(x: Tensor, t: Tensor) -> Tensor:
        calls.append(round(t.item(), 3))
        return torch.zeros_like(x)

    last(invert(counted, X, torch.tensor([0.0, 0.5, 1.0]), schedule, refinements=2))
    assert calls == [0.5] * 3 + [1.0] * 3
    with pytest.raises(ValueError, match="0 refinements or more"):
        last(invert(counted, X, torch.tensor([0.0, 1.0]), schedule, refinements=-1))
