"""The Fréchet distance of sets against independent formulas; the oracles of Gaussians are in ``tests/oracle``."""

import numpy as np
import pytest
from known import normal

from carrara.evaluate import frechet_distance, frechet_distance_of_sets, moments


def by_the_square_root_of_a_matrix(x: np.ndarray, y: np.ndarray) -> float:
    linalg = pytest.importorskip("scipy.linalg")
    (m, s), (n, t) = ((z.mean(0), np.cov(z.T)) for z in (x, y))
    return float(((m - n) ** 2).sum() + np.trace(s + t - 2 * linalg.sqrtm(s @ t).real))


@pytest.mark.parametrize(("m", "n"), [(200, 150), (90, 400)])
def test_it_is_what_a_matrix_square_root_gives(m: int, n: int) -> None:
    mixing = normal(24, 24, 5)
    x, y = normal(m, 24, 1) @ mixing, normal(n, 24, 2) * 1.5 + 0.3
    want = by_the_square_root_of_a_matrix(x.double().numpy(), y.double().numpy())
    assert frechet_distance_of_sets(x, y) == pytest.approx(want, rel=1e-8)


@pytest.mark.parametrize(("m", "n"), [(20, 30), (64, 10), (30, 100)])
def test_few_pictures_give_the_same_by_either_equation(m: int, n: int) -> None:
    x, y = normal(m, 64, 1) + 3, 0.8 * normal(n, 64, 2)
    want = frechet_distance(moments([x]), moments([y]))
    assert frechet_distance_of_sets(x, y) == pytest.approx(want, rel=1e-6)


def test_a_set_and_its_copy() -> None:
    x = normal(30, 64).double()
    assert frechet_distance_of_sets(x, x.flip(0)) == pytest.approx(0, abs=1e-10)
    assert frechet_distance_of_sets(x, 3 * x) == pytest.approx(
        (4 * x.mean(0).square().sum() + 4 * x.var(0).sum()).item(), rel=1e-9
    )


def test_one_picture_is_too_few() -> None:
    with pytest.raises(ValueError, match="at least two pictures, and there are 1"):
        frechet_distance_of_sets(normal(1, 4), normal(5, 4))
