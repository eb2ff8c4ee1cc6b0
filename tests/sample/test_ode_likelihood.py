"""The probability flow's density against exact ones, and against what no density can escape: it integrates to 1."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from analytic import SCHEDULES, gaussian, level, order
from carrara.noise import Cosine, Linear, RectifiedFlow, Schedule, VarianceExploding, bits_per_dim
from carrara.sample import dequantized, first_level, log_density, rademacher
from carrara.seeds import Draws
from carrara.types import DenoiseFn

LEAKLESS = [Linear(), Linear(zero_terminal_snr=True), Cosine(), RectifiedFlow(), VarianceExploding()]


@dataclass(frozen=True)
class Blobs:
    """A mixture of round Gaussians in a plane, whose mean is 0: any other would leave a trace in x_1."""

    means: Sequence[Sequence[float]] = ((-0.8, -0.4), (0.6, 1.4), (1.1, -1.1))
    stds: Sequence[float] = (0.25, 0.5, 0.35)
    weights: Sequence[float] = (0.5, 0.3, 0.2)

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        m, s, w = (torch.tensor(v).double() for v in (self.means, self.stds, self.weights))
        return m, s, w

    def log_density(self, y: Tensor, sigma: float) -> Tensor:
        """Of the data with noise added."""
        m, s, w = self.tensors
        variance = s**2 + sigma**2
        squares = (y[:, None] - m).square().sum(-1)
        return torch.logsumexp(w.log() - torch.log(2 * math.pi * variance) - 0.5 * squares / variance, dim=1)

    def denoiser(self, schedule: Schedule) -> DenoiseFn:
        m, s, w = self.tensors

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            alpha, sigma = level(schedule, t.item())
            variance = alpha**2 * s**2 + sigma**2
            off = x[:, None] - alpha * m
            gamma = torch.softmax(w.log() - torch.log(variance) - 0.5 * off.square().sum(-1) / variance, dim=1)
            centres = (alpha * s**2)[:, None] * x[:, None] + sigma**2 * m
            return (gamma[..., None] * centres / variance[:, None]).sum(1)

        return denoise


BLOBS = Blobs()
PLACES = torch.cartesian_prod(torch.linspace(-2, 2, 6), torch.linspace(-2, 2, 6)).double()


def normal(std: float, y: Tensor) -> Tensor:
    """ln N(y; 0, std^2 I)."""
    return (-0.5 * (y / std).square() - math.log(std) - 0.5 * math.log(2 * math.pi)).sum(1)


def bits_off(found: Tensor, truth: Tensor, dimensions: int) -> float:
    return bits_per_dim(found - truth, dimensions).abs().max().item()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("std", [0.5, 1.0, 2.0])
def test_the_flow_of_gaussian_data(name: str, std: float) -> None:
    """It is linear, so what it makes of N(0, I) is known, for a schedule that leaks as well."""
    schedule, sigma = SCHEDULES[name], first_level(SCHEDULES[name])
    y = std * torch.linspace(-3, 3, 14, dtype=torch.float64).reshape(7, 2)
    found = log_density(gaussian(schedule, std), y, schedule)
    alpha_1, sigma_1 = level(schedule, 1.0)
    end = ((alpha_1 * std) ** 2 + sigma_1**2) / (alpha_1**2 + sigma_1**2)
    scale = math.sqrt(end.item() / (std**2 + sigma**2))
    truth = normal(1 / scale, y)
    assert bits_off(found.log_density, truth, 2) < 1e-4
    torch.testing.assert_close(found.latent, scale * y, rtol=1e-4, atol=0)


@pytest.mark.parametrize("schedule", LEAKLESS, ids=repr)
@pytest.mark.parametrize("std", [0.5, 1.0, 2.0])
def test_the_density_of_gaussian_data(schedule: Schedule, std: float) -> None:
    y = std * torch.linspace(-2, 2, 14, dtype=torch.float64).reshape(7, 2)
    found = log_density(gaussian(schedule, std), y, schedule, sigma_min=0.01)
    truth = normal(math.sqrt(std**2 + 1e-4), y)
    assert bits_off(found.log_density, truth, 2) < 1e-3


@pytest.mark.parametrize("schedule", LEAKLESS, ids=repr)
def test_the_density_of_a_mixture(schedule: Schedule) -> None:
    found = log_density(BLOBS.denoiser(schedule), PLACES, schedule, sigma_min=0.01)
    truth = BLOBS.log_density(PLACES, 0.01)
    near = truth > -12  # further out what counts is the last trace of the data's covariance in x_1
    assert int(near.sum()) > 20
    assert bits_off(found.log_density[near], truth[near], 2) < 1e-3


def test_the_method_s_order_is_four() -> None:
    schedule = RectifiedFlow()
    truth = BLOBS.log_density(PLACES, 0.01)

    def error(steps: int) -> float:
        found = log_density(BLOBS.denoiser(schedule), PLACES, schedule, sigma_min=0.01, steps=steps)
        return (found.log_density - truth).abs().mean().item()

    assert 3.7 < order(error, (32, 64, 128)) < 4.5


@pytest.mark.parametrize("name", SCHEDULES)
def test_whatever_the_denoiser_the_density_integrates_to_one(name: str) -> None:
    """A denoiser of no data at all."""
    schedule = SCHEDULES[name]

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = level(schedule, t.item())
        return 0.3 + torch.tanh(alpha * x / (alpha**2 + sigma**2) + 0.4 * torch.sin(2 * x / (1 + sigma)))

    y = torch.linspace(-40, 40, 16_001, dtype=torch.float64)[:, None]
    found = log_density(denoise, y, schedule, sigma_min=0.1, steps=100)
    assert torch.trapezoid(found.log_density.exp(), y[:, 0]).item() == pytest.approx(1, abs=1e-4)
    mass = torch.cumulative_trapezoid(found.log_density.exp(), y[:, 0])
    torch.testing.assert_close(mass, torch.special.ndtr(found.latent[1:, 0]), rtol=0, atol=1e-4)


def test_random_signs_have_the_trace_on_average() -> None:
    count, y = 2000, torch.tensor([[0.1, 0.3]]).double()
    denoise = BLOBS.denoiser(Cosine())
    exact = log_density(denoise, y, Cosine(), sigma_min=0.01, steps=16).log_density.item()
    draws = Draws(0, torch.arange(count))
    spreads = list[float]()
    for probes in (1, 4):
        signs = rademacher(draws, (2,), probes)
        found = log_density(denoise, y.expand(count, 2), Cosine(), sigma_min=0.01, steps=16, probes=signs)
        error = found.log_density.std().item() / math.sqrt(count)
        assert found.log_density.mean().item() == pytest.approx(exact, abs=4 * error)
        spreads.append(found.log_density.std().item())
    assert spreads[0] > 0.05
    assert spreads[1] == pytest.approx(spreads[0] / 2, rel=0.15)


def test_where_dimensions_are_independent_any_signs_are_exact() -> None:
    y = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(2, 3, 2, 2)
    exact = log_density(gaussian(Linear(), 0.5), y, Linear())
    found = log_density(gaussian(Linear(), 0.5), y, Linear(), probes=rademacher(Draws(0, torch.arange(2)), (3, 2, 2)))
    torch.testing.assert_close(found.log_density, exact.log_density)
    torch.testing.assert_close(found.latent, exact.latent)


def test_random_signs_are_signs_each_sample_s_own() -> None:
    signs = rademacher(Draws(0, torch.arange(500)), (3, 2), 4)
    assert signs.shape == (4, 500, 3, 2)
    assert bool((signs.abs() == 1).all())
    assert abs(signs.mean().item()) < 4 / math.sqrt(signs.numel())
    assert torch.equal(rademacher(Draws(0, torch.tensor([7])), (3, 2), 4)[:, 0], signs[:, 7])


def test_one_sample_is_as_likely_alone_and_no_graph_is_left() -> None:
    denoise = BLOBS.denoiser(Cosine())
    together, alone = (log_density(denoise, y, Cosine()) for y in (PLACES, PLACES[3:4]))
    torch.testing.assert_close(together.log_density[3:4], alone.log_density)
    assert not together.log_density.requires_grad and not together.latent.requires_grad
    with torch.no_grad():
        assert torch.equal(log_density(denoise, PLACES, Cosine()).log_density, together.log_density)


def test_levels_become_a_density_that_is_uniform_in_each_bin() -> None:
    x = torch.full((4000, 2), -1 + 2 * 30 / 255)
    spread = (dequantized(x, Draws(0, torch.arange(4000))) - x) * 127.5
    assert spread.abs().max() < 0.5 + 1e-4
    assert spread.mean().item() == pytest.approx(0, abs=4 / math.sqrt(12 * 8000))
    assert spread.var().item() == pytest.approx(1 / 12, rel=0.05)


@pytest.mark.parametrize(
    ("schedule", "first"),
    [(Linear(), 0.010000500), (RectifiedFlow(), 0.002), (VarianceExploding(), 0.002)],
)
def test_where_data_begin(schedule: Schedule, first: float) -> None:
    """Linear: sqrt(beta / (1 - beta)) for the first beta."""
    assert first_level(schedule) == pytest.approx(first, rel=1e-6)


@pytest.mark.parametrize(("sigma_min", "steps"), [(0.001, 8), (0.0, 8), (0.01, 0)])
def test_what_no_flow_is(sigma_min: float, steps: int) -> None:
    schedule = VarianceExploding()
    with pytest.raises(ValueError, match="a flow takes 1 step or more"):
        log_density(gaussian(schedule, 1.0), PLACES, schedule, sigma_min=sigma_min, steps=steps)
