r"""Points on the black squares of a checkerboard.

On a board of n by n squares of edge a, n even, all black squares alike hold points that are uniform there:

.. math:: x \sim U(\text{squares with } i + j \text{ even}), \quad a = \sqrt{12} / n, \quad
          -E \ln p = \ln (n^2 a^2 / 2) = \ln 6                                                                     (1)

where a makes the variance of each coordinate one. So no model needs fewer than ln 6 = 1.79 nats for a point.
"""

import math
from dataclasses import dataclass
from typing import Literal, final

import torch

from carrara.data.base import Dataset
from carrara.data.sources.base import Fact
from carrara.data.sources.plane import PlaneSource
from carrara.seeds import Draws


@final
@dataclass(frozen=True, kw_only=True)
class CheckerboardSource(PlaneSource):
    """Points (2,) by equation (1); point k is the same however many there are.

    Attributes:
        points: how many.
        squares: n, along an edge.
    """

    spatial = 0
    preset = "swissroll"
    kind: Literal["checkerboard"] = "checkerboard"
    points: int = 20_000
    squares: int = 4

    def __post_init__(self) -> None:
        if self.points < 1 or self.squares < 2 or self.squares % 2:
            raise ValueError(f"take 1 point or more, and an even number of squares, not {self.points}, {self.squares}")

    def open(self, size: int | None = None) -> Dataset:
        draws, half = Draws(0, torch.arange(self.points)), self.squares // 2
        i = draws.integer("row of the board", self.squares)
        j = 2 * draws.integer("square of the row", half) + i % 2
        corner = torch.stack([j, i], dim=1) - half
        points = math.sqrt(12) / self.squares * (corner + draws.uniform("place in the square", 2))
        return self.numbered(points)

    @property
    def facts(self) -> tuple[Fact, ...]:
        return (Fact(name="entropy", value=math.log(6), meaning="of the board in nats, below which no model comes"),)
