"""Wrappers of denoisers: when they call what, and what they return."""

import pytest
import torch
from torch import Tensor

from carrara.sample import clip, dynamic_threshold, guide

X = torch.linspace(-2, 2, 24).reshape(2, 3, 4)
T = torch.tensor(0.5)


def double(x: Tensor, t: Tensor) -> Tensor:
    return 2 * x


def plus_one(x: Tensor, t: Tensor) -> Tensor:
    return x + 1


def never(x: Tensor, t: Tensor) -> Tensor:
    raise AssertionError("nobody asked for this denoiser")


def test_scale_1_is_off_and_0_is_unconditional() -> None:
    assert guide(double, never, 1.0) is double
    torch.testing.assert_close(guide(double, plus_one, 0.0)(X, T), plus_one(X, T))
    torch.testing.assert_close(guide(double, plus_one, 3.0)(X, T), (X + 1) + 3 * (X - 1))


def test_both_at_once_are_asked_in_the_place_of_each() -> None:
    def both(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        return double(x, t), plus_one(x, t)

    early, late = torch.tensor(0.9), torch.tensor(0.1)
    torch.testing.assert_close(guide(never, never, 3.0, both=both)(X, T), guide(double, plus_one, 3.0)(X, T))
    guided = guide(double, never, 3.0, both=both, interval=(0.5, 1.0))
    torch.testing.assert_close(guided(X, late), double(X, late))
    torch.testing.assert_close(guided(X, early), 4 * X - 2)


@pytest.mark.parametrize(("t", "guided"), [(0.1, False), (0.2, True), (0.5, True), (0.8, True), (0.9, False)])
def test_interval(t: float, guided: bool) -> None:
    time = torch.tensor(t, dtype=torch.float64)
    made = guide(double, plus_one if guided else never, 3.0, interval=(0.2, 0.8))(X, time)
    torch.testing.assert_close(made, 4 * X - 2 if guided else 2 * X)


def test_interval_of_each_sample() -> None:
    made = guide(double, plus_one, 3.0, interval=(0.2, 0.8))(X, torch.tensor([0.5, 0.9]))
    torch.testing.assert_close(made, torch.stack([4 * X[0] - 2, 2 * X[1]]))


def test_rescale_restores_each_samples_standard_deviation() -> None:
    full, half, none = (guide(double, plus_one, 3.0, rescale=phi)(X, T) for phi in (1.0, 0.5, 0.0))
    torch.testing.assert_close(full.flatten(1).std(1), double(X, T).flatten(1).std(1))
    torch.testing.assert_close(half, (full + none) / 2)


def test_rescale_leaves_a_constant_estimate_alone() -> None:
    def zero(x: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x)

    assert bool((guide(zero, zero, 2.0, rescale=0.7)(X, T) == 0).all())


@pytest.mark.parametrize("wrong", [{"interval": (0.5, 0.2)}, {"interval": (0.0, 1.5)}, {"rescale": 1.5}])
def test_guidance_refuses_what_makes_no_sense(wrong: dict) -> None:
    with pytest.raises(ValueError, match="got"):
        guide(double, plus_one, 3.0, **wrong)


def test_dynamic_threshold() -> None:
    """Per sample: at the median 0.5 of |x0| nothing happens; at 4 everything is divided by it and clipped."""
    small, large = torch.linspace(-1, 1, 21), torch.linspace(-8, 8, 21)
    made = dynamic_threshold(lambda x, t: x, 0.5)(torch.stack([small, large]), T)
    torch.testing.assert_close(made[0], small)
    torch.testing.assert_close(made[1], (large / 4).clamp(-1, 1))
    torch.testing.assert_close(dynamic_threshold(lambda x, t: x, 1.0)(large[None], T)[0], large / 8)


@pytest.mark.parametrize("percentile", [0.0, 1.1])
def test_dynamic_threshold_refuses_what_is_no_share(percentile: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        dynamic_threshold(double, percentile)


def test_clip_and_composition() -> None:
    torch.testing.assert_close(clip(double)(X, T), (2 * X).clamp(-1, 1))
    torch.testing.assert_close(clip(guide(double, plus_one, 3.0))(X, T), (4 * X - 2).clamp(-1, 1))
