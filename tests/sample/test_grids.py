"""Where samplers stop."""

import pytest
import torch

from analytic import SCHEDULES
from carrara.errors import UserError
from carrara.noise import Linear, RectifiedFlow, Schedule, VarianceExploding
from carrara.sample import GRIDS, Karras, Leading, Quadratic, TimeGrid, Trailing, Uniform, grid

every_grid = pytest.mark.parametrize("g", [cls() for cls in GRIDS.values()], ids=GRIDS)


def test_names() -> None:
    assert list(GRIDS) == ["uniform", "trailing", "leading", "quadratic", "karras"]
    assert grid("karras", rho=5.0) == Karras(rho=5.0)
    with pytest.raises(UserError, match=r"unknown time grid 'kara'.*Did you mean 'karras'\?"):
        grid("kara")


@every_grid
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_decreasing_from_noise_to_data(g: TimeGrid, schedule: Schedule) -> None:
    for steps in (1, 2, 3, 10, 50, 250):
        times = g(steps, schedule)
        assert times.shape == (steps + 1,)
        assert times.dtype == torch.float64
        assert bool((times.diff() < 0).all())
        assert times[-1] == 0
        assert 0 < times[0] <= 1


@every_grid
def test_at_least_one_step(g: TimeGrid) -> None:
    with pytest.raises(UserError, match="at least 1 step, got steps=0"):
        g(0, Linear())


@pytest.mark.parametrize("g", [Trailing(), Leading()], ids=lambda g: g.kind)
def test_training_grids_have_no_more_steps_than_training(g: TimeGrid) -> None:
    every = torch.arange(1000, -1, -1, dtype=torch.float64) / 1000
    torch.testing.assert_close(g(1000, Linear()), every, rtol=0, atol=1e-15)
    with pytest.raises(UserError, match="has no 1001 different times"):
        g(1001, Linear())


def test_the_papers_examples() -> None:
    """Lin et al. (2024), table 2, in steps 1 ... T: leading 1, 101, ..., 901 and trailing 100, 200, ..., 1000."""
    assert (Leading()(10, Linear()) * 1000).round().tolist() == [*range(901, 0, -100), 0]
    assert (Trailing()(10, Linear()) * 1000).round().tolist() == [*range(1000, -1, -100)]
    assert Uniform()(4, Linear()).tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert Quadratic()(4, Linear()).tolist() == [1, 0.5625, 0.25, 0.0625, 0]


def test_grids_that_do_not_divide_stay_on_training_steps() -> None:
    for g in (Leading(), Trailing()):
        steps = g(7, Linear()) * 1000
        torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-10)


def test_karras_on_its_own_schedule_is_uniform() -> None:
    torch.testing.assert_close(
        Karras()(18, VarianceExploding()), Uniform()(18, VarianceExploding()), rtol=0, atol=1e-12
    )


def test_karras_limits_infinite_ends() -> None:
    """Equal steps of (sigma / alpha)^(1 / 7) from 80 to 0.002, then one step to clean data."""
    flow = RectifiedFlow()
    times = Karras()(11, flow)
    ratio = torch.exp(-flow.half_logsnr(times[:-1]))
    assert ratio[0].item() == pytest.approx(80, rel=1e-9)
    assert ratio[-1].item() == pytest.approx(0.002, rel=1e-9)
    gaps = (ratio ** (1 / 7)).diff()
    torch.testing.assert_close(gaps, gaps[:1].expand(10), rtol=1e-9, atol=0)


def test_karras_begins_at_the_end_of_a_schedule_that_stops_early() -> None:
    schedule = VarianceExploding(sigma_min=0.01, sigma_max=20.0)
    times = Karras()(5, schedule)
    assert times[0] == 1
    ratio = schedule(times)[1]
    assert [ratio[0].item(), ratio[-1].item()] == pytest.approx([20, 0.01])
    with pytest.raises(ValueError, match="sigma_min < sigma_max"):
        Karras(sigma_min=2.0, sigma_max=1.0)
