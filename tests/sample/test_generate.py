"""From seeds to samples."""

import pytest
import torch
from torch import Tensor

from analytic import SCHEDULES, mixture
from carrara.errors import UserError
from carrara.noise import Linear, RectifiedFlow, Schedule, VarianceExploding
from carrara.sample import DpmPp, DpmPpSde, Karras, Uniform, draws_for, generate, initial, last, noise_for

SHAPE = (3, 4, 5)


def picture(seeds: list[int], schedule: Schedule) -> Tensor:
    denoise = mixture(schedule, (-0.5, 0.5), (0.1, 0.2), (0.5, 0.5))
    steps = generate(denoise, SHAPE, seeds, sampler=DpmPpSde(), grid=Uniform(), steps=8, schedule=schedule)
    return last(steps).x


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_seed_is_a_sample(schedule: Schedule) -> None:
    together = picture([11, 12, 13], schedule)
    assert together.shape == (3, *SHAPE)
    assert together.dtype == torch.float32
    assert bool(together.isfinite().all())
    torch.testing.assert_close(picture([12], schedule)[0], together[1], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(together[0], together[1])


def test_noise_is_fresh_at_each_step_and_for_each_use() -> None:
    draws = draws_for([1])
    fresh = noise_for(draws, (1000,))
    made = torch.cat([initial(draws, (1000,), RectifiedFlow()), fresh(0), fresh(1), fresh(2)])
    assert torch.equal(fresh(1), made[2:3])
    assert (torch.corrcoef(made) - torch.eye(4)).abs().max().item() < 0.12


def test_the_first_state_has_the_schedules_noise() -> None:
    draws = draws_for([1, 2])
    unit = draws.normal("initial noise", *SHAPE)
    torch.testing.assert_close(initial(draws, SHAPE, VarianceExploding()), 80 * unit)
    torch.testing.assert_close(initial(draws, SHAPE, RectifiedFlow(), t=0.25), 0.25 * unit)


def test_a_grid_that_begins_below_1_gets_less_noise() -> None:
    """The first estimate is made from the state that belongs to the grid's first time."""
    schedule, states = VarianceExploding(sigma_max=160.0), list[Tensor]()

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        states.append(x)
        return torch.zeros_like(x)

    next(generate(denoise, (2,), [3], sampler=DpmPp(), grid=Karras(), steps=4, schedule=schedule))
    torch.testing.assert_close(states[0], 80 * draws_for([3]).normal("initial noise", 2))


def test_gradients_are_off_inside_and_untouched_outside() -> None:
    weight = torch.ones((), requires_grad=True)
    steps = generate(lambda x, t: weight * x, (2,), [0], sampler=DpmPp(), grid=Uniform(), steps=3, schedule=Linear())
    assert not next(steps).x.requires_grad
    assert torch.is_grad_enabled()


def test_too_many_steps_is_one_sentence() -> None:
    with pytest.raises(UserError, match="at least 1 step"):
        last(generate(lambda x, t: x, (2,), [0], sampler=DpmPp(), grid=Uniform(), steps=0, schedule=Linear()))
