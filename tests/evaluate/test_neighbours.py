"""Precision, recall, density and coverage against a slow program, and where the answer is known."""

import math

import numpy as np
import pytest
import torch
from known import normal

from carrara.evaluate import precision_recall
from carrara.evaluate.distances import distance_blocks, nearest_neighbours


def slowly(fake: np.ndarray, real: np.ndarray, k: int) -> dict[str, float]:
    """Equations (1) and (2) of ``evaluate.precision``, word by word."""

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return math.sqrt(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))

    def radii(x: np.ndarray) -> list[float]:
        return [sorted(distance(a, b) for j, b in enumerate(x) if j != i)[k - 1] for i, a in enumerate(x)]

    between = np.array([[distance(x, y) for y in fake] for x in real])
    in_real = between < np.array(radii(real))[:, None]
    in_fake = between < np.array(radii(fake))
    return {
        "precision": in_real.any(0).mean(),
        "recall": in_fake.any(1).mean(),
        "density": in_real.sum() / (k * len(fake)),
        "coverage": in_real.any(1).mean(),
    }


@pytest.mark.parametrize(("width", "k", "shift"), [(2, 1, 0.5), (3, 5, 1.0), (8, 3, 0.0)])
def test_it_is_the_equations(width: int, k: int, shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrara.evaluate.distances._ELEMENTS", 100)  # blocks of a few rows
    fake, real = 0.7 * normal(31, width, 1) + shift, normal(43, width, 2)
    want = slowly(fake.double().numpy(), real.double().numpy(), k)
    assert precision_recall(fake, real, k=k).data() == pytest.approx(want, abs=1e-12)
    assert 0 < want["recall"] < 1


def test_by_hand_on_a_line() -> None:
    """Balls around 0, 1, 3, 10 with k = 1 have the radii 1, 1, 2, 7: (-1, 1), (0, 2), (1, 5), (3, 17)."""
    real = torch.tensor([[0.0], [1], [3], [10]])
    fake = torch.tensor([[-2.0], [0.5], [4], [11]])  # their radii: 2.5, 2.5, 3.5, 7
    found = precision_recall(fake, real, k=1)
    assert found.precision == 3 / 4  # all but -2
    assert found.density == (0 + 2 + 2 + 1) / 4
    assert found.coverage == 1.0  # 0 and 1 hold 0.5, 3 holds 4, 10 holds 11
    assert found.recall == 1.0  # 0 is in the ball of 0.5, 1 and 3 too, 10 in that of 11


def test_identical_sets_are_perfect() -> None:
    x = normal(200, 12) + 50
    assert precision_recall(x, x.clone()).data() == {"precision": 1, "recall": 1, "density": 1, "coverage": 1}
    shuffled = x.flip(0)
    assert precision_recall(shuffled, x).data() == {"precision": 1, "recall": 1, "density": 1, "coverage": 1}


def test_disjoint_sets_have_nothing_in_common() -> None:
    x = normal(100, 12)
    assert set(precision_recall(x + 100, x).data().values()) == {0}


def test_one_far_sample_in_many_costs_precision_and_one_mode_costs_recall_and_coverage() -> None:
    left, right = normal(200, 4, 1), normal(200, 4, 2) + 40
    one_mode = precision_recall(normal(400, 4, 3), torch.cat([left, right]))
    assert one_mode.precision > 0.9 and one_mode.density > 0.9
    assert one_mode.recall < 0.55 and one_mode.coverage < 0.55
    astray = precision_recall(torch.cat([normal(300, 4, 3), normal(100, 4, 4) - 40]), left)
    assert astray.precision < 0.76 and astray.recall > 0.8


def test_density_and_coverage_of_one_law_are_what_the_head_says() -> None:
    count, k, width = 60, 5, 3
    found = [precision_recall(normal(count, width, 2 * s), normal(count, width, 2 * s + 1), k=k) for s in range(60)]
    coverage = 1 - math.prod((count - j) / (2 * count - j) for j in range(1, k + 1))
    for name, want in (("density", 1.0), ("coverage", coverage)):
        values = np.array([getattr(one, name) for one in found])
        assert abs(values.mean() - want) < 4 * values.std(ddof=1) / math.sqrt(len(values)), name


def test_copies_are_inside_even_where_the_data_have_copies() -> None:
    """Six copies of one picture have balls of radius 0, of which a seventh is the centre."""
    real = torch.cat([normal(1, 6).repeat(7, 1) + 1000, normal(50, 6, 1)])
    found = precision_recall(torch.cat([real[:1].repeat(6, 1), normal(30, 6, 2)]), real)
    assert found.precision >= 6 / 36
    assert precision_recall(real, real.clone()).precision == 1


def test_distances_do_not_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrara.evaluate.distances._ELEMENTS", 50)
    x, y = normal(20, 64, 1).double() + 1e4, normal(30, 64, 2).double() + 1e4
    y[3] = x[5]
    whole = torch.cat([block for _, block in distance_blocks(x, y)])
    torch.testing.assert_close(whole, torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist"), rtol=1e-6, atol=0)
    assert whole[5, 3] == 0
    values, indices = nearest_neighbours(x, y, 2)
    assert torch.equal(values, whole.sort(1).values[:, :2])
    assert indices[5, 0] == 3
    own = nearest_neighbours(x, x, 1, own=True)[0]
    assert own.min() > 1


def test_too_few_pictures() -> None:
    with pytest.raises(ValueError, match="5 nearest neighbours need more pictures than 5"):
        precision_recall(normal(5, 2), normal(50, 2))
