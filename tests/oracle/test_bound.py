"""The variational bound against exact numbers: of Gaussian data everything is known, and nothing is sampled.

Where the denoiser is linear all that matters is quadratic in the data and the noise, so four points have the law's
expectations: each of them at plus and minus one standard deviation.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

import analytic
from carrara.errors import UserError
from carrara.noise import (
    Bound,
    Chain,
    Cosine,
    Linear,
    RectifiedFlow,
    ReverseVariance,
    ScaledLinear,
    Schedule,
    Sigmoid,
    Transition,
    Variance,
    VarianceExploding,
    bits_per_dim,
    bound_term,
    chain_times,
    estimated_bound,
    level_log_probability,
    prior_kl,
    transition,
    variational_bound,
)
from carrara.seeds import Draws
from carrara.shapes import expand
from carrara.types import DenoiseFn

ENTROPY = 0.5 * math.log(2 * math.pi * math.e)
SIGNS = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]).double()
EPS = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]).double()
PRESERVING = [Linear(), ScaledLinear(), Cosine(), Sigmoid()]


def gaussian(schedule: Schedule, std: float) -> DenoiseFn:
    """E[x0 | x_t] of N(0, std^2), for one time or one per sample."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = schedule(t)
        return expand(alpha * std**2 / (alpha**2 * std**2 + sigma**2), x) * x

    return denoise


def expected(chain: Chain, std: float) -> Bound:
    """The bound of N(0, std^2) and its exact denoiser, as four samples whose mean is the expectation."""
    return variational_bound(chain, analytic.gaussian(chain.schedule, std), std * SIGNS, lambda _: EPS)


def chain(
    schedule: Schedule, steps: int | None = None, variance: ReverseVariance = "beta", levels: int | None = None
) -> Chain:
    return Chain(schedule=schedule, times=chain_times(schedule, steps), variance=variance, levels=levels)


# The bound of Gaussian data


@pytest.mark.parametrize(
    ("std", "variance", "nats"),
    [
        (1.0, "beta", 1.418939),
        (1.0, "beta_tilde", 1.997533),
        (0.5, "beta", 0.726884),
        (0.5, "beta_tilde", 1.295717),
    ],
)
def test_the_bound_of_gaussian_data(std: float, variance: Variance, nats: float) -> None:
    bound = expected(chain(Linear(), variance=variance), std)
    assert bound.total.mean().item() == pytest.approx(nats, abs=1e-6)
    torch.testing.assert_close(bound.rate + bound.distortion, bound.total)
    torch.testing.assert_close(bound.prior + bound.terms.sum(1), bound.total)


def test_terms_and_rate_of_unit_gaussian_data() -> None:
    bound = expected(chain(Linear()), 1.0)
    terms = bound.terms.mean(0)
    assert bound.rate.mean().item() == pytest.approx(math.log(100), abs=1e-9)
    for k, term in ((2, 0.394019), (10, 0.0795885), (100, 0.00912585), (1000, 4.11836e-7)):
        assert terms[k - 1].item() == pytest.approx(term, rel=2e-6)
    beta = Linear().betas()[0].item()
    assert bound.mse.mean().item() == pytest.approx(beta, rel=1e-9)
    assert bound.mse.mean().sqrt().item() * 127.5 == pytest.approx(1.275, rel=1e-9)
    torch.testing.assert_close(bound.rmse, 127.5 * bound.mse.sqrt())


@pytest.mark.parametrize("schedule", PRESERVING, ids=repr)
@pytest.mark.parametrize("steps", [2, 10, 137])
def test_nothing_is_lost_where_variance_is_preserved(schedule: Schedule, steps: int) -> None:
    """Unit-variance data and the variance beta make each reverse step exact, however few there are."""
    assert expected(chain(schedule, steps), 1.0).total.mean().item() == pytest.approx(ENTROPY, abs=1e-9)


@pytest.mark.parametrize("schedule", [*PRESERVING, RectifiedFlow(), RectifiedFlow(shift=3.0), VarianceExploding()])
@pytest.mark.parametrize("std", [0.5, 1.0, 2.0])
def test_with_the_exact_variance_the_bound_is_the_entropy_and_the_leak(schedule: Schedule, std: float) -> None:
    """A variance for each element, of the kind that a network would predict."""
    times = chain_times(schedule, 20)

    def exact(x_t: Tensor, t: Tensor, step: Transition) -> Tensor:
        alpha, sigma = schedule(t)
        mse = std**2 * sigma**2 / (alpha**2 * std**2 + sigma**2)
        clean = 0.0 if t == times[0] else step.posterior_variance
        return (clean + step.from_x0**2 * mse) * torch.ones_like(x_t)

    tight = expected(Chain(schedule=schedule, times=times, variance=exact, levels=None), std)
    leak = prior_kl(schedule, std**2)
    alpha, sigma = schedule(torch.ones((), dtype=torch.float64))
    ratio = ((alpha * std) ** 2 + sigma**2) / (alpha**2 + sigma**2)
    marginal = 0.5 * (ratio - 1 - ratio.log()).item()
    assert tight.total.mean().item() == pytest.approx(ENTROPY + math.log(std) + marginal, abs=1e-9)
    assert tight.prior.mean().item() == pytest.approx(leak, rel=1e-9, abs=1e-15)
    for variance in ("beta", "beta_tilde"):
        assert expected(chain(schedule, 20, variance), std).total.mean() > tight.total.mean() - 1e-9


