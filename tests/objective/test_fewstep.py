"""Few-step distillation: of Gaussian data the teacher's flow is known, so the exact student is, too."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from analytic import SCHEDULES
from carrara.autoencoder import Identity
from carrara.backbone import Backbone
from carrara.conditioning import LabelsConfig, UnconditionalConfig
from carrara.denoiser import Denoiser
from carrara.noise import Eps, Flow, Parameterization, Schedule, V
from carrara.objective.fewstep import TOLD, FewStepDistillation
from carrara.sample import Euler, Uniform, generate, last
from carrara.seeds import Draws
from carrara.types import UNCONDITIONAL, Batch, Conditioning

MEAN, STD = 0.3, 0.5


class Affine(Backbone):
    """F = w_k z + b_k, where k is the step whose noise level it is told."""

    def __init__(self, levels: Tensor) -> None:
        super().__init__()
        self.levels = levels
        self.w, self.b = nn.Parameter(torch.zeros(len(levels))), nn.Parameter(torch.zeros(len(levels)))

    def forward(self, x: Tensor, noise_level: Tensor, cond: Conditioning) -> Tensor:
        k = (noise_level[:, None].double() - self.levels).abs().argmin(dim=1)
        return self.w[k, None] * x + self.b[k, None] + (0.0 if cond.vector is None else cond.vector[:, :1])


def flowed(x: Tensor, schedule: Schedule, t: Tensor, s: Tensor) -> Tensor:
    """The probability flow of N(MEAN, STD^2) from t to s: every state keeps its place in the law."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
    scale = torch.sqrt((alpha_s * STD) ** 2 + sigma_s**2) / torch.sqrt((alpha_t * STD) ** 2 + sigma_t**2)
    return alpha_s * MEAN + (x - alpha_t * MEAN) * scale


def student(schedule: Schedule, parameterization: Parameterization, steps: int) -> FewStepDistillation:
    times = Uniform()(steps, schedule)
    levels = parameterization(*schedule(times[:-1])).noise_level
    denoiser = Denoiser(Affine(levels), schedule, parameterization)
    conditioner = UnconditionalConfig().build(1)
    return FewStepDistillation(first_stage=Identity(), conditioner=conditioner, denoiser=denoiser, times=times)


def solve_for(objective: FewStepDistillation, times: Tensor) -> None:
    """Sets w and b to the exact student's, from where the flow takes x = 0 and x = 1."""
    schedule, backbone = objective.denoiser.schedule, objective.denoiser.backbone
    assert isinstance(backbone, Affine)
    for k in range(objective.steps):
        t, s = times[k], times[k + 1]
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
        c = objective.denoiser.coefficients(t)
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
        x0 = (flowed(ends, schedule, t, s) - sigma_s / sigma_t * ends) / (alpha_s - sigma_s / sigma_t * alpha_t)
        f = (x0 - c.skip * ends) / c.out
        with torch.no_grad():
            backbone.b[k], backbone.w[k] = f[0], (f[1] - f[0]) / c.inp


def solutions(schedule: Schedule, times: Tensor, count: int = 64) -> Batch:
    position = torch.arange(count)
    x = schedule(times[:1])[1].item() * Draws(1, position).normal("noise", 2).double()
    states = torch.stack([flowed(x, schedule, times[0], t) for t in times], dim=1)
    return Batch(x=states.float(), position=position)


