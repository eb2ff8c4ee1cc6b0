"""Posterior sampling where the posterior is known: Gaussian data and linear measurements, in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from analytic import SCHEDULES, gaussian, no_noise
from carrara.noise import Cosine, Schedule, VarianceExploding
from carrara.sample import (
    Ddpm,
    DpmPp,
    Dps,
    Masking,
    Measurement,
    MeasurementLikelihood,
    PiGdm,
    Uniform,
    blurred,
    downscaled,
    greyed,
    last,
    measured,
)
from carrara.sample.decoded import conjugate
from carrara.seeds import Draws
from carrara.types import DenoiseFn

STD, MEAN, NOISE = 0.5, 0.2, 0.1
TASKS: dict[str, Callable[[tuple[int, int, int]], Measurement]] = {
    "upscale": lambda shape: downscaled(shape, 2),
    "deblur": lambda shape: blurred(shape, 1.0),
    "colour": greyed,
    "inpaint": lambda shape: Masking(torch.arange(shape[1] * shape[2]).reshape(1, *shape[1:]) % 5 > 1),
}


class Problem:
    """A measurement of Gaussian data, and the exact posterior."""

    def __init__(self, task: str, side: int = 8) -> None:
        self.shape = (3, side, side)
        self.measure = TASKS[task](self.shape)
        draws = Draws(seed=0, samples=torch.arange(1))
        seen = self.measure(MEAN + STD * draws.normal("truth", *self.shape).double())
        self.y = seen + NOISE * draws.normal("measurement", *seen.shape[1:]).double()

    def matrix(self) -> Tensor:
        units = torch.eye(3 * self.shape[1] ** 2, dtype=torch.float64).reshape(-1, *self.shape)
        return self.measure(units).flatten(1).T

    def posterior(self) -> tuple[Tensor, Tensor]:
        """Mean (n,) and covariance (n, n)."""
        a = self.matrix()
        eye = torch.eye(a.shape[1], dtype=torch.float64)
        gain = STD**2 * a.T @ torch.linalg.inv(STD**2 * a @ a.T + NOISE**2 * torch.eye(len(a), dtype=torch.float64))
        return MEAN + gain @ (self.y.flatten() - a.sum(1) * MEAN), STD**2 * (eye - gain @ a)

    def denoiser(self, likelihood: MeasurementLikelihood, schedule: Schedule) -> DenoiseFn:
        prior = gaussian(schedule, STD, MEAN)
        return measured(prior, self.y, self.measure, schedule, likelihood=likelihood, noise=NOISE)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_pigdm_is_the_denoiser_of_the_posterior(task: str, name: str) -> None:
    """E[x0 | x_t, y], by the rules of Gaussians, at all noise levels where the state says something."""
    schedule, problem = SCHEDULES[name], Problem(task)
    mean, covariance = problem.posterior()
    denoise = problem.denoiser(PiGdm(spread=STD), schedule)
    for t in (0.05, 0.3, 0.6, 0.9):
        time = torch.tensor(t, dtype=torch.float64)
        alpha, sigma = schedule(time)
        x = (alpha + sigma) * torch.cos(torch.arange(len(mean)).double())
        state = alpha**2 * covariance + sigma**2 * torch.eye(len(mean), dtype=torch.float64)
        wanted = mean + alpha * covariance @ torch.linalg.solve(state, x - alpha * mean)
        made = denoise(x.reshape(1, *problem.shape), time).flatten()
        torch.testing.assert_close(made, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("task", TASKS)
def test_pigdm_samples_have_the_posteriors_mean_and_covariance(task: str) -> None:
    """Without sampling error: this sampler is affine here, and is fed zero and each unit of noise."""
    problem = Problem(task)
    mean, covariance = problem.posterior()
    times = Uniform()(50, Cosine())
    sigma = Cosine()(times[0])[1]
    units = sigma * torch.eye(len(mean), dtype=torch.float64)
    x = torch.cat([torch.zeros_like(units[:1]), units]).reshape(-1, *problem.shape)
    denoise = problem.denoiser(PiGdm(spread=STD), Cosine())
    made = last(DpmPp().steps(denoise, x, times, Cosine(), no_noise)).x.flatten(1)
    assert (made[0] - mean).norm() < 0.01 * (mean - MEAN).norm()
    response = (made[1:] - made[0]).T
    error = response @ response.T - covariance
    assert torch.linalg.matrix_norm(error, 2) < 0.01 * torch.linalg.matrix_norm(covariance, 2)


@pytest.mark.parametrize("task", ["upscale", "colour", "inpaint"])
def test_dps_samples_have_the_posteriors_mean_within_5_percent(task: str) -> None:
    """Of the way that the measurement moves it; noise comes in opposite pairs, whose errors of the mean cancel."""
    problem, steps = Problem(task, side=16), 100
    draws = Draws(seed=1, samples=torch.arange(8))

    def opposite(step: int) -> Tensor:
        noise = draws.at(step).normal("noise", *problem.shape).double()
        return torch.cat([noise, -noise])

    denoise = problem.denoiser(Dps(), Cosine())
    made = last(Ddpm().steps(denoise, opposite(steps), Uniform()(steps, Cosine()), Cosine(), opposite)).x
    mean, _ = problem.posterior()
    assert (made.mean(0).flatten() - mean).norm() < 0.05 * (mean - MEAN).norm()


def test_latents_are_measured_through_their_decoder() -> None:
    """Latents twice as large as the pictures, in twice the noise, are the same problem."""
    problem, schedule = Problem("deblur"), VarianceExploding()
    sigma = torch.tensor(0.7, dtype=torch.float64)
    t, later = (schedule.time_of(-torch.log(value)) for value in (sigma, 2 * sigma))
    x = torch.sin(torch.arange(192.0, dtype=torch.float64)).reshape(1, *problem.shape)
    prior = gaussian(schedule, 2 * STD, 2 * MEAN)
    rule = Dps()
    made = measured(prior, problem.y, problem.measure, schedule, likelihood=rule, noise=NOISE, decode=lambda z: z / 2)(
        2 * x, later
    )
    torch.testing.assert_close(made / 2, problem.denoiser(rule, schedule)(x, t), rtol=1e-6, atol=1e-7)


def through(problem: Problem, schedule: Schedule, decode: Callable[[Tensor], Tensor]) -> DenoiseFn:
    """What is restored through a decoder of whitened Gaussian latents."""
    prior, rule = gaussian(schedule, 1.0, 0.0), PiGdm(spread=STD)
    return measured(prior, problem.y, problem.measure, schedule, likelihood=rule, noise=NOISE, decode=decode)


@pytest.mark.parametrize("task", TASKS)
def test_pigdm_through_a_linear_decoder_has_the_posteriors_mean(task: str) -> None:
    """x = D z of whitened latents: with D D^T = d^2 I its estimates are exact, and 50 steps end within 5 %."""
    problem, schedule = Problem(task), Cosine()
    units = Draws(seed=2, samples=torch.arange(1)).normal("decoder", 192, 192)[0].double()
    decoder = STD * torch.linalg.qr(units).Q
    a, noise = problem.matrix() @ decoder, NOISE**2 * torch.eye(problem.y.numel(), dtype=torch.float64)
    wanted = a.T @ torch.linalg.solve(a @ a.T + noise, problem.y.flatten())
    denoise = through(problem, schedule, lambda z: (z.flatten(1) @ decoder.T).reshape(-1, *problem.shape))
    start = torch.zeros(1, *problem.shape, dtype=torch.float64)
    made = last(DpmPp().steps(denoise, start, Uniform()(50, schedule), schedule, no_noise)).x.flatten()
    assert (made - wanted).norm() < 0.05 * wanted.norm()


@pytest.mark.parametrize("task", ["upscale", "colour", "inpaint"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_pigdm_through_a_decoder_of_two_gains_is_the_denoiser_of_the_posterior(task: str, name: str) -> None:
    """x = g z: iterations of conjugate gradients are exact once they are as many as S has eigenvalues, at all noise."""
    schedule, problem = SCHEDULES[name], Problem(task)
    gains = torch.tensor([0.2, 1.5, 1.5], dtype=torch.float64)[:, None, None]
    a = problem.matrix() * gains.expand(problem.shape).flatten()
    eye = torch.eye(a.shape[1], dtype=torch.float64)
    known = a.T @ a / NOISE**2 + eye
    denoise = through(problem, schedule, lambda z: gains * z)
    for t in (0.05, 0.5, 0.999):
        time = torch.tensor(t, dtype=torch.float64)
        alpha, sigma = schedule(time)
        x = torch.cos(torch.arange(len(eye)).double())
        wanted = torch.linalg.solve(
            known + alpha**2 / sigma**2 * eye, a.T @ problem.y.flatten() / NOISE**2 + alpha / sigma**2 * x
        )
        made = denoise(x.reshape(1, *problem.shape), time).flatten()
        torch.testing.assert_close(made, wanted, rtol=1e-6, atol=1e-6)


def test_conjugate_gradients_solve_each_sample_by_itself() -> None:
    """In as many iterations as there are unknowns, and no further step once all is solved."""
    root = torch.sin(torch.arange(32.0, dtype=torch.float64) ** 2).reshape(2, 4, 4)
    matrix = root @ root.mT + torch.eye(4)
    b = torch.tensor([[1.0, 2, 3, 4], [0, 0, 0, 0]], dtype=torch.float64)
    for iterations in (4, 9):
        x = conjugate(lambda v: (matrix @ v[:, :, None])[:, :, 0], b, lambda v: v / 2, iterations)
        torch.testing.assert_close(x, torch.linalg.solve(matrix, b), rtol=1e-9, atol=1e-12)


def test_gradients_do_not_leak_and_samples_do_not_mix() -> None:
    problem, t = Problem("upscale"), torch.tensor(0.5)
    x = torch.sin(torch.arange(2 * 192.0)).reshape(2, *problem.shape)
    with torch.no_grad():
        both = problem.denoiser(Dps(), Cosine())(x, t)
        alone = problem.denoiser(Dps(), Cosine())(x[1:], t)
    assert not both.requires_grad and both.dtype == torch.float32
    torch.testing.assert_close(both[1:], alone)


@pytest.mark.parametrize("wrong", [lambda: PiGdm(spread=0.0), lambda: Dps(weight=-1.0)])
def test_what_makes_no_sense_is_refused(wrong: Callable[[], MeasurementLikelihood]) -> None:
    with pytest.raises(ValueError, match="positive"):
        wrong()
