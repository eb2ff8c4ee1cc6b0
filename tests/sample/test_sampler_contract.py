"""What every registered sampler promises, on every schedule."""

import math
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch import Tensor

from analytic import SCHEDULES, gaussian, mixture, no_noise
from carrara.errors import UserError
from carrara.noise import Linear, RectifiedFlow, Schedule, VarianceExploding
from carrara.sample import (
    SAMPLERS,
    Ddim,
    Ddpm,
    DpmPp,
    Heun,
    Lms,
    Sampler,
    SampleStep,
    TimeGrid,
    Uniform,
    UniPC,
    draws_for,
    initial,
    last,
    noise_for,
    sampler,
)
from carrara.sample.grids import Karras, Leading, Quadratic

DETERMINISTIC: list[Sampler] = [
    sampler("ddim"),
    sampler("euler"),
    sampler("heun"),
    sampler("dpmpp"),
    sampler("unipc"),
    sampler("lms"),
]
VARIANTS: list[Sampler] = [
    *(cls() for cls in SAMPLERS.values()),
    Ddpm(variance="beta"),
    Ddim(eta=0.5),
    Heun(churn=40.0),
    UniPC(order=1),
    UniPC(order=3),
    Lms(order=2),
]
every_sampler = pytest.mark.parametrize("method", VARIANTS, ids=str)
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def start(method: Sampler, seeds: list[int], schedule: Schedule, steps: int = 7) -> Iterator[SampleStep]:
    """A float64 run on two-dimensional points; the points' coordinates have different mixtures' means."""
    draws, times = draws_for(seeds), Uniform()(steps, schedule)
    x, fresh = initial(draws, (2,), schedule).double(), noise_for(draws, (2,))
    denoise = mixture(schedule, (-1.0, 0.5), (0.1, 0.3), (0.3, 0.7))
    return method.steps(denoise, x, times, schedule, lambda k: fresh(k).double())


def test_names() -> None:
    assert list(SAMPLERS) == ["ddpm", "ddim", "euler", "euler_a", "heun", "dpmpp", "dpmpp_sde", "unipc", "lms"]
    assert sampler("ddim", eta=0.5) == Ddim(eta=0.5)
    with pytest.raises(UserError, match=r"unknown sampler 'unip'.*Did you mean 'unipc'\?"):
        sampler("unip")


@pytest.mark.parametrize(
    ("name", "options"),
    [("ddim", {"eta": 1.5}), ("heun", {"churn": -1.0}), ("unipc", {"order": 4}), ("lms", {"order": 0})],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="got"):
        sampler(name, **options)


@every_sampler
def test_frozen_and_compared_by_value(method: Sampler) -> None:
    assert replace(method) == method
    assert hash(replace(method)) == hash(method)
    with pytest.raises(FrozenInstanceError):
        method.kind = "other"  # pyright: ignore


@every_sampler
@every_schedule
@pytest.mark.parametrize("grid", [Uniform(), Karras(), Leading(), Quadratic()], ids=lambda g: g.kind)
def test_finite_however_few_the_steps(method: Sampler, schedule: Schedule, grid: TimeGrid) -> None:
    x = torch.tensor([[-1.5], [0.7]], dtype=torch.float64)
    for steps in (1, 2, 3, 5):
        times = grid(steps, schedule)
        made = list(method.steps(gaussian(schedule), x, times, schedule, lambda _: torch.ones_like(x)))
        assert [s.index for s in made] == list(range(steps))
        assert [s.t for s in made] == times[1:].tolist()
        assert {s.total for s in made} == {steps}
        for s in made:
            assert bool(s.x.isfinite().all() and s.x0.isfinite().all())
            assert s.x.shape == s.x0.shape == x.shape


@every_sampler
def test_float32_in_float32_out(method: Sampler) -> None:
    schedule, seen = RectifiedFlow(), set[tuple[torch.dtype, torch.Size]]()

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        seen.add((t.dtype, t.shape))
        return gaussian(schedule)(x, t)

    x = torch.ones(2, 3)
    made = last(method.steps(denoise, x, Uniform()(5, schedule), schedule, lambda _: x))
    assert made.x.dtype == made.x0.dtype == torch.float32
    assert seen == {(torch.float32, torch.Size([]))}


@every_sampler
def test_interleaved_runs_do_not_meet(method: Sampler) -> None:
    alone = [list(start(method, seeds, Linear())) for seeds in ([1, 2], [3])]
    together = zip(*(start(method, seeds, Linear()) for seeds in ([1, 2], [3])), strict=True)
    for one, other, (first, second) in zip(*alone, together, strict=True):
        assert torch.equal(one.x, first.x)
        assert torch.equal(other.x, second.x)


