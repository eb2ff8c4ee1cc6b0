"""What guidance does to Gaussians, where its result is known in closed form."""

import math

import pytest
import torch

from analytic import gaussian, linear_response, no_noise, quantiles
from carrara.noise import Linear, RectifiedFlow, VarianceExploding
from carrara.sample import Karras, Lms, UniPC, guide, last

VE = VarianceExploding()


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0, 7.5])
@pytest.mark.parametrize("schedule", [VE, Linear(), RectifiedFlow()], ids=lambda s: s.kind)
def test_equal_covariances_move_the_mean_only(schedule, scale: float) -> None:
    cond, null = gaussian(schedule, 0.5, mean=1.0), gaussian(schedule, 0.5, mean=-0.2)
    shifted = gaussian(schedule, 0.5, mean=-0.2 + scale * 1.2)
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    for t in torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64):
        torch.testing.assert_close(guide(cond, null, scale)(x, t), shifted(x, t), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("scale", [0.5, 2.0, 4.0])
def test_unequal_covariances_end_with_a_geometric_mean(scale: float) -> None:
    """The flow's slopes of log x mix linearly, so the std is s_c^w s_n^(1-w); the tilted density has another one."""
    s_cond, s_null = 0.4, 0.7
    guided = guide(gaussian(VE, s_cond), gaussian(VE, s_null), scale)
    found = linear_response(Lms(), guided, Karras()(300, VE), VE, VE.sigma_max)
    wanted = s_cond**scale * s_null ** (1 - scale)
    assert found == pytest.approx(wanted, rel=2e-3)
    tilted = 1 / math.sqrt(max(scale / s_cond**2 + (1 - scale) / s_null**2, 1e-9))
    assert abs(found - tilted) > 0.01


def test_guided_samples_have_the_moved_mean() -> None:
    guided = guide(gaussian(VE, 0.5, mean=1.0), gaussian(VE, 0.5), 3.0)
    x = last(UniPC().steps(guided, quantiles(200, VE.sigma_max), Karras()(80, VE), VE, no_noise)).x
    assert x.mean().item() == pytest.approx(3.0, rel=1e-2)
    assert x.std().item() == pytest.approx(0.5, rel=1e-2)
