"""The forward process and the U-Net's size against diffusers: the same data, noise and times give the same states.

Conventions that differ: their array index i is our t = (i + 1) / T. Their schedule "sigmoid" moves the *betas* along a
sigmoid; ours moves abar along one, so the two share a name only and are not compared. Their flow's timesteps are
already shifted; ours are not, and the schedule shifts them.
"""

import warnings
from typing import Any

import pytest
import torch

from carrara.backbone import UNetConfig
from carrara.noise import Cosine, DiscreteSchedule, Linear, RectifiedFlow, ScaledLinear, V, add_noise
from carrara.seeds import Draws

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # diffusers' own, while it is imported
    diffusers = pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")

INDEX = torch.tensor([0, 1, 17, 250, 500, 750, 998, 999])
NAMES = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}
SCHEDULES: list[DiscreteSchedule] = [
    Linear(),
    Linear(steps=200, beta_start=5e-4, beta_end=0.1),
    ScaledLinear(),
    Cosine(),
    Linear(zero_terminal_snr=True),
    ScaledLinear(zero_terminal_snr=True),
]

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)


def theirs(schedule: Any) -> Any:
    betas = {key: getattr(schedule, key) for key in ("beta_start", "beta_end") if hasattr(schedule, key)}
    return diffusers.DDPMScheduler(
        num_train_timesteps=schedule.steps,
        beta_schedule=NAMES[schedule.kind],
        rescale_betas_zero_snr=schedule.zero_terminal_snr,
        **betas,
    )


def data(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    draws = Draws(0, torch.arange(count))
    return draws.normal("x0", 3, 4, 4), draws.normal("eps", 3, 4, 4)


@every_schedule
def test_abar(schedule: DiscreteSchedule) -> None:
    torch.testing.assert_close(schedule.alphas_cumprod(), theirs(schedule).alphas_cumprod.double(), atol=1e-5, rtol=0)


@every_schedule
def test_noising_and_velocity(schedule: DiscreteSchedule) -> None:
    index = INDEX[schedule.steps > INDEX]
    x0, eps = data(len(index))
    alpha, sigma = schedule((index + 1) / schedule.steps)
    other = theirs(schedule)
    torch.testing.assert_close(add_noise(x0, eps, alpha, sigma), other.add_noise(x0, eps, index), atol=1e-5, rtol=0)
    target = V()(alpha, sigma).target(x0, eps)
    torch.testing.assert_close(target, other.get_velocity(x0, eps, index), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow(shift: float) -> None:
    other = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)
    alpha, sigma = RectifiedFlow(shift=shift)((INDEX + 1) / 1000)
    place = 999 - INDEX  # theirs run from noise to data
    torch.testing.assert_close(sigma, other.sigmas[place].float(), atol=1e-5, rtol=0)
    x0, eps = data(len(INDEX))
    noised = other.scale_noise(x0, other.timesteps[place], eps)
    torch.testing.assert_close(add_noise(x0, eps, alpha, sigma), noised, atol=1e-5, rtol=0)


def test_the_paper_s_network_has_as_many_parameters() -> None:
    """Their google/ddpm-cifar10-32."""
    with torch.device("meta"):
        ours = UNetConfig().build((3, 32, 32))
        other = diffusers.UNet2DModel(
            sample_size=32,
            in_channels=3,
            out_channels=3,
            layers_per_block=2,
            block_out_channels=(128, 256, 256, 256),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=None,
            flip_sin_to_cos=False,
            freq_shift=1,
            downsample_padding=0,
        )
    counts = [sum(p.numel() for p in net.parameters()) for net in (ours, other)]
    assert counts == [35_746_307, 35_746_307]
