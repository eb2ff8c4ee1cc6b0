r"""Does a picture show what was asked for? It is looked for among others, by its features.

With the features f_k of the pictures that captions k = 1 ... N belong to, and g_k of those that a model made for the
same captions, both less their means, as directions,

.. math:: s_{kj} = \frac{g_k - \bar g}{\|g_k - \bar g\|} \cdot \frac{f_j - \bar f}{\|f_j - \bar f\|},
    \qquad r_k = 1 + \#\{j: s_{kj} > s_{kk}\}                                                                     (1)

A model that does not listen finds the right picture first, r_k = 1, in one case of N.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Equation (1), summed up.

    Attributes:
        count: N.
        first: in which part of the cases the right picture is the nearest; chance is 1 / N.
        fifth: in which part it is among the five nearest.
        rank: the mean of r_k; chance is (N + 1) / 2.
    """

    count: int
    first: float
    fifth: float
    rank: float

    @property
    def times_chance(self) -> float:
        """``first`` in units of chance."""
        return self.first * self.count


def retrieval(made: Float[Tensor, "N D"], right: Float[Tensor, "N D"]) -> Retrieval:
    """Looks for each right picture among all, with what was made for its caption.

    Args:
        made: g, features of the pictures that were made.
        right: f, features of the pictures that the captions belong to, in the same order.
    """
    similar = _directions(made) @ _directions(right).T
    ranks = 1 + (similar > similar.diagonal()[:, None]).sum(1).double()
    return Retrieval(
        count=len(made),
        first=(ranks == 1).double().mean().item(),
        fifth=(ranks <= 5).double().mean().item(),
        rank=ranks.mean().item(),
    )


def _directions(features: Tensor) -> Tensor:
    centred = features.double() - features.double().mean(0)
    return F.normalize(centred, dim=1)
