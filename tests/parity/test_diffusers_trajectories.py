"""Every state on the way, where diffusers keeps states in another form: x / alpha, or before a correction.

``test_diffusers_samplers`` compares the states of DDIM, DDPM, DPM-Solver++ and its stochastic form as they are.
"""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_diffusers_samplers import FIRST_STATE, SCHEDULES, STEPS, network, noise, ours
from torch import Tensor

from analytic import mixture
from carrara.noise import DiscreteSchedule, RectifiedFlow
from carrara.sample import Euler, EulerAncestral, Heun, Lms, Trailing, UniPC

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # diffusers' own, while it is imported
    diffusers = pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.kind)
every_length = pytest.mark.parametrize("steps", STEPS)
RELATIVE = 1e-4


def agree(mine: list[Tensor], others: list[Tensor]) -> None:
    """Each state, relative to its largest value."""
    for k, (a, b) in enumerate(zip(mine, others, strict=True)):
        assert (a - b).abs().max() <= RELATIVE * b.abs().max(), f"state {k + 1}"


def scheduler_of(name: str, schedule: DiscreteSchedule, steps: int, prediction: str = "sample", **options: Any) -> Any:
    betas = {"beta_start": schedule.beta_start, "beta_end": schedule.beta_end, "beta_schedule": schedule.kind}
    made = getattr(diffusers, name)(timestep_spacing="trailing", prediction_type=prediction, **betas, **options)
    made.set_timesteps(steps)
    return made


def over_alpha(
    scheduler: Any, schedule: DiscreteSchedule, answer: Callable[[Tensor, Tensor, float], Tensor], **call: Any
) -> list[Tensor]:
    """Their states after each call, brought from x / alpha to x at the next call's time.

    Args:
        answer: (x / alpha, x0, sigma / alpha) -> what the network is taken to have said.
    """
    times = [*((scheduler.timesteps.double() + 1) / 1000), torch.tensor(0.0, dtype=torch.float64)]
    alphas = [schedule(t)[0].float() for t in times]
    x, states = FIRST_STATE / alphas[0], list[Tensor]()
    for k, t in enumerate(scheduler.timesteps):
        alpha, sigma = schedule(times[k])
        said = answer(x, network(schedule)(alphas[k] * x, times[k]), float(sigma / alpha))
        scheduler.scale_model_input(x, t)
        told = {"generator": torch.Generator().manual_seed(k)} if call.get("noisy") else {}
        x = scheduler.step(said, t, x, **told).prev_sample
        states.append(alphas[k + 1] * x)
    return states


def sample(x: Tensor, x0: Tensor, sigma: float) -> Tensor:
    return x0


def eps(x: Tensor, x0: Tensor, sigma: float) -> Tensor:
    return ((x.double() - x0) / sigma).float()


@every_schedule
@every_length
def test_euler(schedule: DiscreteSchedule, steps: int) -> None:
    scheduler = scheduler_of("EulerDiscreteScheduler", schedule, steps)
    agree(ours(Euler(), schedule, Trailing(), steps), over_alpha(scheduler, schedule, sample))


@every_schedule
@every_length
def test_euler_ancestral(schedule: DiscreteSchedule, steps: int) -> None:
    """Theirs takes no prediction of x0, so it is told the noise in x."""
    scheduler = scheduler_of("EulerAncestralDiscreteScheduler", schedule, steps, "epsilon")
    agree(ours(EulerAncestral(), schedule, Trailing(), steps), over_alpha(scheduler, schedule, eps, noisy=True))


@every_schedule
@every_length
def test_heun(schedule: DiscreteSchedule, steps: int) -> None:
    """Theirs is called twice a step, but for the last one: every second state is one of ours."""
    scheduler = scheduler_of("HeunDiscreteScheduler", schedule, steps)
    states = over_alpha(scheduler, schedule, sample)
    assert len(states) == 2 * steps - 1
    agree(ours(Heun(), schedule, Trailing(), steps), [*states[1::2], states[-1]])


@every_schedule
@every_length
def test_lms(schedule: DiscreteSchedule, steps: int) -> None:
    scheduler = scheduler_of("LMSDiscreteScheduler", schedule, steps)
    agree(ours(Lms(), schedule, Trailing(), steps), over_alpha(scheduler, schedule, sample))


def corrected(schedule: DiscreteSchedule, steps: int, order: int) -> list[Tensor]:
    """UniPC's states: a call first corrects the state that the last one predicted."""
    scheduler = scheduler_of("UniPCMultistepScheduler", schedule, steps, solver_order=order)
    x, states = FIRST_STATE, list[Tensor]()
    for t in scheduler.timesteps:
        x0 = network(schedule)(x, (t.double() + 1) / 1000)
        x = scheduler.step(x0, t, x).prev_sample
        states.append(scheduler.last_sample)
    return [*states[1:], x]


@every_schedule
@every_length
@pytest.mark.parametrize("order", [1, 2])
def test_unipc(schedule: DiscreteSchedule, steps: int, order: int) -> None:
    agree(ours(UniPC(order=order), schedule, Trailing(), steps), corrected(schedule, steps, order))


@every_schedule
@pytest.mark.parametrize("steps", [20, 50])
def test_unipc_of_order_3_is_lowered_by_theirs(schedule: DiscreteSchedule, steps: int) -> None:
    """The same until two steps before the end, where theirs goes on with order 2, and ours with 3."""
    mine, others = ours(UniPC(order=3), schedule, Trailing(), steps), corrected(schedule, steps, 3)
    agree(mine[:-2], others[:-2])
    assert (mine[-2] - others[-2]).abs().max() > 1e-6


@pytest.mark.parametrize("shift", [1.0, 3.0])
@every_length
def test_euler_of_a_flow(shift: float, steps: int) -> None:
    """Theirs is told the velocity, eps - x0, and times on the line, which it shifts itself."""
    schedule = RectifiedFlow(shift=shift)
    denoise = mixture(schedule, (-0.6, 0.7), (0.3, 0.2), (0.4, 0.6))
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    mine = [step.x for step in Euler().steps(denoise, FIRST_STATE, times, schedule, noise)]
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=times[:-1].tolist())
    x, states = FIRST_STATE, list[Tensor]()
    for k, t in enumerate(scheduler.timesteps):
        _, sigma = schedule(times[k])
        velocity = (x.double() - denoise(x, times[k])) / sigma
        x = scheduler.step(velocity.float(), t, x).prev_sample
        states.append(x)
    agree(mine, states)
