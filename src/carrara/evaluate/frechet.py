r"""The Fréchet distance of two sets of features (Heusel et al., "GANs trained by a two time-scale update rule", 2017).

Each set is taken for a Gaussian of its mean and covariance; the distance is the squared 2-Wasserstein distance

.. math:: d^2 = \| \mu_1 - \mu_2 \|^2 + \operatorname{tr} (S_1 + S_2) - 2 \operatorname{tr} (S_1 S_2)^{1/2},        (1)
.. math:: \operatorname{tr} (S_1 S_2)^{1/2} = \sum_i \sqrt{\lambda_i}, \quad
          \lambda_i \text{ the eigenvalues of } S_1^{1/2} S_2 S_1^{1/2}                                           (2)

where the last matrix is symmetric, so that eigenvalues are all that is needed. A sample of n from a Gaussian of
covariance S, against that Gaussian, has on average not 0 but, with the eigenvalues of S and n well above their number,

.. math:: b \approx \tfrac1n \Big[ \tfrac32 \sum_i \lambda_i
          + \tfrac12 \sum_{i \ne j} \frac{\lambda_i \lambda_j}{\lambda_i + \lambda_j} \Big]                         (3)

which is why two such distances compare only at the same n. Of sets with no more vectors than numbers in each, with
their deviations from the mean U (n_1 x D) and V (n_2 x D), over sqrt(n_1 - 1) and sqrt(n_2 - 1), the smaller problem is

.. math:: \operatorname{tr} (S_1 S_2)^{1/2} = \sum_i s_i, \quad s_i \text{ the singular values of } U V^T.           (4)
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Covariance = Float[Tensor, "D D"]


@dataclass(frozen=True)
class Moments:
    """What the distance knows of a set.

    Attributes:
        count: of vectors.
        mean: (D,) float64.
        covariance: (D, D) float64, unbiased.
    """

    count: int
    mean: Float[Tensor, "D"]
    covariance: Covariance


def moments(batches: Iterable[Float[Tensor, "_ D"]]) -> Moments:
    """Adds up features (B, D) batch by batch; memory does not grow with their number.

    Raises:
        ValueError: fewer than two vectors, which have no covariance.
    """
    count, origin, first, second = 0, None, torch.zeros(()), torch.zeros(())
    for batch in batches:
        x = batch.double()
        origin = x.mean(0) if origin is None else origin  # sums about a point within the data do not cancel
        x = x - origin
        count, first, second = count + len(x), first + x.sum(0), second + x.T @ x
    if origin is None or count < 2:
        raise ValueError(f"a Fréchet distance needs at least two pictures, and there are {count}")
    offset = first / count
    covariance = (second - count * torch.outer(offset, offset)) / (count - 1)
    return Moments(count, origin + offset, covariance)


def frechet_distance(a: Moments, b: Moments) -> float:
    """Equation (1)."""
    values, vectors = torch.linalg.eigh(a.covariance)
    root = (vectors * _roots(values)) @ vectors.T
    overlap = _roots(torch.linalg.eigvalsh(root @ b.covariance @ root)).sum()
    spread = a.covariance.trace() + b.covariance.trace() - 2 * overlap
    return max(0.0, ((a.mean - b.mean).square().sum() + spread).item())


def _deviations(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of vectors (n, D), and U of equation (4)."""
    mean = x.mean(0)
    return mean, (x - mean) / (len(x) - 1) ** 0.5


def _roots(eigenvalues: Tensor) -> Tensor:
    """Square roots; of what is 0 but for rounding, which fewer vectors than numbers in each leave many of, 0."""
    rounding = len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps * eigenvalues.max()
    return torch.where(eigenvalues > rounding, eigenvalues, 0).sqrt()


def frechet_distance_of_sets(x: Float[Tensor, "M D"], y: Float[Tensor, "N D"]) -> float:
    """Equation (1) for features (m, D) and (n, D), by (2) or (4), whichever is less work.

    Raises:
        ValueError: fewer than two vectors of either.
    """
    if min(len(x), len(y)) < 2 or max(len(x), len(y)) > x.shape[1]:
        return frechet_distance(moments([x]), moments([y]))
    (m, u), (n, v) = (_deviations(z.double()) for z in (x, y))
    overlap = torch.linalg.svdvals(u @ v.T).sum()
    return max(0.0, ((m - n).square().sum() + u.square().sum() + v.square().sum() - 2 * overlap).item())


def frechet_bias(covariance: Covariance, count: int) -> float:
    """Equation (3) for ``count`` vectors of this covariance; two independent finite sets have the sum of theirs."""
    values = torch.linalg.eigvalsh(covariance.double()).clamp(min=0)
    sums = values + values[:, None]
    pairs = torch.where(sums > 0, values * values[:, None] / sums, 0)
    others = pairs.sum() - pairs.diagonal().sum()
    return ((1.5 * values.sum() + 0.5 * others) / count).item()
