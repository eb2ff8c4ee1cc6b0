r"""Measurements of pictures: y = A x + noise, with a linear A whose Gram matrix can be inverted.

What shrinks, blurs or removes colour acts on the axes of a picture one by one, so it is a matrix for each,

.. math:: A = C \otimes H \otimes W, \qquad (A x)_{ijk} = \sum C_{ic} H_{jh} W_{kw} x_{chw}.                      (1)

With :math:`C C^\top = U_C \Lambda_C U_C^\top`, and so on, what a Gaussian likelihood needs is exact and cheap:

.. math:: (r^2 A A^\top + s^2)^{-1} = U \big( r^2 \Lambda_C \otimes \Lambda_H \otimes \Lambda_W + s^2 \big)^{-1}
          U^\top, \qquad U = U_C \otimes U_H \otimes U_W.                                                        (2)
"""

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.pixels import LUMA, Pictures

Matrix = Float[Tensor, "..."]
"""(out, in), float64."""
Measured = Float[Tensor, "B K M N"]
"""What is measured of pictures."""


class Measurement(ABC):
    """A linear A, (B, C, H, W) to (B, C', H', W'); the adjoint is autograd's."""

    @abstractmethod
    def __call__(self, x: Pictures) -> Measured:
        """A x."""

    @abstractmethod
    def solve(self, y: Measured, r2: float, s2: float) -> Measured:
        """(r^2 A A^T + s^2)^-1 y, for r2 >= 0 and s2 > 0."""


@final
class AlongAxes(Measurement):
    """Equation (1).

    Args:
        channels, rows, columns: C, H and W, (out, in) each.
    """

    def __init__(self, channels: Matrix, rows: Matrix, columns: Matrix) -> None:
        self._matrices = channels.double(), rows.double(), columns.double()
        eigen = [torch.linalg.eigh(m @ m.T) for m in self._matrices]
        self._bases = tuple(e.eigenvectors for e in eigen)
        values = (e.eigenvalues.clamp(min=0) for e in eigen)  # of a Gram matrix, but for rounding
        self._spectrum = torch.einsum("c,h,w->chw", *values)

    def __call__(self, x: Pictures) -> Measured:
        return _along(x, *self._matrices)

    def solve(self, y: Measured, r2: float, s2: float) -> Measured:
        """Equation (2)."""
        rotated = _along(y, *(u.T for u in self._bases))
        return _along(rotated / (r2 * self._spectrum + s2).to(y), *self._bases)


@final
class Masking(Measurement):
    """Only some values are seen.

    Args:
        seen: (1 or C, H, W) bool.
    """

    def __init__(self, seen: Tensor) -> None:
        self._seen = seen

    def __call__(self, x: Pictures) -> Measured:
        return x * self._seen.to(x)

    def solve(self, y: Measured, r2: float, s2: float) -> Measured:
        return y / (r2 * self._seen.to(y) + s2)


def downscaled(shape: tuple[int, int, int], factor: int) -> Measurement:
    """Averages squares of ``factor`` by ``factor`` pixels of pictures of ``shape`` (C, H, W).

    Raises:
        ValueError: ``factor`` is below 2 or does not divide height and width.
    """
    channels, height, width = shape
    if factor < 2 or height % factor or width % factor:
        raise ValueError(f"a factor of {factor} does not divide pictures of {height}x{width} into equal squares")
    return AlongAxes(_eye(channels), _averages(height, factor), _averages(width, factor))


def blurred(shape: tuple[int, int, int], sigma: float) -> Measurement:
    """Blurs pictures of ``shape`` (C, H, W) by a Gaussian of ``sigma`` pixels, mirrored at the borders.

    Raises:
        ValueError: ``sigma`` is not positive, or larger than the pictures.
    """
    if not 0 < sigma <= max(shape[1:]):
        raise ValueError(
            f"a blur has a positive width in pixels, at most that of the pictures, {max(shape[1:])}, got {sigma}"
        )
    return AlongAxes(_eye(shape[0]), *(_gaussian(edge, sigma) for edge in shape[1:]))


def greyed(shape: tuple[int, int, int]) -> Measurement:
    """Takes the luma of colour pictures of ``shape`` (3, H, W).

    Raises:
        ValueError: the pictures have no three channels.
    """
    if shape[0] != 3:
        raise ValueError(f"colour has 3 channels, and these pictures have {shape[0]}")
    return AlongAxes(torch.tensor([LUMA]), *(_eye(edge) for edge in shape[1:]))


def _along(x: Pictures, channels: Matrix, rows: Matrix, columns: Matrix) -> Measured:
    return torch.einsum("bchw,ic,jh,kw->bijk", x, channels.to(x), rows.to(x), columns.to(x))


def _eye(size: int) -> Matrix:
    return torch.eye(size, dtype=torch.float64)


def _averages(size: int, factor: int) -> Matrix:
    return _eye(size // factor).repeat_interleave(factor, dim=1) / factor


def _gaussian(size: int, sigma: float) -> Matrix:
    """(size, size), symmetric: what leaves the picture comes back as from a mirror."""
    reach = math.ceil(4 * sigma)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    place = (torch.arange(size)[:, None] + offsets) % (2 * size)
    place = torch.minimum(place, 2 * size - 1 - place)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(
        1, place, (weights / weights.sum()).expand(size, -1)
    )
