"""Inpainting against exact conditionals: of a Gaussian, in moments without sampling error, and of a mixture."""

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from analytic import level
from carrara.noise import Cosine, Schedule
from carrara.sample import Quadratic, Repaint, last
from carrara.sample.inpainting import moves
from carrara.types import DenoiseFn

RHO, STD, Y = 0.8, 0.5, 0.6
COSINE = Cosine()
NEW = torch.tensor([False, True])


def correlated(schedule: Schedule, means: Tensor, weights: Tensor) -> DenoiseFn:
    """E[x0 | x_t] of a mixture of Gaussians N(means, C) in the plane, C's correlation being RHO."""
    c = STD**2 * torch.tensor([[1.0, RHO], [RHO, 1.0]], dtype=torch.float64)

    @cache
    def at(t: float) -> tuple[Tensor, Tensor, Tensor]:
        alpha, sigma = level(schedule, t)
        covariance = alpha**2 * c + sigma**2 * torch.eye(2, dtype=torch.float64)
        return alpha, alpha * c @ torch.linalg.inv(covariance), torch.linalg.inv(covariance)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, gain, precision = at(t.item())
        off = x[:, None] - alpha * means
        if len(means) == 1:
            return means + off[:, 0] @ gain.T
        gamma = torch.softmax(weights.log() - 0.5 * (off @ precision * off).sum(-1), dim=1)
        return (gamma[..., None] * (means + off @ gain.T)).sum(1)

    return denoise


ONE = correlated(COSINE, torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, dtype=torch.float64))


def moments(steps: int, resamplings: int, jump: int = 1) -> tuple[float, float]:
    """The exact error of the mean, and the exact standard deviation, of what is inpainted: both over the true one.

    All is linear in y, in the first state and in each draw of noise: y alone gives the mean, and a unit vector of its
    own for each of the others gives the covariance.
    """
    how, times = Repaint(resamplings=resamplings, jump=jump), Quadratic()(steps, COSINE)
    count = 2 * (2 + 2 * len(list(moves(steps, resamplings, jump))))

    def unit(k: int) -> Tensor:
        x = torch.zeros(count, 2, dtype=torch.float64)
        x[2 * k : 2 * k + 2] = torch.eye(2, dtype=torch.float64)
        return x

    zero, y = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[Y, 0.0]], dtype=torch.float64)
    mean = last(how.steps(ONE, zero, times, COSINE, lambda _: zero, known=y, new=NEW)).x[0, 1]
    spread = last(how.steps(ONE, unit(0), times, COSINE, lambda k: unit(k + 1), known=0 * unit(0), new=NEW)).x[:, 1]
    true = STD * math.sqrt(1 - RHO**2)
    return (mean.item() - RHO * Y) / true, spread.norm().item() / true


def test_resampling_leads_to_the_conditional() -> None:
    """Replacement alone misses the mean by half a standard deviation; more resamplings and steps come ever nearer."""
    alone, some, many, finer = moments(20, 1), moments(20, 5), moments(20, 20), moments(40, 20)
    assert alone[0] < -0.4
    assert abs(many[0]) < abs(some[0]) / 2 < abs(alone[0]) / 4
    assert abs(many[0]) < 0.05 and abs(finer[0]) < 0.04
    assert 0 < 1 - finer[1] < 0.7 * (1 - many[1])
    assert 2 * finer[1] - many[1] == pytest.approx(1, abs=0.05)


def test_longer_jumps_lead_there_too() -> None:
    mean, std = moments(30, 10, jump=3)
    assert abs(mean) < 0.1 and std == pytest.approx(1, abs=0.15)


def test_a_mixture_keeps_to_what_is_known() -> None:
    """Three of four samples should fall into the component that y speaks for, and each component has its own place."""
    means = torch.tensor([[0.0, 1.5], [0.0, -1.5]], dtype=torch.float64)
    weights = torch.tensor([0.75, 0.25], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)

    def noise(_: int) -> Tensor:
        return torch.randn(1500, 2, generator=generator, dtype=torch.float64)

    known = torch.tensor([[Y, 0.0]], dtype=torch.float64).expand(1500, 2)
    denoise = correlated(COSINE, means, weights)
    steps = Repaint(resamplings=8).steps(
        denoise, noise(0), Quadratic()(30, COSINE), COSINE, noise, known=known, new=NEW
    )
    x = last(steps).x[:, 1]
    upper = x > RHO * Y
    assert upper.double().mean().item() == pytest.approx(0.75, abs=0.05)
    for part, mean in ((x[upper], 1.5 + RHO * Y), (x[~upper], -1.5 + RHO * Y)):
        assert part.mean().item() == pytest.approx(mean, abs=0.07)
        assert part.std().item() == pytest.approx(STD * math.sqrt(1 - RHO**2), rel=0.2)


def test_the_known_part_is_kept_exactly() -> None:
    known = torch.linspace(-1, 1, 12, dtype=torch.float32).reshape(3, 4)
    new = torch.tensor([True, False, True, False])
    fresh = torch.Generator().manual_seed(1)
    steps = list(
        Repaint(resamplings=3, jump=2).steps(
            lambda x, t: 0.5 * x,
            torch.ones(3, 4),
            Quadratic()(5, COSINE),
            COSINE,
            lambda _: torch.randn(3, 4, generator=fresh),
            known=known,
            new=new,
        )
    )
    assert torch.equal(steps[-1].x[:, ~new], known[:, ~new])
    assert bool((steps[-1].x[:, new] != known[:, new]).all())
    assert [step.index for step in steps] == list(range(steps[0].total))
    assert steps[-1].t == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((2, 1, 1), [(0, 1), (1, 2)]),
        ((3, 2, 1), [(0, 1), (1, 0), (0, 1), (1, 2), (2, 1), (1, 2), (2, 3)]),
        ((3, 2, 2), [(0, 1), (1, 2), (2, 0), (0, 1), (1, 2), (2, 3)]),
        ((2, 2, 9), [(0, 1), (1, 0), (0, 1), (1, 2)]),
        ((1, 5, 1), [(0, 1)]),
    ],
)
def test_the_way_down_and_up(arguments: tuple[int, int, int], expected: list[tuple[int, int]]) -> None:
    assert list(moves(*arguments)) == expected


@pytest.mark.parametrize("wrong", [{"resamplings": 0}, {"jump": 0}, {"eta": 1.5}])
def test_settings_that_are_none(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="got"):
        Repaint(**wrong)