def loss(objective: FewStepDistillation, batch: Batch) -> Tensor:
    return objective(batch, "main", Draws(0, batch.position)).per_sample


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_the_exact_student_costs_nothing_and_samples_the_flow(schedule: Schedule, steps: int) -> None:
    objective, times = student(schedule, V(), steps), Uniform()(steps, schedule)
    solve_for(objective, times)
    batch = solutions(schedule, times)
    assert loss(objective, batch).max() < 1e-9
    values = objective.validate(batch, Draws(0, batch.position))
    assert set(values) == {"distance", *(f"loss@t={t:.3f}" for t in times[:-1].tolist())}
    assert all(value.max() < 1e-4 for value in values.values())

    drawn = last(
        generate(
            objective.denoiser.bind(UNCONDITIONAL),
            (2,),
            range(50),
            sampler=Euler(),
            grid=Uniform(),
            steps=steps,
            schedule=schedule,
        )
    ).x
    noise = schedule(times[:1])[1].item() * Draws(0, torch.arange(50)).normal("initial noise", 2).double()
    assert torch.allclose(drawn.double(), flowed(noise, schedule, times[0], times[-1]), atol=1e-4)

    with torch.no_grad():
        objective.denoiser.backbone.w.add_(0.1)
    assert loss(objective, batch).mean() > 1e-3


@pytest.mark.parametrize("parameterization", [V(), Flow(), Eps()], ids=lambda p: p.kind)
def test_descending_the_loss_leads_to_the_exact_student(parameterization: Parameterization) -> None:
    schedule = SCHEDULES["scaled_linear"]
    objective, exact = (student(schedule, parameterization, 4) for _ in range(2))
    times = Uniform()(4, schedule)
    solve_for(exact, times)
    batch = solutions(schedule, times)
    parameters = list(objective.roles()["main"])
    optimizer = torch.optim.LBFGS(parameters, max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        mean = loss(objective, batch).mean()
        mean.backward()
        return mean.item()

    optimizer.step(closure)
    for found, wanted in zip(parameters, exact.roles()["main"], strict=True):
        assert torch.allclose(found, wanted, atol=2e-2)


@pytest.mark.parametrize("schedule", ["cosine", "rectified_flow", "scaled_linear, zero terminal", "ve"])
def test_the_loss_is_the_plain_error_of_v(schedule: str) -> None:
    objective, times = student(SCHEDULES[schedule], V(), 2), Uniform()(2, SCHEDULES[schedule])
    solve_for(objective, times)
    with torch.no_grad():
        objective.denoiser.backbone.b.add_(torch.tensor([0.3, 0.2]))
    batch = solutions(SCHEDULES[schedule], times, 4)
    assert torch.allclose(loss(objective, batch), torch.tensor([0.09, 0.04, 0.09, 0.04]), rtol=1e-3)


def test_the_step_follows_from_the_position_and_randomness_from_nothing() -> None:
    schedule, times = SCHEDULES["cosine"], Uniform()(4, SCHEDULES["cosine"])
    objective, batch = student(schedule, V(), 4), solutions(schedule, times, 8)
    whole = loss(objective, batch)
    parts = torch.cat([loss(objective, part) for part in batch.split(3)])
    assert torch.equal(whole, parts)
    again = objective(batch, "main", Draws(7, batch.position, 9)).per_sample
    assert torch.equal(whole, again)


def test_what_was_not_told_is_not_told() -> None:
    schedule, times = SCHEDULES["cosine"], Uniform()(1, SCHEDULES["cosine"])
    plain = student(schedule, V(), 1)
    labels = LabelsConfig(classes=("a", "b")).build(3)
    with torch.no_grad():
        labels.nothing.fill_(0.5)
    objective = FewStepDistillation(first_stage=Identity(), conditioner=labels, denoiser=plain.denoiser, times=times)
    batch = solutions(schedule, times, 2)

    def cost(told: Sequence[float], label: int) -> Tensor:
        columns = {TOLD: torch.tensor(told)[:, None], "label": torch.eye(2)[[label, label]]}
        return loss(objective, Batch(x=batch.x, position=batch.position, columns=columns))

    assert torch.equal(cost([0.0, 1.0], 0)[0], cost([0.0, 1.0], 1)[0])
    assert not torch.equal(cost([0.0, 1.0], 0)[1], cost([0.0, 1.0], 1)[1])


def test_dropout_is_off() -> None:
    objective = student(SCHEDULES["cosine"], V(), 2).train()
    assert not any(module.training for module in objective.modules())
