"""A few pictures of a subject: what all of them show, and what a model drew before beside them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from carrara.data.base import Cell, DataInfo, Dataset, View
from carrara.types import WEIGHT


@final
class Told(View):
    """A data set of whose examples the same is said.

    Args:
        caption: what.
        columns: that say it, in the place of the data's own.
        classes: that these are of, if they are.
    """

    def __init__(
        self, dataset: Dataset, caption: str, columns: Mapping[str, Cell], classes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(dataset)
        self._caption, self._columns = caption, columns
        self.info: DataInfo = replace(dataset.info, captions=True, classes=classes)

    @property
    def bare(self) -> Dataset:
        return self.dataset.bare

    def columns(self, index: int) -> Mapping[str, Cell]:
        return self._columns

    def captions(self, index: int) -> tuple[str, ...]:
        return (self._caption,)


@final
class WithPrior(View):
    """A data set, and as many pictures of another kind: first its examples, again and again, then the others.

    So half of the samples of an epoch are of either, in an order that the loader shuffles.

    Args:
        count: of the others.
        other: their pixels (H, W, C), by their number.
        caption, columns: what is said of them.
        weight: how much they count in the loss; those of the data count 1.
    """

    def __init__(
        self,
        dataset: Dataset,
        count: int,
        other: Callable[[int], NDArray[Any]],
        *,
        caption: str,
        columns: Mapping[str, Cell],
        weight: float,
    ) -> None:
        super().__init__(dataset)
        self._half, self._count, self._other = max(count, len(dataset)), count, other
        self._caption, self._columns, self._weight = caption, columns, weight

    def __len__(self) -> int:
        return 2 * self._half

    def at(self, index: int) -> int:
        return index % self._half % len(self.dataset)

    def pixels(self, index: int) -> NDArray[Any]:
        return self._other(self._number(index)) if self._is_other(index) else super().pixels(index)

    def native(self, index: int) -> tuple[int, ...]:
        return self.pixels(index).shape[:-1] if self._is_other(index) else super().native(index)

    def key(self, index: int) -> str:
        """Repetitions have keys of their own, so that they do not take turns."""
        own = f"prior {self._number(index)}" if self._is_other(index) else super().key(index)
        return f"{own} {index}"

    def held(self, index: int) -> bool | None:
        return None

    def columns(self, index: int) -> Mapping[str, Cell]:
        other = self._is_other(index)
        own = self._columns if other else super().columns(index)
        return {**own, WEIGHT: np.array([self._weight if other else 1], np.float32)}

    def captions(self, index: int) -> tuple[str, ...]:
        return ((self._caption,) if self._caption else ()) if self._is_other(index) else super().captions(index)

    def map(self, index: int) -> None:
        return None

    def origin(self, index: int) -> tuple[Dataset, int]:
        return (self, index) if self._is_other(index) else super().origin(index)

    def name(self, index: int) -> str:
        return f"drawn before {self._number(index)}" if self._is_other(index) else super().name(index)

    def _is_other(self, index: int) -> bool:
        return index >= self._half

    def _number(self, index: int) -> int:
        return (index - self._half) % self._count
