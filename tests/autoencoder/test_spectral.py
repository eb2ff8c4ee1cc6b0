"""The distance of sounds: 0 for equal ones, what the formula says for louder ones, blind to phases."""

import math

import pytest
import torch

from carrara.autoencoder import PerceptualConfig, SpectralConfig
from carrara.autoencoder.stages import KlConfig
from carrara.objective import AutoencodingObjective

TIME = torch.arange(4096) / 8000


def test_it_is_a_distance_of_what_is_heard() -> None:
    x = 0.3 * torch.randn(3, 1, 4096, generator=torch.Generator().manual_seed(0))
    distance = SpectralConfig().build()
    assert distance(x, x).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert distance(-x, x).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert distance(2 * x, x).tolist() == pytest.approx([1 + math.log(2)] * 3, rel=0.02)
    assert distance(torch.zeros_like(x), x).min() > 3


def test_a_shifted_sine_is_near_and_another_pitch_is_far() -> None:
    tone, shifted, other = (
        torch.sin(2 * math.pi * f * TIME + p)[None, None] for f, p in ((440, 0), (440, 1), (600, 0))
    )
    distance = SpectralConfig().build()
    assert distance(shifted, tone) < 0.3 * distance(other, tone)


def test_its_gradient_is_finite_at_silence() -> None:
    x = torch.zeros(1, 1, 300, requires_grad=True)
    SpectralConfig().build()(x, torch.zeros(1, 1, 300)).sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize(("features", "shape"), [(SpectralConfig(), (1, 8, 8)), (PerceptualConfig(), (1, 64))])
def test_it_looks_at_sounds_alone(features: SpectralConfig | PerceptualConfig, shape: tuple[int, ...]) -> None:
    stage = KlConfig(channels=8, multipliers=(1, 1), blocks=1, latent_channels=2).build(shape)
    with pytest.raises(ValueError, match="a perceptual distance looks at"):
        AutoencodingObjective(first_stage=stage, shape=shape, features=features)