@every_sampler
@pytest.mark.parametrize("schedule", [Linear(), RectifiedFlow(), VarianceExploding()], ids=lambda s: s.kind)
def test_a_sample_does_not_depend_on_its_batch(method: Sampler, schedule: Schedule) -> None:
    batch = last(start(method, [5, 6, 7, 8], schedule)).x
    alone = [last(start(method, [seed], schedule)).x for seed in (5, 6, 7, 8)]
    torch.testing.assert_close(batch, torch.cat(alone), rtol=1e-13, atol=1e-13)


@every_schedule
@pytest.mark.parametrize("method", DETERMINISTIC, ids=str)
def test_deterministic_samplers_draw_no_noise(method: Sampler, schedule: Schedule) -> None:
    x = torch.ones(1, 1, dtype=torch.float64)
    last(method.steps(gaussian(schedule), x, Uniform()(6, schedule), schedule, no_noise))


@every_schedule
@pytest.mark.parametrize("name", ["ddpm", "euler_a", "dpmpp_sde"])
def test_no_noise_is_drawn_for_clean_data(name: str, schedule: Schedule) -> None:
    x, drawn = torch.ones(1, 1, dtype=torch.float64), list[int]()

    def noise(index: int) -> Tensor:
        drawn.append(index)
        return x

    last(sampler(name).steps(gaussian(schedule), x, Uniform()(6, schedule), schedule, noise))
    ends_clean = schedule(torch.zeros((), dtype=torch.float64))[1] == 0
    assert drawn == list(range(5 if ends_clean else 6))


@every_schedule
@pytest.mark.parametrize("method", DETERMINISTIC, ids=str)
def test_deterministic_samplers_encode_too(method: Sampler, schedule: Schedule) -> None:
    """On the grid backwards they lead from the data to the noise that leads to the data."""
    x = torch.tensor([[-0.8], [0.1], [0.6]], dtype=torch.float64)
    down = Karras()(150, schedule)
    code = last(method.steps(gaussian(schedule), x, down.flip(0), schedule, no_noise)).x
    back = last(method.steps(gaussian(schedule), code, down, schedule, no_noise)).x
    torch.testing.assert_close(back, x, rtol=0.06, atol=0)
    in_one_go = Uniform()(20, schedule).flip(0)
    assert bool(last(method.steps(gaussian(schedule), x, in_one_go, schedule, no_noise)).x.isfinite().all())


@pytest.mark.parametrize(("name", "per_step"), [("ddpm", 1), ("dpmpp", 1), ("lms", 1), ("unipc", 1), ("heun", 2)])
def test_the_number_of_evaluations(name: str, per_step: int) -> None:
    """Heun spends two, and one on the last step to clean data."""
    calls, schedule = list[float](), Linear()

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        calls.append(t.item())
        return gaussian(schedule)(x, t)

    x = torch.ones(1, 1, dtype=torch.float64)
    last(sampler(name).steps(denoise, x, Uniform()(10, schedule), schedule, lambda _: x))
    assert len(calls) == 10 * per_step - (per_step - 1)
    assert min(calls) > 0


def test_one_step_of_any_sampler_to_clean_data_is_the_denoiser() -> None:
    x, schedule = torch.tensor([[0.4]], dtype=torch.float64), RectifiedFlow()
    for method in VARIANTS:
        made = last(method.steps(gaussian(schedule, mean=0.3), x, Uniform()(1, schedule), schedule, lambda _: x))
        assert made.x.item() == pytest.approx(0.3, abs=1e-15)


def test_a_grid_that_turns_round_is_a_bug() -> None:
    times = torch.tensor([1.0, 0.3, 0.5, 0.0], dtype=torch.float64)
    with pytest.raises(AssertionError, match="monotone"):
        next(DpmPp().steps(gaussian(Linear()), torch.ones(1, 1), times, Linear(), no_noise))


def test_churn_only_where_it_is_asked_for() -> None:
    schedule, drawn = Linear(), list[int]()
    x, times = torch.ones(1, 1, dtype=torch.float64), Uniform()(10, schedule)

    def noise(index: int) -> Tensor:
        drawn.append(index)
        return x

    method = Heun(churn=5.0, churn_min=0.5, churn_max=5.0)
    last(method.steps(gaussian(schedule), x, times, schedule, noise))
    ratio = [math.exp(-v) for v in schedule.half_logsnr(times[:-1]).tolist()]
    assert drawn == [k for k, v in enumerate(ratio) if 0.5 <= v <= 5.0]
