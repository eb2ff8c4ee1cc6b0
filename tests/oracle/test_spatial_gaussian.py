"""Samplers on Gaussian curves, pictures and volumes, whose denoiser is known exactly, correlations included."""

import pytest
import torch
from torch import Tensor

from carrara.noise import Cosine, RectifiedFlow, Schedule
from carrara.sample import Ddim, Ddpm, DpmPp, Heun, Karras, Sampler, TimeGrid, Uniform, last
from carrara.seeds import Draws
from carrara.types import DenoiseFn

SHAPES = [(2, 8), (2, 4, 4), (1, 4, 3, 2)]
COUNT = 2000


def spectrum(shape: tuple[int, ...]) -> Tensor:
    """Variances over frequencies, the same for every channel: (C, *N), mean 0.3."""
    axes = torch.meshgrid(*[torch.fft.fftfreq(edge, dtype=torch.float64) for edge in shape[1:]], indexing="ij")
    power = 1 / (0.05 + sum(axis**2 for axis in axes))
    return (0.3 * power / power.mean()).expand(shape)


def filtered(x: Tensor, gain: Tensor) -> Tensor:
    """Multiplies the Fourier coefficients of (B, C, *N) by real numbers (C, *N)."""
    axes = tuple(range(2, x.ndim))
    return torch.fft.ifftn(torch.fft.fftn(x, dim=axes) * gain, dim=axes).real


def exact(schedule: Schedule, power: Tensor) -> DenoiseFn:
    """E[x0 | x_t] of x0 ~ N(1/2, K), where K is diagonal over frequencies: Wiener's filter."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = (level.item() for level in schedule(t.double()))
        gain = alpha * power / (alpha**2 * power + sigma**2)
        return 0.5 + filtered(x - alpha * 0.5, gain)

    return denoise


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("schedule", [Cosine(), RectifiedFlow()], ids=lambda schedule: schedule.kind)
@pytest.mark.parametrize(
    ("sampler", "grid", "steps"),
    [(Heun(), Karras(), 40), (DpmPp(), Uniform(), 40), (Ddim(), Uniform(), 160), (Ddpm(), Uniform(), 160)],
    ids=lambda value: getattr(value, "kind", value),
)
def test_samples_have_the_mean_and_the_spectrum_of_the_data(
    shape: tuple[int, ...], schedule: Schedule, sampler: Sampler, grid: TimeGrid, steps: int
) -> None:
    """Within 4.5 standard errors of so many samples, and 3 % for steps that are finite."""
    power, draws = spectrum(shape), Draws(0, torch.arange(COUNT))
    times = grid(steps, schedule)
    alpha, sigma = schedule(times[0])
    x = float(sigma) * draws.normal("start", *shape).double() + float(alpha) * 0.5

    def noise(k: int) -> Tensor:
        return draws.at(k).normal("noise", *shape).double()

    made = last(sampler.steps(exact(schedule, power), x, times, schedule, noise)).x
    axes = tuple(range(2, made.ndim))
    error = (power.mean() / COUNT).sqrt().item()
    assert (made.mean(0) - 0.5).abs().max().item() < 4.5 * error + 0.01
    places = made[0, 0].numel()
    found = torch.fft.fftn(made - 0.5, dim=axes).abs().square().mean(0) / places
    ratio = found / power
    assert (ratio - 1).abs().max().item() < 4.5 * (2 / COUNT) ** 0.5 + 0.03


@pytest.mark.parametrize("shape", SHAPES)
def test_the_filter_is_the_posterior_mean(shape: tuple[int, ...]) -> None:
    """Against the matrix K of the data, for one sample: K a (a^2 K + s^2)^-1."""
    schedule, power = Cosine(), spectrum(shape)[:1]
    shape = (1, *shape[1:])
    places = power.numel()
    basis = torch.eye(places, dtype=torch.float64).reshape(places, *shape)
    covariance = filtered(basis, power).reshape(places, places)
    t = torch.tensor(0.4, dtype=torch.float64)
    alpha, sigma = (level.item() for level in schedule(t))
    x = Draws(3, torch.arange(5)).normal("x", *shape).double()
    gain = alpha * covariance @ torch.linalg.inv(alpha**2 * covariance + sigma**2 * torch.eye(places).double())
    by_hand = 0.5 + (x - alpha * 0.5).reshape(5, -1) @ gain.T
    torch.testing.assert_close(exact(schedule, power)(x, t).reshape(5, -1), by_hand, rtol=1e-9, atol=1e-10)