def test_a_given_variance_is_the_named_one_if_it_says_the_same() -> None:
    named = chain(Linear(), 10, "beta_tilde")
    given = replace(named, variance=lambda x_t, t, step: step.posterior_variance * torch.ones_like(x_t))
    torch.testing.assert_close(expected(given, 0.5).terms, expected(named, 0.5).terms)
    s, t = named.times[:-1], named.times[1:]
    v = transition(Linear(), s, t).variance
    torch.testing.assert_close(bound_term(Linear(), s, t, t, v), bound_term(Linear(), s, t, t, "beta"))


# The prior


@pytest.mark.parametrize(
    ("schedule", "kl"), [(Linear(), 2.0180e-5), (ScaledLinear(), 2.3355e-3), (Cosine(), 1.2144e-9)]
)
def test_the_prior_of_unit_variance_data(schedule: Schedule, kl: float) -> None:
    prior = chain(schedule, 2).prior(SIGNS)
    assert prior.mean().item() == pytest.approx(kl, rel=1e-4)
    assert prior_kl(schedule) == pytest.approx(prior.mean().item(), rel=1e-9)


def test_the_prior_is_as_wide_as_noise_that_explodes() -> None:
    """Unit-variance data end as N(0, 1 + 80^2)."""
    wide, one = 1 + 80.0**2, torch.ones(1, 1).double()
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(one, 80.0), torch.distributions.Normal(0 * one, math.sqrt(wide))
    )
    assert chain(VarianceExploding(), 2).prior(one).item() == pytest.approx(kl.item(), rel=1e-6)
    assert prior_kl(VarianceExploding()) < 1e-4
    assert prior_kl(RectifiedFlow()) == 0


# Levels


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
@pytest.mark.parametrize("mean", [-2.5, -1.0, 0.123, 0.999, 3.0])
@pytest.mark.parametrize("scale", [1e-3, 0.01, 0.3, 5.0])
def test_the_levels_probabilities_add_up_to_one(law: Literal["gaussian", "laplace"], mean: float, scale: float) -> None:
    for levels in (2, 17, 256):
        x = torch.linspace(-1, 1, levels)[:, None]  # float32, so not exactly the levels
        logs = level_log_probability(x, torch.full_like(x, mean), torch.tensor(scale), law=law, levels=levels)
        assert bool(logs.isfinite().all())
        assert logs.exp().sum().item() == pytest.approx(1, abs=1e-11)
        assert logs.max().item() <= 0


def real(value: float) -> Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


def density(law: str, z: Tensor) -> Tensor:
    return -0.5 * z**2 - 0.5 * math.log(2 * math.pi) if law == "gaussian" else -z.abs() - math.log(2)


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
@pytest.mark.parametrize("scale", [2e-3, 0.02, 0.4])
@pytest.mark.parametrize("off", [0.0, 0.013, -0.4, 1.9])
def test_a_level_s_probability_is_the_integral_of_the_density(
    law: Literal["gaussian", "laplace"], scale: float, off: float
) -> None:
    """Out to 950 standard deviations, by the trapezoidal rule, relative to the largest value in the bin."""
    x, width = real(-1 + 2 * 100 / 255), real(scale)
    mean = x - off
    edge = 1 / 255
    points = torch.linspace(off - edge, off + edge, 400_001, dtype=torch.float64) / scale
    logs = density(law, points)
    integral = logs.max() + torch.trapezoid((logs - logs.max()).exp(), points).log()
    found = level_log_probability(x, mean, width, law=law)
    assert found.item() == pytest.approx(integral.item(), abs=1e-6, rel=1e-9)
    mirrored = level_log_probability(-x, -mean, width, law=law)
    assert mirrored.item() == pytest.approx(found.item(), abs=1e-10, rel=1e-12)


def test_levels_are_the_density_times_their_width_where_it_hardly_changes() -> None:
    """The error is the second derivative's: (w / sigma)^2 (z^2 - 1) / 24."""
    x = (2 * torch.arange(1, 255).double() / 255 - 1)[:, None]
    for sigma in (0.5, 1.0, 4.0):
        z = (x - 0.2) / sigma
        flat = density("gaussian", z) - math.log(sigma) + math.log(2 / 255)
        found = level_log_probability(x, torch.full_like(x, 0.2), real(sigma))
        error, w = found - flat, 2 / 255 / sigma
        torch.testing.assert_close(error, w**2 * (z**2 - 1) / 24, rtol=0, atol=w**4)


