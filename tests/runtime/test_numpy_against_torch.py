"""The runtime's numpy against torch: random numbers, schedules, grids, coefficients and samplers."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from carrara import noise as torch_noise
from carrara.errors import UserError
from carrara.export.onnx import _finite, _schedule
from carrara.noise import (
    X0,
    Cosine,
    Edm,
    Eps,
    Flow,
    Linear,
    RectifiedFlow,
    ScaledLinear,
    Sigmoid,
    V,
    VarianceExploding,
    Velocity,
)
from carrara.runtime import draws, noise
from carrara.runtime.card import _schedule as read_schedule
from carrara.runtime.samplers import SAMPLERS, Way, steps
from carrara.sample import Heun, Karras, Uniform, draws_for, generate
from exported import GRIDS
from exported import SAMPLERS as OURS

SCHEDULES = [
    Linear(steps=50),
    ScaledLinear(),
    Cosine(),
    Cosine(zero_terminal_snr=True),
    Sigmoid(steps=100),
    RectifiedFlow(),
    RectifiedFlow(shift=3.0),
    VarianceExploding(),
]


def spelled(one: object) -> str:
    return str(one)[:60]


def test_random_numbers_are_those_of_torch() -> None:
    seeds, shape = [0, 1, 7, -3, 2**63 - 1, -(2**63)], (3, 5, 7)
    for purpose, step in (("initial noise", 0), ("sampler noise", 17)):
        theirs = draws_for(seeds).at(step).normal(purpose, *shape).numpy()
        ours = draws.normal(seeds, purpose, shape, step)
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs).max() < 1e-5


def test_a_sample_draws_the_same_among_others() -> None:
    assert np.array_equal(draws.normal([5], "a", (4,))[0], draws.normal([1, 2, 5], "a", (4,))[2])


@pytest.mark.parametrize("schedule", SCHEDULES, ids=spelled)
def test_schedules(schedule: torch_noise.Schedule) -> None:
    times = torch.linspace(0, 1, 101, dtype=torch.float64)
    found = read_schedule(_schedule(schedule))  # type: ignore[arg-type]
    for ours, theirs in zip(found(times.numpy()), schedule(times), strict=True):
        assert np.allclose(ours, theirs.numpy(), atol=1e-12)
    assert np.allclose(
        found.time_of(np.array([-1.0, 2.0])), schedule.time_of(torch.tensor([-1.0, 2.0]).double()), atol=1e-9
    )


@pytest.mark.parametrize("schedule", SCHEDULES, ids=spelled)
@pytest.mark.parametrize("grid", GRIDS, ids=spelled)
def test_grids(grid: Uniform, schedule: torch_noise.Schedule) -> None:
    found = read_schedule(_schedule(schedule))  # type: ignore[arg-type]
    for count in (1, 7, 16, 25, 48):
        keys = {key: value for key, value in asdict(grid).items() if key != "kind"}
        ours, theirs = noise.grid(grid.kind, count, found, keys), grid(count, schedule)
        assert np.allclose(ours, theirs.numpy(), atol=1e-12), count


def test_grids_without_so_many_times_are_refused() -> None:
    with pytest.raises(UserError, match="ask for fewer steps"):
        noise.grid("trailing", 20, read_schedule(_schedule(Cosine())), {"train_steps": 10})
    with pytest.raises(UserError, match="unknown time grid"):
        noise.grid("karas", 20, read_schedule(_schedule(Cosine())))


@pytest.mark.parametrize(
    "parameterization", [Eps(), X0(), X0(told=2.3), V(), Flow(), Velocity(), Edm(sigma_data=0.7)], ids=repr
)
def test_coefficients(parameterization: Edm) -> None:
    for t in (0.03, 0.5, 0.97):
        alpha, sigma = Cosine()(torch.tensor(t, dtype=torch.float64))
        theirs = parameterization(alpha, sigma)
        data = getattr(parameterization, "sigma_data", 0.5)
        ours = noise.PARAMETERIZATIONS[parameterization.kind](float(alpha), float(sigma), data)
        assert np.allclose(ours, [theirs.skip.item(), theirs.out.item(), theirs.inp.item()], rtol=1e-12)
        assert noise.level_of(float(alpha), float(sigma), parameterization.most) == pytest.approx(
            theirs.noise_level.item()
        )


@pytest.mark.parametrize("schedule", [Cosine(), RectifiedFlow(), VarianceExploding()], ids=spelled)
@pytest.mark.parametrize("sampler", OURS, ids=spelled)
def test_samplers_walk_the_same_way(sampler: Heun, schedule: torch_noise.Schedule) -> None:
    shape, seeds, count = (2, 3, 4), [3, 4], 9
    *_, last = generate(
        lambda x, t: torch.tanh(x * (1 - t / 2)),
        shape,
        seeds,
        sampler=sampler,
        grid=Karras(),
        steps=count,
        schedule=schedule,
    )
    found = read_schedule(_schedule(schedule))  # type: ignore[arg-type]
    times = noise.grid("karras", count, found)
    way = Way(
        denoise=lambda x, t: np.tanh(x * np.float32(1 - np.float32(t) / 2)),
        times=times,
        schedule=found,
        noise=lambda k: draws.normal(seeds, "sampler noise", shape, k),
        keys=_finite(asdict(sampler)),
    )
    x = float(found(times[:1])[1][0]) * draws.normal(seeds, "initial noise", shape)
    states = list(steps(sampler.kind, x, way))
    assert len(states) == count
    assert states[-1].dtype == np.float32
    assert np.abs(states[-1] - last.x.numpy()).max() < 2e-4 * max(1, np.abs(states[-1]).max())


def test_all_of_torchs_samplers_are_there() -> None:
    from carrara.sample.catalogue import GRIDS as THEIR_GRIDS
    from carrara.sample.catalogue import SAMPLERS as THEIR_SAMPLERS

    assert SAMPLERS.keys() == THEIR_SAMPLERS.keys()
    assert noise.GRIDS.keys() == THEIR_GRIDS.keys()
    assert {one.kind for one in OURS} == SAMPLERS.keys()
