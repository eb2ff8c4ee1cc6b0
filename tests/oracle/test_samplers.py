"""What samplers must do with denoisers that are known exactly: the numbers are derived, not fitted."""

import math

import pytest
import torch
from torch import Tensor

from analytic import SCHEDULES, gaussian, linear_response, no_noise, order
from carrara.noise import Linear, VarianceExploding, transition
from carrara.sample import Ddim, Ddpm, DpmPp, Euler, Heun, Karras, Leading, Lms, Sampler, Uniform, UniPC, last, walk

LINEAR, VE = Linear(), VarianceExploding()
STEPS = (10, 40, 160, 320)

DDIM_STD = {  # (steps, data std): output std at eta = 0, 0.5, 1
    (10, 1.0): (0.831696, 0.815035, 0.740410),
    (50, 1.0): (0.964079, 0.955972, 0.925977),
    (1000, 1.0): (0.998124, 0.997552, 0.995524),
    (10, 0.5): (0.374128, 0.367083, 0.333263),
    (50, 0.5): (0.472439, 0.466651, 0.444123),
    (1000, 0.5): (0.498495, 0.497977, 0.496110),
}

EDM_ERRORS: dict[Sampler, tuple[str, ...]] = {  # relative error at STEPS
    Euler(): ("2.472e-01", "6.858e-02", "1.760e-02", "8.841e-03"),
    Ddim(): ("2.472e-01", "6.858e-02", "1.760e-02", "8.841e-03"),
    Lms(order=1): ("2.472e-01", "6.858e-02", "1.760e-02", "8.841e-03"),
    Heun(): ("1.746e-01", "9.286e-03", "5.575e-04", "1.384e-04"),
    UniPC(): ("1.480e-01", "3.493e-03", "5.266e-05", "6.534e-06"),
}

ORDERS: dict[Sampler, int] = {
    Euler(): 1,
    Heun(): 2,
    DpmPp(): 2,
    UniPC(order=1): 2,
    UniPC(order=2): 3,
    UniPC(order=3): 4,
    Lms(order=2): 2,
    Lms(order=3): 3,
    Lms(order=4): 4,
}


def edm_error(sampler: Sampler, steps: int, std: float = 0.5) -> float:
    """The relative error on N(0, std^2), where the flow's solution is proportional to (std^2 + sigma^2)^(1/2)."""
    times, start = Karras()(steps, VE), torch.tensor([[VE.sigma_max]], dtype=torch.float64)
    x = last(sampler.steps(gaussian(VE, std), start, times, VE, no_noise)).x.item()
    exact = VE.sigma_max * math.hypot(std, VE.sigma_min) / math.hypot(std, VE.sigma_max)
    return abs(x / exact - 1)


@pytest.mark.parametrize(("steps", "std"), DDIM_STD)
def test_ddim_shrinks_a_gaussian_as_derived(steps: int, std: float) -> None:
    times = Leading()(steps, LINEAR)
    found = [linear_response(Ddim(eta=eta), gaussian(LINEAR, std), times, LINEAR) for eta in (0.0, 0.5, 1.0)]
    assert found == pytest.approx(DDIM_STD[steps, std], abs=6e-7)


