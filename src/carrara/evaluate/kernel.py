r"""Kernel distances of two sets of features.

KID (Binkowski et al., "Demystifying MMD GANs", 2018) is the squared maximum mean discrepancy with the kernel
k(x, y) = (x . y / D + 1)^3, estimated without bias,

.. math:: d = \frac{1}{m (m - 1)} \sum_{i \ne j} k(x_i, x_j) + \frac{1}{n (n - 1)} \sum_{i \ne j} k(y_i, y_j)
              - \frac{2}{m n} \sum_{i, j} k(x_i, y_j)                                                             (1)

is 0 on average for two sets of one law, at any size, and so may be negative. Where y_i is made from x_i, as a
reconstruction is, the pairs i = j of the last sum are no independent pictures; without them (m = n)

.. math:: d = \frac{1}{n (n - 1)} \sum_{i \ne j} k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(x_j, y_i)             (2)

has no bias either (Gretton et al., "A kernel two-sample test", 2012, lemma 6), and is 0 for pictures that came back
unchanged. Both are means over pictures of u_i, what the sums say about picture i; to first order their error is

.. math:: s^2 = 4 \operatorname{Var}(u_i) / n                                                                     (3)

and for (1) the sum of two such terms, one for each set. Near d = 0, where the first order vanishes, s is too large.

CMMD (Jayasumana et al., "Rethinking FID", 2024) is 1000 times (1) for CLIP's features of unit length and the kernel

.. math:: k(x, y) = \exp(-|x - y|^2 / 2 \sigma^2), \quad \sigma = 10.                                             (4)

Its authors' program keeps the terms i = j. So it gives more, for each set by about 10 times the sum of its numbers'
variances over its count.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Kernel = Callable[[Tensor, Tensor], Tensor]
"""(m, D) and (n, D), float64, to the values (m, n) of k."""

_ELEMENTS = 1 << 23
"""How many values of the kernel are computed at a time."""
_SIGMA, _CMMD_UNIT = 10.0, 1000.0
_NORMAL_95 = 1.96


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error."""

    value: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """Holds the truth in 95 of 100 cases, but for a bias, where errors are normal."""
        return self.value - _NORMAL_95 * self.error, self.value + _NORMAL_95 * self.error


def cubic(x: Float[Tensor, "M D"], y: Float[Tensor, "N D"]) -> Float[Tensor, "M N"]:
    """KID's kernel."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def gaussian(x: Float[Tensor, "M D"], y: Float[Tensor, "N D"]) -> Float[Tensor, "M N"]:
    """Equation (4)."""
    squares = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    return torch.exp(-squares / (2 * _SIGMA**2))


def cmmd(x: Float[Tensor, "M D"], y: Float[Tensor, "N D"]) -> Estimate:
    """1000 times equation (1) with the kernel (4).

    Args:
        x, y: CLIP's features of two sets; they are brought to unit length here.

    Raises:
        ValueError: fewer than two of either.
    """
    found = kernel_distance(F.normalize(x.double()), F.normalize(y.double()), kernel=gaussian)
    return Estimate(_CMMD_UNIT * found.value, _CMMD_UNIT * found.error)


def kernel_distance(
    x: Float[Tensor, "M D"], y: Float[Tensor, "N D"], *, paired: bool = False, kernel: Kernel = cubic
) -> Estimate:
    """Equation (1), or (2) for pairs, with all vectors; memory is that of a few rows of the kernel.

    Args:
        x: (m, D) of one set.
        y: (n, D) of the other.
        paired: y_i is made from x_i.
        kernel: k; KID's, if not given.

    Raises:
        ValueError: fewer than two of either.
    """
    m, n = len(x), len(y)
    if min(m, n) < 2:
        raise ValueError(f"a kernel distance needs at least two pictures of each set, and there are {m} and {n}")
    assert m == n or not paired
    x, y = x.double(), y.double()
    own = _rows(kernel, x, x, omit=True), _rows(kernel, y, y, omit=True)
    crossed = _rows(kernel, x, y, omit=paired), _rows(kernel, y, x, omit=paired)
    if paired:
        u = own[0] + own[1] - crossed[0] - crossed[1]
        return Estimate(u.mean().item(), _variance(u).sqrt().item())
    u, v = own[0] - crossed[0], own[1] - crossed[1]
    return Estimate((u.mean() + v.mean()).item(), (_variance(u) + _variance(v)).sqrt().item())


def _rows(kernel: Kernel, x: Tensor, y: Tensor, *, omit: bool) -> Tensor:
    """The mean of k(x_i, y_j) over j, (m,) for each i; those with j = i left out if told so."""
    parts: list[Tensor] = []
    for first in range(0, len(x), rows := max(1, _ELEMENTS // len(y))):
        values = kernel(x[first : first + rows], y)
        if omit:
            values.diagonal(first).zero_()
        parts.append(values.sum(1) / (len(y) - omit))
    return torch.cat(parts)


def _variance(u: Tensor) -> Tensor:
    """Equation (3)."""
    return 4 * u.var() / len(u)
