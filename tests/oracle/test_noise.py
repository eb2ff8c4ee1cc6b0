"""The forward process against exact numbers (derived in float64, no training)."""

import itertools
import math

import pytest
import torch

from carrara.noise import (
    X0,
    Cosine,
    Edm,
    Eps,
    Flow,
    Linear,
    LogitNormalTimes,
    LogNormalTimes,
    MinSnrWeighting,
    P2Weighting,
    RectifiedFlow,
    ScaledLinear,
    Schedule,
    Sigmoid,
    SigmoidWeighting,
    UniformTimes,
    UnitWeighting,
    V,
    VarianceExploding,
    VelocityWeighting,
    add_noise,
    bound_term,
    noising,
    prior_kl,
    transition,
)
from carrara.seeds import Draws

ONE = torch.ones((), dtype=torch.float64)
SCHEDULES = [
    Linear(),
    ScaledLinear(),
    Cosine(),
    Sigmoid(),
    Linear(zero_terminal_snr=True),
    RectifiedFlow(),
    RectifiedFlow(shift=3.0),
    VarianceExploding(),
]
PARAMETERIZATIONS = [Eps(), X0(), V(), Flow(), Edm(sigma_data=0.7)]


@pytest.mark.parametrize(
    ("schedule", "abar", "kl"),
    [
        (Linear(), 4.035830e-5, 2.0180e-5),
        (ScaledLinear(), 4.660099e-3, 2.3355e-3),
        (Cosine(), 2.428767e-9, 1.2144e-9),
    ],
)
def test_how_much_data_is_left_at_the_end(schedule: Schedule, abar: float, kl: float) -> None:
    assert schedule(ONE)[0].item() ** 2 == pytest.approx(abar, rel=1e-6)
    assert prior_kl(schedule) == pytest.approx(kl, rel=1e-4)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Linear(), (0.521423, 0.077797, 0.003300)),
        (ScaledLinear(), (0.673793, 0.276333, 0.056170)),
        (Cosine(), (0.845888, 0.492285, 0.143179)),
    ],
)
def test_abar_at_three_indices(schedule: Linear, values: tuple[float, ...]) -> None:
    index = torch.tensor([250, 500, 750])
    expected = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(schedule.alphas_cumprod()[index], expected, atol=5e-7, rtol=0)
    alpha, sigma = schedule((index + 1).double() / 1000)
    torch.testing.assert_close(alpha**2, expected, atol=5e-7, rtol=0)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(3, dtype=torch.float64), atol=1e-14, rtol=0)


