r"""Euclidean distances between all vectors of two sets, a few rows at a time, in float64.

.. math:: |x_i - y_j|^2 = |x_i|^2 + |y_j|^2 - 2 x_i \cdot y_j                                                    (1)

about the mean of y, so that less cancels. What is 0 but for rounding is exactly 0: a copy is a copy.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

_ELEMENTS = 1 << 21
"""How many distances are computed at a time."""


def distance_blocks(x: Float[Tensor, "M D"], y: Float[Tensor, "N D"]) -> Iterator[tuple[slice, Tensor]]:
    """Which rows, and their distances (rows, N) to all of y."""
    centre = y.mean(0, dtype=torch.float64)
    rows, columns = x - centre, y - centre
    lengths = rows.square().sum(1)[:, None], columns.square().sum(1)
    rounding = x.shape[1] * torch.finfo(torch.float64).eps
    for first in range(0, len(x), count := max(1, _ELEMENTS // len(y))):
        part = slice(first, min(first + count, len(x)))
        scale = lengths[0][part] + lengths[1]
        squares = torch.addmm(scale, rows[part], columns.T, alpha=-2)
        yield part, squares.masked_fill_(squares <= scale.mul_(rounding), 0).sqrt_()


def nearest_neighbours(
    x: Float[Tensor, "M D"], y: Float[Tensor, "N D"], count: int = 1, *, own: bool = False
) -> tuple[Float[Tensor, "M K"], Int[Tensor, "M K"]]:
    """The distances (M, K) to the K nearest of y, the nearest first, and which they are.

    Args:
        count: K.
        own: y is x, and none is its own neighbour.

    Raises:
        ValueError: y has no K neighbours.
    """
    if len(y) - own < count:
        raise ValueError(f"{count} nearest neighbours need more pictures than {len(y)}")
    distances: list[Tensor] = []
    indices: list[Tensor] = []
    for part, block in distance_blocks(x, y):
        if own:
            block.diagonal(part.start).fill_(torch.inf)
        found = block.topk(count, largest=False)
        distances.append(found.values)
        indices.append(found.indices)
    return torch.cat(distances), torch.cat(indices)