def test_far_tails_stay_exact_and_give_gradients() -> None:
    """At z = 1565 a bin is wide, and the Gaussian's tail is phi(z) / z (1 - 1 / z^2 + 3 / z^4)."""
    x, mean, scale = real(-1 + 2 * 200 / 255), real(-1.0).requires_grad_(), real(1e-3).requires_grad_()
    found = level_log_probability(x, mean, scale)
    z = ((x + 1).item() - 1 / 255) / 1e-3
    tail = -0.5 * z**2 - math.log(z * math.sqrt(2 * math.pi)) + math.log1p(-1 / z**2 + 3 / z**4)
    assert found.item() == pytest.approx(tail, rel=1e-12)
    for value in (-1.0, x.item(), 1.0):
        mean.grad = scale.grad = None
        level_log_probability(real(value), mean, scale).sum().backward()
        assert mean.grad is not None and scale.grad is not None
        assert bool(mean.grad.isfinite().all() and scale.grad.isfinite())


def test_the_decoder_of_levels_is_the_density_s_where_noise_is_wide() -> None:
    """t_1 = 1/2, where sigma is 70 bins: -ln p of a level is the density's and the width's, to second order."""
    times = torch.tensor([0.5, 1.0]).double()
    x0 = torch.linspace(-0.9, 0.9, 12).double().reshape(4, 3)
    x0 = torch.round((x0 + 1) * 127.5) / 127.5 - 1
    as_levels = Chain(schedule=Linear(), times=times)
    as_density = replace(as_levels, levels=None)
    one, two = (c.decoder(gaussian(Linear(), 0.5), x0, EPS.expand(4, 3))[0] for c in (as_levels, as_density))
    torch.testing.assert_close(one, two + 3 * math.log(127.5), rtol=0, atol=1e-4)
    bits = bits_per_dim(two, 3, density=True)
    torch.testing.assert_close(bits, bits_per_dim(one, 3), rtol=0, atol=1e-4)


def test_bits() -> None:
    nats = torch.tensor([ENTROPY]).double()
    assert bits_per_dim(10 * nats, 10).item() == pytest.approx(2.047096, abs=1e-6)
    assert bits_per_dim(10 * nats, 10, density=True).item() == pytest.approx(2.047096 + 6.994353, abs=1e-6)


# Sampled


def standard_error(values: Tensor) -> float:
    return values.std().item() / math.sqrt(len(values))


def test_a_sampled_bound_agrees_with_the_exact_one() -> None:
    draws = Draws(0, torch.arange(400))
    x0 = 0.5 * draws.normal("x0", 4).double()
    denoise = analytic.gaussian(Linear(), 0.5)
    bound = variational_bound(chain(Linear()), denoise, x0, lambda k: draws.at(k).normal("eps", 4).double())
    per_dim = bound.total / 4
    assert standard_error(per_dim) < 0.05
    assert per_dim.mean().item() == pytest.approx(0.726884, abs=4 * standard_error(per_dim))


def test_the_bound_of_a_mixture_is_above_its_entropy() -> None:
    """By little, with many steps; and by more, with fewer, or with the other variance."""
    means, stds, weights = (-1.0, 0.8), (0.3, 0.4), (0.4, 0.6)
    grid = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
    normal = torch.distributions.Normal(torch.tensor(means).double(), torch.tensor(stds).double())
    logs = torch.logsumexp(normal.log_prob(grid[:, None]) + torch.tensor(weights).double().log(), 1)
    entropy = -torch.trapezoid(logs.exp() * logs, grid).item()
    draws = Draws(1, torch.arange(8_000))
    second = (draws.uniform("component") > weights[0]).long()
    centre, spread = (torch.tensor(v).double()[second] for v in (means, stds))
    x0 = (centre + spread * draws.normal("x0").double())[:, None]
    denoise = analytic.mixture(Linear(), means, stds, weights)

    def cost(steps: int, variance: Variance) -> Tensor:
        few = chain(Linear(), steps, variance)
        return variational_bound(few, denoise, x0, lambda k: draws.at(k).normal("eps", 1).double()).total

    few, many, other = cost(20, "beta"), cost(200, "beta"), cost(200, "beta_tilde")
    assert min(few.mean(), other.mean()) > many.mean() > entropy - 4 * standard_error(many)
    assert many.mean().item() < entropy + 0.1


def off_by(x0: Tensor, schedule: Schedule) -> DenoiseFn:
    """An estimate whose error depends on the time alone."""
    return lambda x, t: x0 + expand(schedule(t)[1] * (1 + t), x0)


