r"""How much a number about sets of pictures would differ for other pictures of the same law.

The statistic is computed again for random halves of each set. For a mean of n independent numbers of variance v, the
means of halves, drawn without replacement, spread about that of the whole by

.. math:: v \Big( \frac{1}{n / 2} - \frac1n \Big) = \frac{v}{n},                                                 (1)

exactly the variance of the whole's mean about the truth; so it is, to first order, for whatever is as smooth as a mean
(Shao and Wu, "A general theory for jackknife variance estimation", 1989). The usual bootstrap draws with replacement:
its copies are nearest neighbours at distance 0 and pairs that an unbiased kernel distance does not expect, and shift
what it should measure. Where the first order vanishes, as near a kernel distance of 0, halves spread too much, by up to
sqrt(3): the error is on the safe side.

A bias b / n, such as the Fréchet distance has, is twice as large for halves. So their mean tells it,

.. math:: b / n \approx \operatorname{mean} d_{n/2} - d_n, \qquad d_\infty \approx d_n - b / n,                   (2)

the idea of Chong and Forsyth ("Effectively unbiased FID and Inception score", 2020). Where a set has not several times
as many pictures as a vector has numbers, the bias falls more slowly than 1/n, and (2) takes away only a part of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.evaluate.kernel import Estimate
from carrara.seeds import permutation

HALVES = 30
"""How many: the error is known to an eighth of itself."""

Statistic = Callable[..., Mapping[str, float]]
"""Numbers by name, of one or more sets of features."""


@dataclass(frozen=True)
class Resampled(Estimate):
    """A number, its standard error by equation (1), and its bias by (2)."""

    bias: float

    @property
    def extrapolated(self) -> float:
        """What it would be for infinitely many pictures."""
        return self.value - self.bias


def bootstrap(
    statistic: Statistic, *sets: Float[Tensor, "_ D"], count: int = HALVES, seed: int = 0
) -> dict[str, Resampled]:
    """Equations (1) and (2) for each of the statistic's numbers.

    Args:
        statistic: is given as many sets as there are here.
        sets: features, one vector per picture; pictures are independent within and between sets.
        count: of halves.
        seed: which halves.

    Raises:
        ValueError: a set of fewer than four pictures.
    """
    if min(map(len, sets)) < 4:
        raise ValueError(f"half of {min(map(len, sets))} pictures is too little to tell an error from")
    whole = statistic(*sets)
    halves = [statistic(*(_half(x, which, seed, k) for which, x in enumerate(sets))) for k in range(count)]
    return {name: _resampled(value, [half[name] for half in halves]) for name, value in whole.items()}


def _half(x: Tensor, which: int, seed: int, k: int) -> Tensor:
    return x[permutation(len(x), "halves", seed, which, k)[: len(x) // 2]]


def _resampled(value: float, halves: list[float]) -> Resampled:
    spread = torch.tensor(halves, dtype=torch.float64)
    return Resampled(value, spread.std().item(), spread.mean().item() - value)