def test_a_ddim_step_on_a_standard_normal_multiplies_by_a_cosine() -> None:
    x = torch.ones(1, 1, dtype=torch.float64)
    for step in walk(Uniform()(7, LINEAR), LINEAR):
        x0 = gaussian(LINEAR, std=1.0)(x, step.now(x))
        angle = math.acos(step.t.alpha) - math.acos(step.s.alpha)
        torch.testing.assert_close(step.mean(x, x0), x * math.cos(angle), rtol=1e-12, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_ddim_step_with_eta_1_is_the_posterior(schedule) -> None:
    x, x0 = torch.tensor([[0.3, -2.0]], dtype=torch.float64), torch.tensor([[0.9, -0.1]], dtype=torch.float64)
    for step in walk(Uniform()(10, schedule), schedule):
        q = transition(schedule, *(torch.tensor(level.t, dtype=torch.float64) for level in (step.s, step.t)))
        torch.testing.assert_close(step.mean(x, x0, eta=1.0), q.from_x_t * x + q.from_x0 * x0, rtol=1e-11, atol=1e-12)
        assert step.std() ** 2 == pytest.approx(q.posterior_variance.item(), rel=1e-11)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_ddim_with_eta_1_is_ddpm_with_beta_tilde(schedule) -> None:
    times, x = Uniform()(50, schedule), torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]

    def noise(index: int) -> Tensor:
        return torch.cos(torch.arange(5, dtype=torch.float64) * (index + 1))[:, None]

    ends = [
        last(sampler.steps(gaussian(schedule, 0.5, 0.3), x, times, schedule, noise)).x
        for sampler in (Ddim(eta=1.0), Ddpm(variance="beta_tilde"))
    ]
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("steps", [10, 100])
def test_ddpm_with_beta_keeps_a_standard_normal_exactly(steps: int) -> None:
    """sigma_ts^2 is then the true reverse variance; the last step, without noise, multiplies by its alpha_t."""
    times = Uniform()(steps, LINEAR)
    found = linear_response(Ddpm(variance="beta"), gaussian(LINEAR, std=1.0), times, LINEAR)
    assert found == pytest.approx(LINEAR(times[-2])[0].item(), abs=1e-12)
    halfway = linear_response(Ddpm(variance="beta"), gaussian(LINEAR, std=1.0), times[: steps // 2], LINEAR)
    assert halfway == pytest.approx(1, abs=1e-12)


def test_ddpm_without_its_noise_collapses() -> None:
    times, denoise = Uniform()(100, LINEAR), gaussian(LINEAR, std=1.0)
    start = torch.ones(1, 1, dtype=torch.float64)
    silent = Ddpm().steps(denoise, start, times, LINEAR, lambda _: torch.zeros(1, 1, dtype=torch.float64))
    assert last(silent).x.abs().item() < 0.01
    assert linear_response(Ddpm(), denoise, times, LINEAR) > 0.9


def test_encoding_and_decoding_is_second_order() -> None:
    def error(steps: int) -> float:
        training_steps = torch.linspace(0, 999, steps).double().round() + 1
        up = torch.cat([torch.zeros(1, dtype=torch.float64), training_steps / 1000])
        x, denoise = torch.ones(1, 1, dtype=torch.float64), gaussian(LINEAR, std=1.0)
        code = last(Ddim().steps(denoise, x, up, LINEAR, no_noise)).x
        return (last(Ddim().steps(denoise, code, up.flip(0), LINEAR, no_noise)).x - x).square().item()

    assert [error(n) for n in (50, 100, 1000)] == pytest.approx([5.169e-3, 1.319e-3, 1.405e-5], rel=5e-4)
    assert order(error, (50, 100, 1000)) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("sampler", EDM_ERRORS, ids=str)
def test_errors_in_edm_form(sampler: Sampler) -> None:
    assert tuple(f"{edm_error(sampler, n):.3e}" for n in STEPS) == EDM_ERRORS[sampler]


@pytest.mark.parametrize("sampler", ORDERS, ids=str)
def test_orders_of_convergence(sampler: Sampler) -> None:
    assert order(lambda n: edm_error(sampler, n), (160, 240, 320, 480)) == pytest.approx(ORDERS[sampler], abs=0.15)


def test_heun_with_churn_keeps_the_law() -> None:
    """Churn adds what the forward process adds, so the output's variance has no error but that of Heun's steps."""
    sampler = Heun(churn=10.0, churn_min=0.05, churn_max=50.0)

    def error(steps: int) -> float:
        return abs(linear_response(sampler, gaussian(VE), Karras()(steps, VE), VE, VE.sigma_max) / 0.5 - 1)

    assert error(160) < 2e-3
    assert order(error, (40, 80, 160)) == pytest.approx(2, abs=0.1)