@pytest.mark.parametrize("schedule", [Linear(steps=50), Cosine(steps=50), RectifiedFlow()], ids=repr)
@pytest.mark.parametrize("parts", [1, 4, 7])
def test_random_steps_estimate_every_term_without_bias(schedule: Schedule, parts: int) -> None:
    """The mean over a fine grid of the uniform numbers is the expectation: each term is hit as often as it should."""
    grid = 40_000
    middles = (torch.arange(grid).double() + 0.5) / grid
    x0 = torch.zeros(grid, 1).double()
    few = chain(schedule, 50)
    exact = variational_bound(few, off_by(x0[:1], schedule), x0[:1], lambda _: x0[:1])
    found = estimated_bound(few, off_by(x0, schedule), x0, lambda _: x0, middles[:, None].expand(-1, parts))
    torch.testing.assert_close(found.terms.mean(0), exact.terms[0], rtol=3e-3, atol=0)
    assert found.total.mean().item() == pytest.approx(exact.total.item(), rel=1e-3)
    torch.testing.assert_close(found.distortion, exact.distortion.expand(grid))


def test_few_steps_estimate_the_bound_with_little_noise() -> None:
    """Eight of a thousand; in parts of equal probability, drawn where terms are large."""
    count, k = 4000, 8
    draws = Draws(2, torch.arange(count))
    x0 = draws.normal("x0", 16).double()
    found = estimated_bound(
        chain(Linear()),
        gaussian(Linear(), 1.0),
        x0,
        lambda j: draws.at(j).normal("eps", 16).double(),
        draws.uniform("steps", k),
    )
    per_dim = found.total / 16
    assert per_dim.mean().item() == pytest.approx(ENTROPY, abs=4 * standard_error(per_dim))
    assert per_dim.std() < 1.5
    assert int((found.terms[:, 1:] != 0).sum(1).max()) <= k


def test_steps_are_chosen_from_the_second_to_the_last() -> None:
    few = chain(Linear(), 100)
    k, p = few.choose(torch.tensor([[1e-9], [1 - 1e-9]]).double())
    assert k.tolist() == [[2], [100]]
    assert bool((p >= 0.5 / 99).all())
    every, chance = few.choose(((torch.arange(20_000) + 0.5) / 20_000)[None])
    assert every.unique().tolist() == list(range(2, 101))
    assert chance.min() > 0


def test_one_sample_costs_the_same_alone() -> None:
    draws = Draws(0, torch.arange(5))

    def bound(rows: slice) -> Bound:
        mine = replace(draws, samples=draws.samples[rows])
        x0 = mine.normal("x0", 3, 2).double()
        return estimated_bound(
            chain(Cosine(), 40, levels=256),
            gaussian(Cosine(), 0.5),
            x0.clamp(-1, 1),
            lambda j: mine.at(j).normal("eps", 3, 2).double(),
            mine.uniform("steps", 4),
        )

    torch.testing.assert_close(bound(slice(2, 3)).total[0], bound(slice(0, 5)).total[2])


def test_terms_can_be_trained_on() -> None:
    gain = torch.ones((), dtype=torch.float64, requires_grad=True)
    few = chain(Linear(), 10, levels=256)
    scaled: Callable[[Tensor, Tensor], Tensor] = lambda x, t: gain * x  # noqa: E731
    (few.term(scaled, SIGNS, 5, EPS) + few.decoder(scaled, SIGNS, EPS)[0]).sum().backward()
    assert gain.grad is not None and gain.grad.isfinite() and gain.grad != 0


# Chains


def test_times_of_a_chain() -> None:
    torch.testing.assert_close(chain_times(Linear()), torch.arange(1, 1001).double() / 1000)
    few = chain_times(Linear(), 7) * 1000
    torch.testing.assert_close(few, few.round())
    assert len(few) == 7 and few[-1] == 1000 and int(few.diff().max() - few.diff().min()) <= 1
    assert len(chain_times(RectifiedFlow())) == 1000
    torch.testing.assert_close(chain_times(RectifiedFlow(), 4), torch.tensor([0.25, 0.5, 0.75, 1.0]).double())


@pytest.mark.parametrize(("schedule", "steps"), [(Linear(), 1001), (Linear(), 1), (RectifiedFlow(), 1)])
def test_no_such_number_of_steps(schedule: Schedule, steps: int) -> None:
    with pytest.raises(UserError, match="at least 2 steps"):
        chain_times(schedule, steps)


@pytest.mark.parametrize("times", [[0.5], [0.0, 1.0], [0.5, 0.5], [1.0, 0.5]])
def test_what_no_chain_is(times: list[float]) -> None:
    with pytest.raises(ValueError, match="each later"):
        Chain(schedule=Linear(), times=torch.tensor(times).double())
