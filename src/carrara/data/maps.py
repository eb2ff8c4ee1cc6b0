"""Maps that lie beside pictures, as a condition column: what is where, in flat colours, each of which has a number."""

from collections.abc import Iterator, Mapping, Sequence
from typing import final

import numpy as np

from carrara.data.base import Cell, ClassMap, Dataset, Unreadable, View
from carrara.errors import UserError
from carrara.types import MAP

Colour = tuple[int, int, int]


@final
class Mapped(View):
    """A data set whose maps are the column ``map``, as numbers (H, W, 1) of their colours.

    Args:
        colours: red, green and blue in 0..255.
    """

    def __init__(self, dataset: Dataset, colours: Sequence[Colour]) -> None:
        super().__init__(dataset)
        self._colours = colours

    @property
    def bare(self) -> Dataset:
        return self.dataset

    def columns(self, index: int) -> Mapping[str, Cell]:
        try:
            found = self.dataset.map(index)
        except Unreadable as error:
            raise Unreadable(f"its map: {error}", error.fault) from None
        if found is None:
            raise Unreadable("it has no map")
        return {**self.dataset.columns(index), MAP: numbered(found, self._colours)}


def maps_of(dataset: Dataset) -> Iterator[ClassMap]:
    """The maps (H, W, 3) of all examples.

    Raises:
        UserError: an example has none, or one that cannot be read or is of another size.
    """
    for index in range(len(dataset)):
        name = dataset.name(index)
        try:
            found = dataset.map(index)
        except (Unreadable, ValueError) as error:
            raise UserError(f"the map of '{name}' cannot be read ({error}): save it as a PNG of flat colours") from None
        if found is None:
            raise UserError(f"'{name}' has no map, and others have: put one beside it, named {_beside(name)}")
        if found.shape[:2] != dataset.native(index):
            (height, width), size = dataset.native(index), found.shape
            raise UserError(
                f"the map of '{name}' is {size[1]}x{size[0]} and the picture {width}x{height}: paint it at the "
                "picture's size"
            )
        yield found


def _beside(name: str) -> str:
    return f"{name.rpartition('.')[0]}.map.png"


def numbered(colours: ClassMap, palette: Sequence[Colour]) -> ClassMap:
    """The number (H, W, 1) of the nearest colour of a palette at each place of (H, W, 3)."""
    found, where = np.unique(colours.reshape(-1, 3), axis=0, return_inverse=True)
    apart = found[:, None].astype(np.int32) - np.asarray(palette, np.int32)
    numbers = np.square(apart).sum(-1).argmin(1).astype(np.uint8)
    return numbers[where].reshape(*colours.shape[:2], 1)
