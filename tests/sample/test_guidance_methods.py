"""APG and CFG-Zero*: what they make of estimates, of velocities, and of Gaussians that are known exactly."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from analytic import SCHEDULES, gaussian, level, linear_response, mixture, no_noise, quantiles
from carrara.errors import UserError
from carrara.noise import Linear, RectifiedFlow, Schedule, VarianceExploding
from carrara.sample import (
    METHODS,
    SAMPLERS,
    AnyMethod,
    Apg,
    Cfg,
    CfgZero,
    Ddim,
    Euler,
    Karras,
    Lms,
    SampleSettings,
    Uniform,
    generate,
    guide,
    last,
    method,
)
from carrara.seeds import Draws
from carrara.types import DenoiseFn

VE, W = VarianceExploding(), 8.0
VARIANTS: list[AnyMethod] = [Cfg(), Apg(), Apg(eta=0.3, limit=0.2, momentum=-0.5), CfgZero()]
every_method = pytest.mark.parametrize("chosen", VARIANTS, ids=str)
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
T = torch.tensor(0.5, dtype=torch.float64)


def normal(purpose: str, *shape: int) -> Tensor:
    return Draws(0, torch.arange(shape[0])).normal(purpose, *shape[1:]).double()


def constant(value: Tensor) -> DenoiseFn:
    return lambda x, t: value


def dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


X, COND, NULL = (normal(purpose, 3, 2, 4, 5) for purpose in ("x", "cond", "null"))


def guided(chosen: AnyMethod, schedule: Schedule = VE, null: Tensor = NULL, t: Tensor = T) -> Tensor:
    return guide(constant(COND), constant(null), W, rule=chosen.rule(schedule))(X, t)


def test_names() -> None:
    assert list(METHODS) == ["cfg", "apg", "cfg_zero"]
    assert method("apg", eta=0.5) == Apg(eta=0.5)
    with pytest.raises(UserError, match=r"unknown method of guidance 'agp'.*Did you mean 'apg'\?"):
        method("agp")


@pytest.mark.parametrize("wrong", [{"eta": 1.5}, {"limit": 0.0}, {"momentum": -1.0}])
def test_apg_refuses_what_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="got"):
        Apg(**wrong)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_cfg_zero_refuses_what_is_no_share(share: float) -> None:
    with pytest.raises(ValueError, match="share of time"):
        CfgZero(zero_init=share)


@every_method
def test_scale_1_is_off_to_the_bit(chosen: AnyMethod) -> None:
    cond = constant(COND)
    assert guide(cond, no_noise, 1.0, rule=chosen.rule(VE)) is cond  # type: ignore[arg-type]
    assert SampleSettings(method=chosen).wrap(cond, no_noise, VE) is cond  # type: ignore[arg-type]


@every_method
def test_equal_estimates_are_left_alone_to_the_bit(chosen: AnyMethod) -> None:
    """Autoguidance by the model itself."""
    assert torch.equal(guided(chosen, null=COND), COND)


@every_method
def test_outside_of_the_interval_only_the_condition_counts(chosen: AnyMethod) -> None:
    half = guide(constant(COND), constant(NULL), W, rule=chosen.rule(VE), interval=(0.0, 0.6))
    assert torch.equal(half(X, torch.tensor(0.7)), COND)
    assert not torch.equal(half(X, torch.tensor(0.6)), COND)


@every_method
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sample_alone_is_the_same_as_among_others(chosen: AnyMethod, name: str) -> None:
    schedule = Linear()
    cond, null = (mixture(schedule, (-0.5, m), (0.1, 0.2), (0.5, 0.5)) for m in (0.5, 0.1))
    settings = SampleSettings(guidance=3.0, method=chosen, rescale=0.3)

    def made(seeds: Sequence[int]) -> Tensor:
        denoise = settings.wrap(cond, null, schedule)
        return last(
            generate(denoise, (6,), seeds, sampler=SAMPLERS[name](), grid=Karras(), steps=6, schedule=schedule)
        ).x

    together = made([5, 6, 7])
    assert bool(together.isfinite().all())
    torch.testing.assert_close(made([6])[0], together[1], rtol=1e-4, atol=1e-5)


def test_apg_with_all_of_it_is_cfg() -> None:
    torch.testing.assert_close(guided(Apg(eta=1.0)), guided(Cfg()), rtol=1e-12, atol=1e-12)


def test_apg_keeps_the_orthogonal_part_and_a_share_of_the_parallel_one() -> None:
    full = guided(Cfg()) - COND
    orthogonal, some = guided(Apg()) - COND, guided(Apg(eta=0.25)) - COND
    torch.testing.assert_close(dot(orthogonal, COND), torch.zeros(3).double(), rtol=0, atol=1e-10)
    torch.testing.assert_close(dot(some, COND), 0.25 * dot(full, COND))
    parallel = full - orthogonal
    torch.testing.assert_close(dot(parallel, COND) ** 2, dot(parallel, parallel) * dot(COND, COND))
    torch.testing.assert_close(some, orthogonal + 0.25 * parallel)


def test_apg_with_an_estimate_of_zero_has_no_parallel_part() -> None:
    zero = torch.zeros_like(COND)
    made = guide(constant(zero), constant(NULL), W, rule=Apg().rule(VE))(X, T)
    torch.testing.assert_close(made, (W - 1) * -NULL)


def test_the_limit_shortens_what_is_longer() -> None:
    size = (COND - NULL).flatten(1).square().mean(1).sqrt()
    limit = size.median().item()
    longest = guided(Apg(eta=1.0, limit=limit)) - COND
    wanted = (W - 1) * size.clamp(max=limit)
    torch.testing.assert_close(longest.flatten(1).square().mean(1).sqrt(), wanted)
    torch.testing.assert_close(guided(Apg(limit=100.0)), guided(Apg()))


def differences(times: Sequence[float], beta: float = -0.5) -> list[float]:
    """D_t at each call, if the difference is the time itself."""
    rule = Apg(eta=1.0, momentum=beta).rule(VE)
    denoise = guide(lambda x, t: t + 0 * x, lambda x, t: 0 * x, 2.0, rule=rule)
    x = torch.ones(1, 3, dtype=torch.float64)
    return [denoise(x, torch.tensor(t, dtype=torch.float64))[0, 0].item() - t for t in times]


def test_momentum_is_a_running_sum_over_the_times() -> None:
    assert differences([1.0, 0.75, 0.5, 0.25]) == pytest.approx([1.0, 0.25, 0.375, 0.0625])
    assert differences([1.0, 0.75, 0.5], beta=0.0) == pytest.approx([1.0, 0.75, 0.5])


def test_momentum_counts_times_and_not_calls() -> None:
    """Heun's method asks at the end of a step and at the start of the next; churn goes back up; a sampling begins."""
    assert differences([1.0, 0.75, 0.75, 0.5, 0.5]) == pytest.approx([1.0, 0.25, 0.25, 0.375, 0.375])
    assert differences([1.0, 0.75, 0.8, 0.5, 0.6, 0.4]) == pytest.approx([1, 0.25, 0.3, 0.35, 0.45, 0.175])
    assert differences([1.0, 0.5, 1.0, 0.5]) == pytest.approx([1.0, 0.0, 1.0, 0.0])
    assert differences([0.2, 0.4, 0.6]) == pytest.approx([0.2, 0.4, 0.6]), "on the way up nothing is remembered"


