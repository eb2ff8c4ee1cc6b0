"""What sources of points in the plane have in common."""

from abc import ABC

from torch import Tensor

from carrara.data.arrays import Arrays
from carrara.data.base import DataInfo, Dataset
from carrara.data.sources.base import Source


class PlaneSource(Source, ABC):
    """Points (2,) that are drawn by their numbers. Abstract in where they lie."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (2,)

    def numbered(self, points: Tensor) -> Dataset:
        """Points (N, 2) as a data set, whose number is what each of them is known by."""
        info = DataInfo(name=self.kind, dimension=2)
        return Arrays(info, points.numpy(), keys=[str(k) for k in range(len(points))])
