"""Metrics of sets where the answer is known: Gaussians, their bias, and sets of one law."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from carrara.evaluate import (
    frechet_bias,
    frechet_distance,
    kernel_distance,
    moments,
    psnr,
    ssim,
)
from carrara.evaluate.frechet import Moments
from carrara.seeds import Draws


def normal(count: int, width: int, seed: int = 0) -> Tensor:
    return Draws(seed, torch.arange(count)).normal("features", width).double()


def rotation(width: int) -> Tensor:
    return torch.linalg.qr(normal(width, width, 9))[0]


def test_frechet_distance_of_commuting_gaussians() -> None:
    basis, width = rotation(6), 6
    one, other = torch.tensor([4.0, 1, 0.25, 9, 2, 0]).double(), torch.tensor([1.0, 1, 4, 0, 3, 0]).double()
    mean = normal(1, width)[0]
    a = Moments(100, torch.zeros(width).double(), basis * one @ basis.T)
    b = Moments(100, mean, basis * other @ basis.T)
    want = mean.square().sum() + (one.sqrt() - other.sqrt()).square().sum()
    assert frechet_distance(a, b) == pytest.approx(want.item(), rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(want.item(), rel=1e-6)


def test_frechet_distance_of_any_two_gaussians_in_the_plane() -> None:
    """There, tr (S1 S2)^(1/2) = (tr S1 S2 + 2 sqrt det S1 S2)^(1/2)."""
    p, q = normal(2, 2, 1), normal(2, 2, 2)
    a, b = (Moments(9, torch.zeros(2).double(), root @ root.T) for root in (p, q))
    product = a.covariance @ b.covariance
    overlap = (product.trace() + 2 * torch.linalg.det(product).sqrt()).sqrt()
    want = a.covariance.trace() + b.covariance.trace() - 2 * overlap
    assert frechet_distance(a, b) == pytest.approx(want.item(), rel=1e-9)


def test_frechet_distance_of_a_set_from_itself_and_from_itself_moved() -> None:
    x = normal(20, 32) + 100  # fewer vectors than numbers in each: the covariance is singular
    assert frechet_distance(moments([x]), moments([x])) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(moments([x]), moments([x + 0.5])) == pytest.approx(32 * 0.25, rel=1e-5)


def test_moments_do_not_depend_on_the_batches() -> None:
    x = (normal(50, 5) + 1000).float()
    at_once, in_parts = moments([x]), moments(x.split([1, 7, 30, 12]))
    assert at_once.count == in_parts.count == 50
    for found in (at_once, in_parts):
        np.testing.assert_allclose(found.mean, x.double().numpy().mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.covariance, np.cov(x.double().numpy().T), rtol=1e-8, atol=1e-10)


def test_one_picture_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="at least two pictures, and there are 1"):
        moments([torch.zeros(1, 3)])


@pytest.mark.parametrize(("count", "want"), [(500, 0.1680), (2000, 0.0420)])
def test_bias_of_the_frechet_distance(count: int, want: float) -> None:
    assert frechet_bias(torch.eye(16), count) == pytest.approx(want, abs=5e-5)
    truth = Moments(count, torch.zeros(16).double(), torch.eye(16).double())
    found = [frechet_distance(moments([normal(count, 16, 50 + k)]), truth) for k in range(24)]
    error = np.std(found, ddof=1) / math.sqrt(len(found))
    assert abs(np.mean(found) - want) < 4 * error + 0.02 * want  # the formula leaves out terms of higher order in 1/n


def test_bias_with_unequal_eigenvalues() -> None:
    values, basis = torch.tensor([9.0, 4, 1, 0.5, 0.1]).double(), rotation(5)
    covariance = basis * values @ basis.T
    truth, root = Moments(400, torch.zeros(5).double(), covariance), basis * values.sqrt()
    found = [frechet_distance(moments([normal(400, 5, 90 + k) @ root.T]), truth) for k in range(60)]
    error = np.std(found, ddof=1) / math.sqrt(len(found))
    want = frechet_bias(covariance, 400)
    assert abs(np.mean(found) - want) < 4 * error + 0.02 * want


def slowly(x: Tensor, y: Tensor) -> float:
    """Equation (1) of ``evaluate.kernel``, term by term."""

    def k(a: Tensor, b: Tensor) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    def own(z: Tensor) -> float:
        return sum(k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j) / (len(z) * (len(z) - 1))

    return own(x) + own(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


def test_kernel_distance_is_the_equation(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(9, 4), 0.5 + normal(7, 4, 1)
    whole = kernel_distance(x, y)
    assert whole.value == pytest.approx(slowly(x, y), rel=1e-9)
    monkeypatch.setattr("carrara.evaluate.kernel._ELEMENTS", 20)  # blocks of two or three rows
    blocks = kernel_distance(x, y)
    assert (blocks.value, blocks.error) == pytest.approx((whole.value, whole.error), rel=1e-9)


def test_kernel_distance_of_gaussians_with_two_means() -> None:
    """In one dimension E k(x, y) is a polynomial in the moments: E (1 + xy)^3 with x ~ N(m, 1) and y ~ N(n, 1)."""
    shift = 0.5

    def expected(m: float, n: float) -> float:
        first, second, third = m * n, (m**2 + 1) * (n**2 + 1), (m**3 + 3 * m) * (n**3 + 3 * n)
        return 1 + 3 * first + 3 * second + third

    want = expected(0, 0) + expected(shift, shift) - 2 * expected(0, shift)
    found = kernel_distance(normal(1500, 1), shift + normal(1500, 1, 1))
    assert abs(found.value - want) < 4 * found.error
    assert found.error < 0.2 * want


def test_two_halves_of_one_set_have_no_kernel_distance() -> None:
    x = normal(120 * 40, 8).reshape(40, 120, 8)
    halves = torch.tensor([kernel_distance(part[:50], part[50:]).value for part in x])
    assert abs(halves.mean()) < 4 * halves.std() / math.sqrt(len(halves))
    assert halves.min() < 0 < halves.max()


def test_a_copy_of_the_data_has_a_kernel_distance_of_zero_only_in_pairs() -> None:
    x = normal(60, 8)
    assert kernel_distance(x, x, paired=True).value == 0
    assert kernel_distance(x, x).value < -1e-3  # what equation (1) says of sets that are not independent


def test_pairs_of_one_law_have_no_kernel_distance_though_they_depend_on_each_other() -> None:
    z = normal(40 * 50, 12).reshape(40, 50, 12)
    shared, own = z[..., :4].repeat(1, 1, 2), torch.stack([z[..., 4:8], z[..., 8:]], 2).flatten(2)
    pairs = 0.8 * shared + 0.6 * own  # the first four numbers of each and the other four have one law, and correlate
    found = torch.tensor([kernel_distance(p[:, :4], p[:, 4:], paired=True).value for p in pairs])
    assert abs(found.mean()) < 4 * found.std() / math.sqrt(len(found))


@pytest.mark.parametrize("paired", [False, True])
def test_the_standard_error_is_the_spread_over_samples(paired: bool) -> None:
    x, noise = (normal(60 * 80, 6, seed).reshape(60, 80, 6) for seed in (3, 4))
    y = 0.8 * x + 0.6 + 0.3 * noise if paired else 0.6 + noise
    found = [kernel_distance(a, b, paired=paired) for a, b in zip(x, y, strict=True)]
    spread = float(np.std([estimate.value for estimate in found], ddof=1))
    assert float(np.mean([estimate.error for estimate in found])) == pytest.approx(spread, rel=0.3)


def test_psnr_by_hand() -> None:
    x = torch.full((1, 3, 8, 8), -1.0)
    y = x.clone()
    y[0, 0] = 1.0  # one of three channels is wrong, by all there is
    assert psnr(x, y).item() == pytest.approx(10 * math.log10(3))
    assert psnr(x, x + 10 * 2 / 255).item() == pytest.approx(20 * math.log10(25.5), abs=1e-4)


def test_psnr_is_of_what_is_displayed() -> None:
    x = torch.zeros(1, 1, 4, 4) + 1 / 255  # 128 of 255
    assert psnr(x, x + 0.4 * 2 / 255).item() == 100  # rounds to the same
    assert psnr(torch.ones(1, 1, 4, 4), torch.full((1, 1, 4, 4), 1.5)).item() == 100  # no screen is whiter


def test_ssim_of_flat_pictures_is_its_first_factor() -> None:
    a, b = 51.0, 153.0
    x, y = (torch.full((1, 3, 16, 16), 2 * value / 255 - 1) for value in (a, b))
    c1 = (0.01 * 255) ** 2
    assert ssim(x, y).item() == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), rel=1e-4)
