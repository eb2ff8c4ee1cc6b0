"""Between noises and between wishes."""

import math

import pytest
import torch
from torch import Tensor

from analytic import gaussian, no_noise
from carrara.noise import RectifiedFlow
from carrara.sample import Ddim, Uniform, blend, compose, draws_for, guide, last, slerp

T = torch.tensor(0.5, dtype=torch.float64)


def never(x: Tensor, t: Tensor) -> Tensor:
    raise AssertionError("nobody asked for this denoiser")


def test_a_quarter_turn() -> None:
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    for w in (0.0, 0.25, 0.5, 1.0):
        turned = torch.tensor([[math.cos(w * math.pi / 2), math.sin(w * math.pi / 2)]])
        torch.testing.assert_close(slerp(a, b, torch.tensor(w)), turned)


def test_noise_stays_as_long_as_noise_is() -> None:
    a, b = draws_for([1, 2]).normal("a", 3, 32, 32), draws_for([1, 2]).normal("b", 3, 32, 32)
    middle = slerp(a, b, torch.tensor(0.5))
    assert abs(middle.std().item() - 1) < 0.03
    assert torch.lerp(a, b, 0.5).std().item() < 0.75
    each = slerp(a, b, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(each, torch.stack([a[0], b[1]]))


def test_lengths_go_over_into_each_other() -> None:
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[4.0, 0.0]])
    torch.testing.assert_close(slerp(a, b, torch.tensor(0.25)), torch.tensor([[2.5, 0.0]]))
    torch.testing.assert_close(slerp(a, a, torch.tensor(0.3)), a)


def constant(value: float):
    return lambda x, t: torch.full_like(x, value)


def test_weights_belong_to_samples() -> None:
    x = torch.zeros(2, 3)
    weights = torch.tensor([[1.0, 0.5], [0.0, 0.5]])
    made = compose([constant(2.0), constant(6.0)], weights, never)(x, T)
    torch.testing.assert_close(made, torch.tensor([[2.0] * 3, [4.0] * 3]))
    torch.testing.assert_close(
        blend(constant(2.0), constant(6.0), torch.tensor([0.0, 0.75]))(x, T)[:, 0],
        made[:, 0] + torch.tensor([0.0, 1.0]),
    )


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.3, 0.7), (1.5, -0.5), (2.0, 0.5)])
def test_gaussians_compose_to_a_gaussian(weights: tuple[float, float]) -> None:
    """With equal variances the means add up, and sampling ends there."""
    schedule, std, means = RectifiedFlow(), 0.5, (-0.4, 0.7)
    both = [gaussian(schedule, std, mean) for mean in means]
    made = compose(both, torch.tensor(weights)[:, None].expand(2, 3), gaussian(schedule, std, 0.1))
    mean = 0.1 + sum(w * (m - 0.1) for w, m in zip(weights, means, strict=True))
    x = torch.tensor([[-1.0], [0.2], [1.5]], dtype=torch.float64)
    expected = gaussian(schedule, std, mean)
    torch.testing.assert_close(made(x, T), expected(x, T), rtol=1e-6, atol=1e-6)
    times = Uniform()(10, schedule)
    ends = [last(Ddim().steps(f, x, times, schedule, no_noise)).x for f in (made, expected)]
    torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-6)


def test_one_wish_of_any_weight_is_guidance() -> None:
    x = torch.linspace(-1, 1, 6).reshape(2, 3)
    made = compose([constant(2.0)], torch.full((1, 2), 3.0), constant(0.5))(x, T)
    torch.testing.assert_close(made, guide(constant(2.0), constant(0.5), 3.0)(x, T))
