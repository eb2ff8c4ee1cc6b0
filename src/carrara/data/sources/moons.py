r"""Points on two moons that clasp each other.

With an angle a in (0, pi) and Gaussian noise of standard deviation s, a point lies on either half circle alike,

.. math:: y = (\cos a, \sin a) \ \text{or} \ (1 - \cos a, \tfrac12 - \sin a), \quad
          x = k (y - (\tfrac12, \tfrac14)) + s \epsilon, \quad k^2 = 2 / (\tfrac{21}{16} - \tfrac1\pi)              (1)

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
class MoonsSource(PlaneSource):
    """Points (2,) by equation (1); point k is the same however many there are.

    Attributes:
        points: how many.
        thickness: s, where the points have a standard deviation of about one, and a moon's radius is 1.42.
    """

    spatial = 0
    preset = "swissroll"
    kind: Literal["moons"] = "moons"
    points: int = 20_000
    thickness: float = 0.05

    def __post_init__(self) -> None:
        if self.points < 1 or self.thickness < 0:
            raise ValueError(f"take 1 point or more, and a thickness of 0 or more, not {self.points}, {self.thickness}")

    def open(self, size: int | None = None) -> Dataset:
        draws = Draws(0, torch.arange(self.points))
        a, other = math.pi * draws.uniform("moon angle"), draws.uniform("which moon") < 0.5
        y = torch.stack([torch.where(other, 1 - a.cos(), a.cos()), torch.where(other, 0.5 - a.sin(), a.sin())], dim=1)
        scale = math.sqrt(2 / (21 / 16 - 1 / math.pi))
        points = scale * (y - torch.tensor([0.5, 0.25])) + self.thickness * draws.normal("moon thickness", 2)
        return self.numbered(points)

    @property
    def facts(self) -> tuple[Fact, ...]:
        return (Fact(name="thickness", value=self.thickness, meaning="of the moons, which decides what is possible"),)
