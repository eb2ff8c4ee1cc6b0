"""Points in the plane: where they lie, how they are spread, and that they are the same ones each time."""

import math

import numpy as np
import pytest

from carrara.data import fingerprint, open_dataset
from carrara.data.sources import CheckerboardSource, MoonsSource, RingsSource, Source

COUNT = 20_000


def points_of(source: Source) -> np.ndarray:
    data = source.open()
    return np.stack([data.pixels(k) for k in range(len(data))]).astype(np.float64)


def test_moons_are_half_circles() -> None:
    x = points_of(MoonsSource(thickness=0.0))
    k = math.sqrt(2 / (21 / 16 - 1 / math.pi))
    y = x / k + (0.5, 0.25)
    outer = np.abs(np.hypot(y[:, 0], y[:, 1]) - 1) < 1e-5
    inner = np.abs(np.hypot(y[:, 0] - 1, y[:, 1] - 0.5) - 1) < 1e-5
    assert (outer | inner).all()
    assert (y[outer & ~inner, 1] > -1e-5).all() and (y[inner & ~outer, 1] < 0.5 + 1e-5).all()
    assert outer.mean() == pytest.approx(0.5, abs=4.5 * 0.5 / math.sqrt(COUNT))


@pytest.mark.parametrize("rings", [1, 3, 5])
def test_rings_are_circles_of_equal_shares(rings: int) -> None:
    r = np.linalg.norm(points_of(RingsSource(rings=rings, thickness=0.0)), axis=1)
    k = math.sqrt(2 * rings / sum(j * j for j in range(1, rings + 1)))
    number = np.round(r / k)
    np.testing.assert_allclose(r, k * number, rtol=1e-5)
    shares = np.bincount(number.astype(int), minlength=rings + 1)[1:] / COUNT
    assert shares == pytest.approx(1 / rings, abs=4.5 * 0.5 / math.sqrt(COUNT))


@pytest.mark.parametrize("squares", [2, 4, 6])
def test_the_board_is_black_where_points_are(squares: int) -> None:
    x = points_of(CheckerboardSource(squares=squares)) * squares / math.sqrt(12) + squares / 2
    cells = np.floor(x).astype(int)
    assert ((cells >= 0) & (cells < squares)).all() and (cells.sum(1) % 2 == 0).all()
    counts = np.bincount(cells[:, 0] * squares + cells[:, 1], minlength=squares**2)
    black = counts[counts > 0]
    assert len(black) == squares**2 // 2
    assert black / COUNT == pytest.approx(2 / squares**2, abs=4.5 * math.sqrt(2 / squares**2 / COUNT))
    within = x - cells
    assert within.mean(0) == pytest.approx(0.5, abs=4.5 / math.sqrt(12 * COUNT))


@pytest.mark.parametrize("kind", ["moons", "rings", "checkerboard"])
def test_points_are_spread_by_one_and_are_the_same_ones(kind: str) -> None:
    data = open_dataset(kind)
    x = np.stack([data.pixels(k) for k in range(len(data))]).astype(np.float64)
    assert (x**2).sum(1).mean() == pytest.approx(2, abs=0.04)
    np.testing.assert_allclose(x.mean(0), 0, atol=0.04)
    few = open_dataset(kind, points=50)
    assert np.array_equal(few.pixels(49), data.pixels(49)) and fingerprint(few) != fingerprint(data)
    assert (data.info.dimension, data.info.native) == (2, None)


@pytest.mark.parametrize("source", [MoonsSource, RingsSource, CheckerboardSource])
def test_nothing_is_refused(source: type[Source]) -> None:
    with pytest.raises(ValueError, match="take 1 point or more"):
        source(points=0)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="take"):
        source(**({"squares": 3} if source is CheckerboardSource else {"thickness": -1.0}))
