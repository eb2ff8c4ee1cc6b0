"""The same network, noise and times through diffusers' schedulers give the same states."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from analytic import mixture
from carrara.noise import DiscreteSchedule, Linear, ScaledLinear, Variance
from carrara.sample import (
    Ddim,
    Ddpm,
    DpmPp,
    DpmPpSde,
    Euler,
    Heun,
    Leading,
    Sampler,
    TimeGrid,
    Trailing,
    UniPC,
)
from carrara.types import DenoiseFn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # diffusers' own, while it is imported
    diffusers = pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")

SCHEDULES: list[DiscreteSchedule] = [Linear(), ScaledLinear()]
STEPS = (5, 20, 50)

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.kind)
every_length = pytest.mark.parametrize("steps", STEPS)


def noise(index: int) -> Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(index))


FIRST_STATE = noise(10**6)


def network(schedule: DiscreteSchedule) -> DenoiseFn:
    return mixture(schedule, (-0.6, 0.7), (0.3, 0.2), (0.4, 0.6))


def ours(sampler: Sampler, schedule: DiscreteSchedule, grid: TimeGrid, steps: int) -> list[Tensor]:
    """Our states after each step."""
    made = sampler.steps(network(schedule), FIRST_STATE, grid(steps, schedule), schedule, noise)
    return [step.x for step in made]


def theirs(
    name: str,
    schedule: DiscreteSchedule,
    grid: TimeGrid,
    steps: int,
    *,
    call: Callable[[int], Mapping[str, Any]] = lambda _: {},
    over_alpha: bool = False,
    **options: Any,
) -> list[Tensor]:
    """Their states after each call, with the keywords ``call(k)``; ``over_alpha`` if they keep x / alpha."""
    betas = {"beta_start": schedule.beta_start, "beta_end": schedule.beta_end, "beta_schedule": schedule.kind}
    scheduler = getattr(diffusers, name)(timestep_spacing=grid.kind, prediction_type="sample", **betas, **options)
    scheduler.set_timesteps(steps)
    times = (scheduler.timesteps.double() + 1) / 1000
    frame = schedule(times)[0].float() if over_alpha else torch.ones(len(times))
    x, states = FIRST_STATE / frame[0], list[Tensor]()
    for k, t in enumerate(scheduler.timesteps):
        x0 = network(schedule)(frame[k] * x, times[k])
        x = scheduler.step(x0, t, x, **call(k)).prev_sample
        states.append(x)
    return states


def agree(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)


@every_schedule
@every_length
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim(schedule: DiscreteSchedule, steps: int, eta: float) -> None:
    reference = theirs(
        "DDIMScheduler",
        schedule,
        Leading(),
        steps,
        clip_sample=False,
        call=lambda k: {"eta": eta, "variance_noise": noise(k)},
    )
    agree(ours(Ddim(eta=eta), schedule, Leading(), steps), reference)


@every_schedule
@every_length
@pytest.mark.parametrize(("variance", "their_name"), [("beta", "fixed_large"), ("beta_tilde", "fixed_small")])
def test_ddpm(schedule: DiscreteSchedule, steps: int, variance: Variance, their_name: str) -> None:
    reference = theirs(
        "DDPMScheduler",
        schedule,
        Leading(),
        steps,
        clip_sample=False,
        variance_type=their_name,
        call=lambda k: {"generator": torch.Generator().manual_seed(k)},
    )
    agree(ours(Ddpm(variance=variance), schedule, Leading(), steps), reference)


@every_schedule
@every_length
def test_dpm_solver_pp(schedule: DiscreteSchedule, steps: int) -> None:
    reference = theirs("DPMSolverMultistepScheduler", schedule, Trailing(), steps, algorithm_type="dpmsolver++")
    agree(ours(DpmPp(), schedule, Trailing(), steps), reference)


@every_schedule
@every_length
def test_dpm_solver_pp_sde(schedule: DiscreteSchedule, steps: int) -> None:
    reference = theirs(
        "DPMSolverMultistepScheduler",
        schedule,
        Trailing(),
        steps,
        algorithm_type="sde-dpmsolver++",
        call=lambda k: {"variance_noise": noise(k)},
    )
    agree(ours(DpmPpSde(), schedule, Trailing(), steps), reference)


@every_schedule
@every_length
@pytest.mark.parametrize("order", [1, 2])
def test_unipc(schedule: DiscreteSchedule, steps: int, order: int) -> None:
    """Their states are predictions, ours are corrected, so the ends compare. Order 3 they lower near the end."""
    reference = theirs("UniPCMultistepScheduler", schedule, Trailing(), steps, solver_order=order)
    agree(ours(UniPC(order=order), schedule, Trailing(), steps)[-1:], reference[-1:])


@every_schedule
@every_length
@pytest.mark.parametrize(("method", "name"), [(Euler(), "EulerDiscreteScheduler"), (Heun(), "HeunDiscreteScheduler")])
def test_solvers_in_the_frame_x_over_alpha(schedule: DiscreteSchedule, steps: int, method: Sampler, name: str) -> None:
    """Their states are x / alpha, which is x at the end; Heun takes two calls a step there."""
    reference = theirs(name, schedule, Trailing(), steps, over_alpha=True)
    agree(ours(method, schedule, Trailing(), steps)[-1:], reference[-1:])
