r"""Points on rings about the origin.

Each of n rings is as likely as the others, and is thickened by Gaussian noise of standard deviation s:

.. math:: x = k r (\cos \varphi, \sin \varphi) + s \epsilon, \quad \varphi \sim U(0, 2 \pi), \quad
          k^2 = 2 n / \textstyle\sum_{j=1}^n j^2, \quad r \in \{1, \dots, n\}                                       (1)

where k makes E|x|^2 = 2 but for the noise, one for each coordinate.
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
class RingsSource(PlaneSource):
    """Points (2,) by equation (1); point k is the same however many there are.

    Attributes:
        points: how many.
        rings: n.
        thickness: s, where the points have a standard deviation of about one.
    """

    spatial = 0
    preset = "swissroll"
    kind: Literal["rings"] = "rings"
    points: int = 20_000
    rings: int = 3
    thickness: float = 0.03

    def __post_init__(self) -> None:
        if self.points < 1 or self.thickness < 0:
            raise ValueError(f"take 1 point or more, and a thickness of 0 or more, not {self.points}, {self.thickness}")
        if not 1 <= self.rings <= 1000:
            raise ValueError(f"take 1 to 1000 rings, not {self.rings}")

    def open(self, size: int | None = None) -> Dataset:
        draws = Draws(0, torch.arange(self.points))
        phi = 2 * math.pi * draws.uniform("ring angle")
        k = math.sqrt(2 * self.rings / sum(j * j for j in range(1, self.rings + 1)))
        r = k * (1 + draws.integer("which ring", self.rings))
        points = r[:, None] * torch.stack([phi.cos(), phi.sin()], dim=1)
        points = points + self.thickness * draws.normal("ring thickness", 2)
        return self.numbered(points)

    @property
    def facts(self) -> tuple[Fact, ...]:
        return (Fact(name="thickness", value=self.thickness, meaning="of the rings, which decides what is possible"),)
