"""Denoisers that are known exactly: against an independent one, against what data say themselves, and as a law."""

import math

import pytest
import torch

from analytic import SCHEDULES, mixture
from carrara.noise import Cosine, add_noise
from carrara.sample import Mixture, draws_for, score

MEANS, STDS, WEIGHTS = (-1.0, 0.5, 2.0), (0.2, 0.5, 0.1), (0.2, 0.5, 0.3)
ONE = Mixture(means=torch.tensor(MEANS)[:, None].double(), stds=torch.tensor(STDS), weights=torch.tensor(WEIGHTS))
PLANE = Mixture(means=torch.tensor([[1.0, 0.0], [-1.0, 0.5]]), stds=torch.tensor([0.3, 0.6]), weights=torch.ones(2))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("t", [0.02, 0.5, 0.98])
def test_in_one_dimension_it_is_the_elementwise_one(name: str, t: float) -> None:
    schedule, time = SCHEDULES[name], torch.tensor(t, dtype=torch.float64)
    x = torch.linspace(-3, 3, 41, dtype=torch.float64)[:, None]
    found = ONE.denoiser(schedule)(x, time)
    torch.testing.assert_close(found, mixture(schedule, MEANS, STDS, WEIGHTS)(x, time), rtol=1e-6, atol=1e-6)


def test_a_time_for_each_sample() -> None:
    x, t = torch.randn(3, 2, dtype=torch.float64), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    denoise = PLANE.denoiser(Cosine())
    alone = torch.cat([denoise(x[k : k + 1], t[k]) for k in range(3)])
    torch.testing.assert_close(denoise(x, t), alone)


@pytest.mark.parametrize("t", [0.1, 0.4, 0.8])
def test_the_score_is_the_gradient_of_the_density(t: float) -> None:
    """Equation (4) by Tweedie, and by differentiating ln p."""
    schedule, time = Cosine(), torch.tensor(t, dtype=torch.float64)
    alpha, sigma = (value.item() for value in schedule(time))
    x = torch.linspace(-2, 2, 20, dtype=torch.float64).reshape(-1, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(PLANE.log_density(x, alpha, sigma).sum(), x)
    x = x.detach()
    torch.testing.assert_close(score(x, PLANE.denoiser(schedule)(x, time), time, schedule), gradient)


def test_the_density_integrates_to_one() -> None:
    line = torch.linspace(-6, 6, 401, dtype=torch.float64)
    cells = PLANE.log_density(torch.cartesian_prod(line, line)).exp()
    assert math.isclose(cells.sum().item() * (12 / 400) ** 2, 1, abs_tol=1e-6)


def test_it_is_the_mean_of_what_may_be_behind() -> None:
    """No other function of x_t is nearer to the data: the error is orthogonal to any of them."""
    draws, schedule, t = draws_for(range(200_000)), Cosine(), torch.tensor(0.5, dtype=torch.float64)
    x0 = PLANE.draw(draws).double()
    x = add_noise(x0, draws.normal("eps", 2).double(), *schedule(t))
    wrong = x0 - PLANE.denoiser(schedule)(x, t)
    for test in (torch.ones_like(x), x, x.sin(), (x > 0).double()):
        values = (wrong * test).sum(1)
        assert abs(values.mean().item()) < 4 * values.std().item() / math.sqrt(len(x))


def test_draws_have_the_means_and_quantiles_of_the_law() -> None:
    values = ONE.draw(draws_for(range(20_000)))[:, 0].sort().values
    exact = ONE.quantiles(20_000)
    assert (values - exact).abs().mean() < 0.03
    assert abs(exact.mean().item() - sum(m * w for m, w in zip(MEANS, WEIGHTS, strict=True))) < 1e-4


def test_points_alone_draw_to_themselves() -> None:
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    late = torch.tensor(0.02, dtype=torch.float64)
    assert torch.allclose(Mixture.around(points).denoiser(Cosine())(points + 0.01, late), points, atol=1e-4)


def test_what_is_no_mixture_is_refused() -> None:
    two = torch.zeros(2, 1)
    with pytest.raises(ValueError, match="K standard deviations"):
        Mixture(means=two, stds=torch.ones(3), weights=torch.ones(2))
    with pytest.raises(ValueError, match="positive weights"):
        Mixture(means=two, stds=torch.ones(2), weights=torch.zeros(2))
    with pytest.raises(ValueError, match="one dimension"):
        PLANE.quantiles(3)
