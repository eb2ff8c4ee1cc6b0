r"""Points on a Swiss roll.

The Swiss roll of Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics" (2015), is a
spiral whose radius grows with the angle, thickened by Gaussian noise of standard deviation s:

.. math:: x = r (\cos\varphi, \sin\varphi) + s \epsilon, \quad \varphi = \tfrac{3\pi}{2} (1 + 2u), \quad
          r = \varphi / (\pi \sqrt{39/8}), \quad u \sim U(0, 1)                                                  (1)

where the constant makes E|r|^2 = 2, one for each coordinate.
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
class SwissRollSource(PlaneSource):
    """Points (2,) by equation (1); point k is the same however many there are.

    Attributes:
        points: how many.
        thickness: s, where the points have a standard deviation of about one, and the roll's outer radius is 2.04.
    """

    kind: Literal["swissroll"] = "swissroll"
    points: int = 20_000
    thickness: float = 0.02

    def __post_init__(self) -> None:
        if self.points < 1 or self.thickness < 0:
            raise ValueError(f"take 1 point or more, and a thickness of 0 or more, not {self.points}, {self.thickness}")

    def open(self, size: int | None = None) -> Dataset:
        draws = Draws(0, torch.arange(self.points))
        phi = 1.5 * math.pi * (1 + 2 * draws.uniform("swiss roll angle"))
        roll = phi[:, None] / (math.pi * math.sqrt(39 / 8)) * torch.stack([phi.cos(), phi.sin()], dim=1)
        points = roll + self.thickness * draws.normal("swiss roll thickness", 2)
        return self.numbered(points)

    @property
    def facts(self) -> tuple[Fact, ...]:
        return (Fact(name="thickness", value=self.thickness, meaning="of the roll, which decides what is possible"),)


def swissroll(count: int = 20_000, thickness: float = 0.02) -> Dataset:
    """So many points of a Swiss roll; see ``SwissRollSource``."""
    return SwissRollSource(points=count, thickness=thickness).open()
