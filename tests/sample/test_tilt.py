"""Classifier guidance where the tilted law is known: Gaussian data and classifiers of noised states."""

import pytest
import torch
from torch import Tensor

from analytic import SCHEDULES, gaussian, mixture
from carrara.noise import Schedule
from carrara.sample import LogProb, classifier_guided

STD, MEAN = 0.5, 0.2
W = torch.tensor([1.5, -2.0], dtype=torch.float64)
"""log p(c | x0) = W x0, but for a constant: exponential tilting moves a Gaussian's mean by STD^2 W."""


def linear(schedule: Schedule) -> LogProb:
    """log E[exp(W x0) | x_t] by the moments of x0 given x_t; the variance adds what does not depend on x_t."""
    prior = gaussian(schedule, STD, MEAN)
    return lambda x, t: (prior(x, t) * W).sum(1)


def of_components(schedule: Schedule, means: list[float]) -> LogProb:
    """log p(second component | x_t) of a mixture of two equal ones."""

    def log_prob(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = schedule(t)
        off = x - alpha * torch.tensor(means, dtype=torch.float64)
        return torch.log_softmax(-0.5 * off**2 / (alpha**2 * STD**2 + sigma**2), dim=1)[:, 1]

    return log_prob


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_a_linear_classifier_tilts_a_gaussian_at_any_scale(name: str, scale: float) -> None:
    schedule = SCHEDULES[name]
    guided = classifier_guided(gaussian(schedule, STD, MEAN), linear(schedule), schedule, scale)
    x = torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(6, 2)
    for t in (0.02, 0.4, 0.9):
        time = torch.tensor(t, dtype=torch.float64)
        means = (MEAN + scale * STD**2 * W).tolist()
        wanted = torch.stack([gaussian(schedule, STD, m)(x[:, k], time) for k, m in enumerate(means)], dim=1)
        torch.testing.assert_close(guided(x, time), wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_classifier_of_a_mixtures_components_leaves_one(name: str) -> None:
    schedule = SCHEDULES[name]
    means = [-0.6, 0.9]
    whole = mixture(schedule, means, [STD, STD], [0.5, 0.5])
    guided = classifier_guided(whole, of_components(schedule, means), schedule)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    for t in (0.02, 0.4, 0.9):
        time = torch.tensor(t, dtype=torch.float64)
        torch.testing.assert_close(guided(x, time), gaussian(schedule, STD, means[1])(x, time), rtol=1e-6, atol=1e-8)


def test_scale_0_is_off_and_no_gradient_is_left() -> None:
    schedule = SCHEDULES["cosine"]
    prior = gaussian(schedule, STD)
    assert classifier_guided(prior, linear(schedule), schedule, 0.0) is prior
    with torch.no_grad():
        made = classifier_guided(prior, linear(schedule), schedule)(torch.ones(3, 2), torch.tensor(0.5))
    assert not made.requires_grad


def test_pure_noise_is_left_finite() -> None:
    schedule = SCHEDULES["rectified_flow"]
    guided = classifier_guided(lambda x, t: 0 * x, lambda x, t: (x * W).sum(1), schedule)
    assert guided(torch.ones(1, 2).double(), torch.tensor(1.0).double()).abs().max() <= 100 * W.abs().max()
