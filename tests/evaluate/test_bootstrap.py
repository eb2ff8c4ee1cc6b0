"""Errors and biases from halves, where both are known."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from known import normal
from torch import Tensor

from carrara.evaluate import (
    bootstrap,
    frechet_bias,
    frechet_distance_of_sets,
    kernel_distance,
    precision_recall,
)


def mean(x: Tensor) -> Mapping[str, float]:
    return {"mean": x.mean().item()}


def fid(x: Tensor, y: Tensor) -> Mapping[str, float]:
    return {"fid": frechet_distance_of_sets(x, y)}


def kid(x: Tensor, y: Tensor) -> Mapping[str, float]:
    return {"kid": kernel_distance(x, y).value}


@pytest.mark.parametrize("count", [200, 201])
def test_the_error_of_a_mean(count: int) -> None:
    x = normal(count, 1)
    found = bootstrap(mean, x, count=2000)["mean"]
    assert found.value == x.mean().item()
    assert found.error == pytest.approx(x.std().item() / count**0.5, rel=0.06)
    assert abs(found.bias) < 5 * found.error / 2000**0.5


def test_the_interval_of_a_mean_holds_the_truth_as_often_as_it_says() -> None:
    held = [low < 0 < high for s in range(300) for low, high in [bootstrap(mean, normal(50, 1, s))["mean"].interval]]
    assert 0.91 < np.mean(held) < 0.98  # 0.95, less the uncertainty of an error from 30 halves, four errors of 0.0126


def test_the_bias_of_a_variance() -> None:
    """Divided by n, it is too small by 1/n of itself."""
    x = normal(40, 1)
    found = bootstrap(lambda x: {"v": x.var(correction=0).item()}, x, count=3000)["v"]
    assert found.bias == pytest.approx(-x.var(correction=0).item() / 40, rel=0.15)
    assert found.extrapolated == pytest.approx(x.var().item(), rel=0.01)


def test_the_error_of_a_frechet_distance_is_its_spread() -> None:
    found = [bootstrap(fid, normal(200, 4, 2 * s), normal(200, 4, 2 * s + 1) + 0.5)["fid"] for s in range(24)]
    spread = float(np.std([one.value for one in found], ddof=1))
    assert float(np.mean([one.error for one in found])) == pytest.approx(spread, rel=0.4)


def test_extrapolation_takes_the_bias_of_a_frechet_distance_away() -> None:
    found = [bootstrap(fid, normal(240, 8, 2 * s), normal(240, 8, 2 * s + 1))["fid"] for s in range(12)]
    raw, extrapolated = np.mean([one.value for one in found]), np.mean([one.extrapolated for one in found])
    assert raw == pytest.approx(2 * frechet_bias(torch.eye(8), 240), rel=0.15)
    assert abs(extrapolated) < 0.2 * raw  # the truth is 0


def test_the_error_of_a_kernel_distance_is_its_own() -> None:
    x, y = normal(300, 6), 0.5 + normal(300, 6, 1)
    assert bootstrap(kid, x, y, count=100)["kid"].error == pytest.approx(kernel_distance(x, y).error, rel=0.25)


def test_the_error_of_precision_is_its_spread() -> None:
    def statistic(x: Tensor, y: Tensor) -> Mapping[str, float]:
        return precision_recall(x, y).data()

    found = [bootstrap(statistic, 1.5 * normal(150, 3, 2 * s), normal(150, 3, 2 * s + 1)) for s in range(20)]
    for name in ("precision", "density", "coverage"):
        spread = float(np.std([one[name].value for one in found], ddof=1))
        assert 0.5 * spread < float(np.mean([one[name].error for one in found])) < 2 * spread, name


def test_it_depends_on_the_seed_alone() -> None:
    x = normal(60, 3)
    assert bootstrap(mean, x) == bootstrap(mean, x)
    assert bootstrap(mean, x) != bootstrap(mean, x, seed=1)


def test_three_pictures_are_too_few() -> None:
    with pytest.raises(ValueError, match="half of 3 pictures"):
        bootstrap(kid, normal(3, 2), normal(9, 2))
