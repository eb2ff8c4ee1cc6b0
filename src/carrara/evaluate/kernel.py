r"""The kernel distance of two sets of features (Binkowski et al., "Demystifying MMD GANs", 2018).

The squared maximum mean discrepancy with k(x, y) = (x . y / D + 1)^3, estimated without bias,

.. math:: d = \frac{1}{m (m - 1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{n (n - 1)} \sum_{i \ne j} k(y_i, y_j)
              - \frac{2}{m n} \sum_{i, j} k(x_i, y_j)                                                             (1)

is 0 on average for two sets of one law, at any size, and so may be negative. Where y_i is made from x_i, as a
reconstruction is, the pairs i = j of the last sum are no independent pictures; without them (m = n)

.. math:: d = \frac{1}{n (n - 1)} \sum_{i \ne j} k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i)             (2)

has no bias either (Gretton et al., "A kernel two-sample test", 2012, lemma 6), and is 0 for pictures that came back
unchanged. Both are means over pictures of u_i, what the sums say about picture i; to first order their error is

.. math:: s^2 = 4 \operatorname{Var}(u_i) / n                                                                     (3)

and for (1) the sum of two such terms, one for each set. Near d = 0, where the first order vanishes, s is too large.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.seeds import permutation

_ELEMENTS = 1 << 23
"""How many values of the kernel are computed at a time."""


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error."""

    value: float
    error: float


def kernel_distance(x: Float[Tensor, "M D"], y: Float[Tensor, "N D"], *, paired: bool = False) -> Estimate:
    """Equation (1), or (2) for pairs, with all vectors; memory is that of a few rows of the kernel.

    Args:
        x: (m, D) of one set.
        y: (n, D) of the other.
        paired: y_i is made from x_i.

    Raises:
        ValueError: fewer than two of either.
    """
    m, n = len(x), len(y)
    if min(m, n) < 2:
        raise ValueError(f"a kernel distance needs at least two pictures of each set, and there are {m} and {n}")
    assert m == n or not paired
    x, y = x.double(), y.double()
    own = _rows(x, x, omit=True), _rows(y, y, omit=True)
    crossed = _rows(x, y, omit=paired), _rows(y, x, omit=paired)
    if paired:
        u = own[0] + own[1] - crossed[0] - crossed[1]
        return Estimate(u.mean().item(), _variance(u).sqrt().item())
    u, v = own[0] - crossed[0], own[1] - crossed[1]
    return Estimate((u.mean() + v.mean()).item(), (_variance(u) + _variance(v)).sqrt().item())


def kernel_distance_of_subsets(
    x: Float[Tensor, "M D"], y: Float[Tensor, "N D"], *, count: int = 100, size: int = 1000, seed: int = 0
) -> Estimate:
    """The mean of equation (1) over random subsets, as papers report it, and that mean's standard error over them.

    Args:
        x: (m, D) of one set.
        y: (n, D) of the other.
        count: how many pairs of subsets.
        size: of a subset; no larger than the sets.
        seed: which subsets.
    """
    size = min(size, len(x), len(y))
    values = torch.tensor(
        [
            kernel_distance(
                x[permutation(len(x), "kernel x", seed, k)[:size]], y[permutation(len(y), "kernel y", seed, k)[:size]]
            ).value
            for k in range(count)
        ],
        dtype=torch.float64,
    )
    return Estimate(values.mean().item(), (values.std() / count**0.5).item())


def _rows(x: Tensor, y: Tensor, *, omit: bool) -> Tensor:
    """The mean of k(x_i, y_j) over j, (m,) for each i; those with j = i left out if told so."""
    parts: list[Tensor] = []
    for first in range(0, len(x), rows := max(1, _ELEMENTS // len(y))):
        kernel = (x[first : first + rows] @ y.T / x.shape[1] + 1) ** 3
        if omit:
            kernel.diagonal(first).zero_()
        parts.append(kernel.sum(1) / (len(y) - omit))
    return torch.cat(parts)


def _variance(u: Tensor) -> Tensor:
    """Equation (3)."""
    return 4 * u.var() / len(u)