def test_prior_kl_counts_the_data_s_second_moment() -> None:
    a = Linear()(ONE)[0].item() ** 2
    assert prior_kl(Linear(), 0.25) == pytest.approx(0.5 * (a * (0.25 - 1) - math.log1p(-a)), rel=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_schedules_lose_signal_strictly_and_invert(schedule: Schedule) -> None:
    t = torch.linspace(0, 1, 1501, dtype=torch.float64)
    level = schedule.half_logsnr(t)
    assert bool((level.diff() < 0).all())
    torch.testing.assert_close(schedule.time_of(level[1:-1]), t[1:-1], atol=1e-12, rtol=0)
    assert schedule.time_of(torch.tensor([1e9, -1e9])).tolist() == pytest.approx([0.0, 1.0], abs=1e-14)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_single_precision_times_give_double_precision_coefficients(schedule: Schedule) -> None:
    t = torch.tensor([0.125, 0.5, 0.875])
    for single, double in zip(schedule(t), schedule(t.double()), strict=True):
        assert single.dtype == torch.float32
        assert torch.equal(single, double.float())


def test_zero_terminal_snr_ends_in_pure_noise_and_keeps_the_first_step() -> None:
    plain, rescaled = Linear(), Linear(zero_terminal_snr=True)
    assert rescaled(ONE)[0].item() == 0.0
    assert rescaled(ONE)[1].item() == 1.0
    first = torch.tensor(1 / 1000, dtype=torch.float64)
    torch.testing.assert_close(rescaled(first)[0], plain(first)[0], atol=1e-15, rtol=0)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_chain_and_the_closed_form_are_the_same_law(schedule: Schedule) -> None:
    """x_t is linear in x_0 and the noises: mean coefficient and variance propagate exactly."""
    times = torch.linspace(0.001, 1, 60, dtype=torch.float64)
    mean, variance = schedule(times[0])[0], schedule(times[0])[1] ** 2
    for s, t in itertools.pairwise(times):
        step = transition(schedule, s, t)
        mean, variance = step.scale * mean, step.scale**2 * variance + step.variance
        alpha, sigma = schedule(t)
        torch.testing.assert_close(mean, alpha, atol=1e-12, rtol=1e-9)
        torch.testing.assert_close(variance, sigma**2, atol=1e-12, rtol=1e-9)


def test_noising_step_by_step_has_the_closed_form_s_moments() -> None:
    count, x0 = 40_000, 0.7
    draws = Draws(3, torch.arange(count))
    times = torch.linspace(0.01, 1, 12, dtype=torch.float64)
    chain = list(noising(torch.full((count, 1), x0), times, Linear(), lambda k: draws.at(k).normal("chain", 1)))
    assert len(chain) == 12
    for t, x in zip(times, chain, strict=True):
        alpha, sigma = (v.item() for v in Linear()(t))
        assert x.mean().item() == pytest.approx(alpha * x0, abs=5 * sigma / count**0.5)
        assert x.std().item() == pytest.approx(sigma, rel=0.02)


def test_adjacent_steps_have_the_paper_s_beta_and_posterior() -> None:
    """Ho et al. (2020), equations 6 and 7."""
    schedule = Linear()
    beta, abar = schedule.betas(), schedule.alphas_cumprod()
    k = torch.tensor([2, 10, 500, 1000])
    step = transition(schedule, (k - 1).double() / 1000, k.double() / 1000)
    i = k - 1
    tilde = (1 - abar[i - 1]) / (1 - abar[i]) * beta[i]
    torch.testing.assert_close(step.variance, beta[i], rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(step.posterior_variance, tilde, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(step.from_x0, abar[i - 1].sqrt() * beta[i] / (1 - abar[i]), rtol=1e-9, atol=1e-14)
    from_x_t = (1 - beta[i]).sqrt() * (1 - abar[i - 1]) / (1 - abar[i])
    torch.testing.assert_close(step.from_x_t, from_x_t, rtol=1e-9, atol=1e-14)


def test_transition_refuses_to_go_backwards() -> None:
    with pytest.raises(ValueError, match="later"):
        transition(Linear(), ONE, ONE / 2)


@pytest.mark.parametrize(("k", "term"), [(2, 0.394019), (10, 0.0795885), (100, 0.00912585), (1000, 4.11836e-7)])
def test_bound_terms_of_unit_gaussian_data(k: int, term: float) -> None:
    """Linear 1000, exact denoiser, variance beta: the terms L_{t-1} of the variational bound."""
    s, t = torch.tensor((k - 1) / 1000).double(), torch.tensor(k / 1000).double()
    abar = Linear()(t)[0] ** 2
    assert bound_term(Linear(), s, t, 1 - abar, "beta").item() == pytest.approx(term, rel=2e-5)


def gaussian_bound(s2: float, variance: str) -> tuple[float, float]:
    """The bound and its rate in nats per dimension for data N(0, s2), exact denoiser, continuous Gaussian L0."""
    schedule = Linear()
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    alpha, sigma = schedule(t)
    mse = s2 * sigma**2 / (alpha**2 * s2 + sigma**2)
    terms = bound_term(schedule, t[:-1], t[1:], mse[1:], variance).sum().item()
    beta1 = schedule.betas()[0].item()
    l0_variance = beta1 if variance == "beta" else (transition(schedule, t[0], t[1]).posterior_variance.item())
    l0 = 0.5 * (math.log(2 * math.pi * l0_variance) + mse[0].item() / l0_variance)
    rate = terms + prior_kl(schedule, s2)
    return rate + l0, rate


@pytest.mark.parametrize(("s2", "variance", "nats"), [(1.0, "beta", 1.418939), (0.25, "beta", 0.726884)])
def test_the_bound_of_gaussian_data(s2: float, variance: str, nats: float) -> None:
    bound, rate = gaussian_bound(s2, variance)
    assert bound == pytest.approx(nats, abs=2e-6)
    if s2 == 1:
        assert rate == pytest.approx(math.log(100), abs=1e-6)


@pytest.mark.parametrize(("s2", "nats"), [(1.0, 1.997533), (0.25, 1.295717)])
def test_the_bound_with_the_posterior_variance(s2: float, nats: float) -> None:
    bound, _ = gaussian_bound(s2, "beta_tilde")
    assert bound == pytest.approx(nats, abs=2e-6)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS, ids=repr)
def test_parameterizations_are_the_same_denoiser(schedule: Schedule, parameterization: Eps) -> None:
    """The target, read back through the coefficients, is the data; and the network's input has unit variance scale."""
    t = torch.tensor([0.05, 0.3, 0.6, 0.95], dtype=torch.float64)
    alpha, sigma = schedule(t)
    draws = Draws(0, torch.arange(4))
    x0, eps = draws.normal("x0", 3).double(), draws.normal("eps", 3).double()
    c = parameterization(alpha, sigma)
    x_t = add_noise(x0, eps, alpha, sigma)
    torch.testing.assert_close(c.denoised(x_t, c.target(x0, eps)), x0, atol=1e-9, rtol=0)
    direct = (x0 - c.skip[:, None] * x_t) / c.out[:, None]
    torch.testing.assert_close(c.target(x0, eps), direct, atol=1e-7, rtol=1e-6)


def test_parameterizations_are_their_papers() -> None:
    alpha, sigma = (v.double() for v in (torch.tensor([0.8]), torch.tensor([0.6])))
    x0, eps = torch.tensor([[2.0]]).double(), torch.tensor([[-1.0]]).double()
    expected = {Eps(): -1.0, X0(): 2.0, V(): 0.8 * -1 - 0.6 * 2, Flow(): -3.0}
    for parameterization, value in expected.items():
        assert parameterization(alpha, sigma).target(x0, eps).item() == pytest.approx(value, abs=1e-6)
    c, s, d = Edm(sigma_data=0.5)(torch.ones(1).double(), torch.tensor([2.0]).double()), 2.0, 0.5
    found = [c.skip.item(), c.out.item(), c.inp.item(), c.noise_level.item()]
    norm = math.hypot(s, d)
    assert found == pytest.approx([d**2 / norm**2, s * d / norm, 1 / norm, -math.log(s)], rel=1e-12)


@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
def test_edm_target_has_unit_variance_and_zero_optimum_at_the_data_s_scale(sigma_data: float) -> None:
    """F* = 0 for N(0, sigma_data^2), and the weighted loss is exactly 1 per dimension at every sigma."""
    alpha, sigma = VarianceExploding()(torch.linspace(0, 1, 9, dtype=torch.float64))
    c = Edm(sigma_data=sigma_data)(alpha, sigma)
    variance = (c.clean * sigma_data) ** 2 + c.noise**2
    torch.testing.assert_close(variance, torch.ones_like(variance), rtol=1e-12, atol=0)
    best_skip = sigma_data**2 / (sigma_data**2 + sigma**2)
    torch.testing.assert_close(c.skip, best_skip, rtol=1e-12, atol=0)


def least_loss(parameterization: Eps, schedule: Schedule, s2: float, t: torch.Tensor) -> torch.Tensor:
    """The loss that no network can beat on N(0, s2): the posterior variance of x0 over c_out^2."""
    alpha, sigma = schedule(t)
    return s2 * sigma**2 / (alpha**2 * s2 + sigma**2) / parameterization(alpha, sigma).out ** 2


def test_least_losses_on_gaussian_data() -> None:
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    assert least_loss(Eps(), Linear(), 1.0, t).mean().item() == pytest.approx(0.275513, abs=1e-6)
    assert least_loss(Eps(), ScaledLinear(), 1.0, t).mean().item() == pytest.approx(0.373377, abs=1e-6)
    a = Linear()(t)[0] ** 2
    torch.testing.assert_close(least_loss(V(), Linear(), 0.25, t), 0.25 / (a * 0.25 + 1 - a))
    torch.testing.assert_close(least_loss(V(), Linear(), 1.0, t), torch.ones_like(t))
    middle = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    assert least_loss(Flow(), RectifiedFlow(), 1.0, middle).mean().item() == pytest.approx(math.pi / 2, abs=1e-6)
    edm = least_loss(Edm(sigma_data=0.5), VarianceExploding(), 0.25, t)
    torch.testing.assert_close(edm, torch.ones_like(t), rtol=1e-12, atol=0)


def test_weightings_agree_across_parameterizations() -> None:
    """A weighting fixes the weight of the x0 error, so w / c_out^2 is one number whatever the network predicts."""
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    schedule = Cosine()
    snr = torch.exp(2 * schedule.half_logsnr(t))
    expected = {
        MinSnrWeighting(): snr.clamp(max=5),
        P2Weighting(): snr / (1 + snr),
        SigmoidWeighting(): snr * torch.sigmoid(2 - snr.log()),
        VelocityWeighting(): (1 + snr.sqrt()) ** 2,
        VelocityWeighting(limit=9.0): ((1 + snr.sqrt()) ** 2).clamp(max=9),
    }
    for weighting, on_x0 in expected.items():
        for parameterization in PARAMETERIZATIONS:
            out = parameterization(*schedule(t)).out
            torch.testing.assert_close(weighting(schedule.half_logsnr(t), out) / out**2, on_x0)
    assert UnitWeighting()(t, t).tolist() == [1.0] * 7
    flow = RectifiedFlow()
    far = VelocityWeighting(limit=math.inf)(flow.half_logsnr(t), Flow()(*flow(t)).out)
    torch.testing.assert_close(far, torch.ones_like(t), rtol=1e-12, atol=0)
    with pytest.raises(ValueError, match="limit above 0"):
        VelocityWeighting(limit=0.0)


def test_training_times_follow_their_distributions() -> None:
    u = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    steps = (UniformTimes()(u, Linear()) * 1000).round()
    assert steps.min() == 1
    assert steps.max() == 1000
    assert bool((torch.bincount(steps.long())[1:] == 10).all())
    assert torch.equal(UniformTimes()(u, RectifiedFlow()), u)
    logit = torch.logit(LogitNormalTimes(mean=0.5, std=0.8)(u, RectifiedFlow()))
    assert (logit.mean().item(), logit.std().item()) == pytest.approx((0.5, 0.8), abs=2e-3)
    sigma = -VarianceExploding().half_logsnr(LogNormalTimes()(u, VarianceExploding()))
    assert (sigma.mean().item(), sigma.std().item()) == pytest.approx((-1.2, 1.2), abs=5e-3)


def test_flow_shift_moves_the_half_logsnr() -> None:
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    shifted, plain = RectifiedFlow(shift=3.0).half_logsnr(t), RectifiedFlow().half_logsnr(t)
    torch.testing.assert_close(plain - shifted, torch.full((2,), math.log(3.0), dtype=torch.float64))


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Linear(beta_start=-1.0),
        lambda: Linear(steps=1),
        lambda: RectifiedFlow(shift=0.0),
        lambda: VarianceExploding(sigma_min=3.0, sigma_max=1.0),
        lambda: Edm(sigma_data=0.0),
    ],
)
def test_impossible_settings_are_refused(broken: object) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        broken()  # type: ignore[operator]


def test_a_network_is_told_no_more_than_its_limit() -> None:
    alpha, sigma = RectifiedFlow()(torch.tensor([0.01, 0.0909, 0.2, 0.99]))
    free, held = X0()(alpha, sigma), X0(told=2.0)(alpha, sigma)
    assert torch.equal(held.noise_level, free.noise_level.clamp(max=2.0)) and held.noise_level[0] < free.noise_level[0]
    assert all(
        torch.equal(getattr(held, name), getattr(free, name)) for name in ("skip", "out", "inp", "clean", "noise")
    )
    assert X0(told=2.0) != X0() and repr(X0()) == "X0(kind='x0')"
    for wrong in (-12.0, 13.0, math.nan):
        with pytest.raises(ValueError, match="told"):
            X0(told=wrong)