def test_each_sampling_has_a_memory_of_its_own() -> None:
    """Two requests at once, step by step, are as each alone."""
    settings = SampleSettings(guidance=4.0, method=Apg(momentum=-0.6))
    cond, null = gaussian(VE, 0.5, mean=1.0), gaussian(VE, 0.7)

    def start(seed: int):
        denoise = settings.wrap(cond, null, VE)
        return generate(denoise, (4,), [seed], sampler=Ddim(), grid=Karras(), steps=5, schedule=VE)

    alone = [last(start(seed)).x for seed in (1, 2)]
    mixed = [(one.x, two.x) for one, two in zip(start(1), start(2), strict=True)][-1]
    assert all(torch.equal(a, b) for a, b in zip(alone, mixed, strict=True))


def velocity(x: Tensor, x0: Tensor, schedule: Schedule, t: Tensor) -> Tensor:
    """eps - x0, where eps is the noise in ``x`` if ``x0`` is its data."""
    alpha, sigma = level(schedule, t.item())
    return (x - alpha * x0) / sigma - x0


@every_schedule
def test_cfg_zero_is_the_papers_formula_for_velocities(schedule: Schedule) -> None:
    u_cond, u_null = (velocity(X, x0, schedule, T) for x0 in (COND, NULL))
    s = (dot(u_cond, u_null) / dot(u_null, u_null)).reshape(-1, 1, 1, 1)
    found = velocity(X, guided(CfgZero(), schedule), schedule, T)
    torch.testing.assert_close(found, s * u_null + W * (u_cond - s * u_null), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(dot(found - u_cond, u_null), torch.zeros(3).double(), rtol=0, atol=1e-8)


@every_schedule
def test_cfg_zero_with_s_1_is_cfg(schedule: Schedule) -> None:
    """s is 1 exactly if what the condition adds to the velocity is orthogonal to the null velocity."""
    alpha, sigma = level(schedule, 0.5)
    b = X / (alpha + sigma)
    away = b - NULL
    added = COND - (dot(COND, away) / dot(away, away)).reshape(-1, 1, 1, 1) * away
    made = [guide(constant(NULL + added), constant(NULL), W, rule=m.rule(schedule))(X, T) for m in (CfgZero(), Cfg())]
    torch.testing.assert_close(made[0], made[1], rtol=1e-10, atol=1e-10)


def test_cfg_zero_with_a_null_that_does_not_move_is_finite() -> None:
    alpha, sigma = level(VE, 0.5)
    b = X / (alpha + sigma)
    torch.testing.assert_close(guided(CfgZero(), null=b), b + W * (COND - b))


@every_schedule
def test_zero_init_lets_the_state_wait(schedule: Schedule) -> None:
    """x / (alpha + sigma) stays as it is, then goes on: no other estimate is asked for the first step."""
    denoise = SampleSettings(guidance=3.0, method=CfgZero(zero_init=0.3)).wrap(constant(COND), constant(NULL), schedule)
    times = Uniform()(10, schedule)
    alpha, sigma = schedule(times)
    states = [step.x for step in Euler().steps(denoise, X, times, schedule, no_noise)]
    level_free = [X / (alpha[0] + sigma[0])] + [
        x / (a + s) for x, a, s in zip(states, alpha[1:], sigma[1:], strict=True)
    ]
    moves = [(after - before).abs().max().item() for before, after in pairwise(level_free)]
    assert max(moves[:3]) < 1e-12
    assert moves[3] > 1e-3


def test_zero_init_of_each_sample() -> None:
    t = torch.tensor([0.99, 0.9, 0.97]).double()
    made, b = guided(CfgZero(), RectifiedFlow(), t=t), X
    still = [torch.equal(made[k], b[k]) for k in range(3)]
    assert still == [True, False, True]


@pytest.mark.parametrize(
    ("chosen", "power"), [(Cfg(), 3.0), (Apg(), 1.0), (Apg(eta=0.25), 1.5), (CfgZero(zero_init=0.0), 1.0)], ids=str
)
def test_what_becomes_of_gaussians_of_unequal_width(chosen: AnyMethod, power: float) -> None:
    """Around 0 both estimates are multiples of x, and so is their difference: CFG narrows to s_c^w s_n^(1-w); APG keeps
    a share eta of w - 1; CFG-Zero* finds null and condition to be the same but for a factor. Nothing was learned."""
    s_cond, s_null = 0.4, 0.7
    denoise = guide(gaussian(VE, s_cond), gaussian(VE, s_null), 3.0, rule=chosen.rule(VE))
    found = linear_response(Lms(), denoise, Karras()(300, VE), VE, VE.sigma_max)
    assert found == pytest.approx(s_cond**power * s_null ** (1 - power), rel=2e-3)


def circle(chosen: AnyMethod, scale: float) -> Tensor:
    """The sample of a condition that is one point (1, 0) and a null that is another, (0.5, -0.5)."""
    cond, null = (torch.tensor([point], dtype=torch.float64) for point in ((1.0, 0.0), (0.5, -0.5)))
    denoise = guide(constant(cond), constant(null), scale, rule=chosen.rule(VE))
    return last(Ddim().steps(denoise, 80 * torch.ones(1, 2).double(), Uniform()(4, VE), VE, no_noise)).x0[0]


@pytest.mark.parametrize(
    ("chosen", "end"),
    [
        (Cfg(), (4.5, 3.5)),
        (Apg(), (1.0, 3.5)),
        (Apg(eta=0.5), (2.75, 3.5)),
        (Apg(limit=0.1), (1.0, 0.7)),
        (Apg(momentum=-0.5), (1.0, 2.1875)),
    ],
    ids=str,
)
def test_what_becomes_of_two_points(chosen: AnyMethod, end: tuple[float, float]) -> None:
    """CFG ends at null + w (cond - null), far too bright. APG moves sideways only; the difference, of root mean
    square 0.5, is shortened to 0.1; four steps of momentum -1/2 sum up to 1 - 1/2 + 1/4 - 1/8."""
    assert circle(chosen, W).tolist() == pytest.approx(end, rel=1e-9)


def test_cfg_zero_of_wide_data_has_the_mean_scale() -> None:
    """In many dimensions s is one number. Between N(m, c^2) and N(0, c^2), for x_t of the first, it is the ratio of two
    moments of b - null = p x and b - cond = p x - q m,
    p = 1 / (alpha + sigma) - alpha c^2 / v and q = sigma^2 / v."""
    schedule, c, m, t = RectifiedFlow(), 0.5, 1.0, torch.tensor(0.6, dtype=torch.float64)
    alpha, sigma = (v.item() for v in level(schedule, 0.6))
    v = alpha**2 * c**2 + sigma**2
    p, q = 1 / (alpha + sigma) - alpha * c**2 / v, sigma**2 / v
    x = alpha * m + quantiles(20000, v**0.5).T
    second, first = v + (alpha * m) ** 2, alpha * m
    s = (p**2 * second - p * q * m * first) / (p**2 * second)
    denoise = guide(gaussian(schedule, c, mean=m), gaussian(schedule, c), W, rule=CfgZero().rule(schedule))
    b, null = x / (alpha + sigma), gaussian(schedule, c)(x, t)
    wanted = b + s * (null - b)
    wanted = wanted + W * (gaussian(schedule, c, mean=m)(x, t) - wanted)
    assert s < 0.9
    torch.testing.assert_close(denoise(x, t), wanted, rtol=1e-3, atol=1e-3)
