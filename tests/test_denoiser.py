"""The denoiser: a perfect network gives the data back, whatever it predicts and wherever the noise comes from."""

import pytest
import torch
from torch import Tensor

from analytic import SCHEDULES
from carrara.backbone import Backbone, MlpConfig
from carrara.denoiser import Denoiser
from carrara.noise import (
    X0,
    Cosine,
    Edm,
    Eps,
    Flow,
    Linear,
    Parameterization,
    RectifiedFlow,
    Schedule,
    V,
    VarianceExploding,
    Velocity,
    add_noise,
)
from carrara.seeds import Draws, torch_generator
from carrara.types import UNCONDITIONAL, Conditioning

PARAMETERIZATIONS = [Eps(), X0(), V(), Flow(), Velocity(), Edm(sigma_data=0.7)]
TIMES = torch.tensor([0.02, 0.1, 0.35, 0.6, 0.85, 1.0])

every_parameterization = pytest.mark.parametrize("parameterization", PARAMETERIZATIONS, ids=lambda p: p.kind)


def ends_in_noise(schedule: Schedule) -> bool:
    return schedule(torch.ones((), dtype=torch.float64))[0].item() == 0


every_pair = pytest.mark.parametrize(
    ("schedule", "parameterization"),
    [
        pytest.param(schedule, parameterization, id=f"{name}-{parameterization.kind}")
        for name, schedule in SCHEDULES.items()
        for parameterization in PARAMETERIZATIONS
        if not (parameterization.needs_signal and ends_in_noise(schedule))
    ],
)


def normal(name: str, *shape: int) -> Tensor:
    return Draws(0, torch.arange(len(TIMES))).normal(name, *shape)


class Perfect(Backbone):
    """Knows the data and the noise, and says F* for the half log-SNR that it is told; it keeps what it was given."""

    def __init__(self, schedule: Schedule, parameterization: Parameterization, x0: Tensor, eps: Tensor) -> None:
        super().__init__()
        self.schedule, self.parameterization, self.x0, self.eps = schedule, parameterization, x0, eps
        self.asked: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, noise_level: Tensor, cond: Conditioning) -> Tensor:
        self.asked.append((x, noise_level))
        ratio = torch.exp(noise_level.double())
        norm = torch.sqrt(1 + ratio**2)
        alpha, sigma = ratio / norm, 1 / norm  # on the circle, which no target but the schedule's own scale depends on
        t = self.schedule.time_of(noise_level.double())
        scale = torch.sqrt(sum(c**2 for c in self.schedule(t)))
        return self.parameterization((alpha * scale).float(), (sigma * scale).float()).target(self.x0, self.eps)


@every_pair
def test_a_perfect_network_gives_the_data(schedule: Schedule, parameterization: Parameterization) -> None:
    x0, eps = normal("x0", 2, 3, 3), normal("eps", 2, 3, 3)
    network = Perfect(schedule, parameterization, x0, eps)
    denoiser = Denoiser(network, schedule, parameterization)
    x_t = add_noise(x0, eps, *schedule(TIMES))
    x0_hat = denoiser(x_t, TIMES, UNCONDITIONAL)
    out, skip = denoiser.coefficients(TIMES).out.abs(), denoiser.coefficients(TIMES).skip.abs()
    bound = 1e-5 * (1 + out + skip * x_t.flatten(1).abs().amax(1))
    assert bool(((x0_hat - x0).flatten(1).abs().amax(1) < bound).all())
    assert bool((torch.isfinite(x0_hat)).all())


@every_pair
def test_the_network_sees_inputs_of_order_one_and_bounded_levels(
    schedule: Schedule, parameterization: Parameterization
) -> None:
    x0, eps = normal("x0", 4096), normal("eps", 4096)
    if isinstance(parameterization, Edm):
        x0 = x0 * parameterization.sigma_data
    network = Perfect(schedule, parameterization, x0, eps)
    times = torch.tensor([0.0, 1e-6, 0.1, 0.5, 0.999, 1.0])
    Denoiser(network, schedule, parameterization)(add_noise(x0, eps, *schedule(times)), times, UNCONDITIONAL)
    ((x, level),) = network.asked
    if not isinstance(parameterization, Velocity):  # which sees states as they are
        torch.testing.assert_close(x.std(1), torch.ones(6), atol=0.06, rtol=0)
    assert bool((level.diff() <= 0).all())
    assert level.abs().max() <= 12
    assert x.dtype == level.dtype == torch.float32


@pytest.mark.parametrize("schedule", [RectifiedFlow(), Linear(zero_terminal_snr=True)], ids=repr)
def test_eps_is_refused_where_nothing_is_left_of_the_data(schedule: Schedule) -> None:
    backbone = MlpConfig(width=4, depth=1).build((2,))
    with pytest.raises(ValueError, match=r"ends in pure noise.*choose the parameterization v, x0 or flow"):
        Denoiser(backbone, schedule, Eps())
    for parameterization in PARAMETERIZATIONS[1:]:
        x0 = Denoiser(backbone, schedule, parameterization)(normal("x", 2), torch.ones(()), UNCONDITIONAL)
        assert bool(x0.isfinite().all())


def trained() -> Backbone:
    with torch_generator(0):
        net = MlpConfig(width=16, depth=2).build((6,))
        for parameter in net.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape)
    return net


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_parameterization
def test_one_time_for_all_or_one_each(dtype: torch.dtype, parameterization: Parameterization) -> None:
    """Samples are as many as they are wide: a time along the width would show. Estimates have the type of x_t."""
    denoiser = Denoiser(trained(), Cosine(), parameterization)
    x = normal("x", 6)
    times = TIMES.to(dtype) * 0.9
    each = denoiser(x, times, UNCONDITIONAL)
    assert each.dtype == torch.float32
    for k, t in enumerate(times):
        for same in (t, t.expand(6)):
            together = denoiser(x, same, UNCONDITIONAL)
            assert together.dtype == torch.float32
            torch.testing.assert_close(together[k], each[k], atol=1e-5, rtol=1e-5)


def test_bind_is_the_denoiser_with_its_condition() -> None:
    denoiser = Denoiser(trained(), VarianceExploding(), Edm())
    x, cond = normal("x", 6), Conditioning(vector=normal("c", 16))
    bound = denoiser.bind(cond)(x, torch.tensor(0.4))
    assert torch.equal(bound, denoiser(x, torch.tensor(0.4), cond))
    assert not torch.allclose(bound, denoiser(x, torch.tensor(0.4), UNCONDITIONAL))


def test_the_network_s_own_type_does_not_lower_the_coefficients() -> None:
    """Under autocast only F is rounded: at little noise the estimate is x_t / alpha to single precision."""
    denoiser = Denoiser(trained(), Cosine(), V())
    x, t = normal("x", 6), torch.tensor(0.001)
    with torch.autocast("cpu", torch.bfloat16):
        low = denoiser(x, t, UNCONDITIONAL)
    assert low.dtype == torch.float32
    sigma = Cosine()(t)[1].item()
    assert 0 < (low - denoiser(x, t, UNCONDITIONAL)).abs().max() < 0.05 * sigma
