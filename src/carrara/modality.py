"""What the numbers of a sample are: what one must know, besides the shape, to show samples and to write them to files.

Pictures and plain points need nothing more than their shape, and have no modality. All else says here in which units
its numbers are: a source measures or is told them, a model keeps them, and a medium writes samples back in them.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

Pitch = Annotated[int, Field(ge=0, le=127)]
"""Of MIDI: 60 is middle C."""
Name = Annotated[str, Field(max_length=200)]


@dataclass(frozen=True, kw_only=True)
class Sound:
    """Waveforms (C, L) in [-1, 1].

    Attributes:
        rate: samples a second, in Hz.
    """

    kind: Literal["sound"] = "sound"
    rate: Annotated[int, Field(ge=1, le=1_000_000)]


@dataclass(frozen=True, kw_only=True)
class Notes:
    """Pieces of music on a grid in time.

    Attributes:
        form: ``roll``, (C, T, P), an onset and a hold of each voice over time and pitch; or ``tokens``, (V, T), one of
            a number of states for each voice and step.
        voices: their names.
        lowest, highest: the pitches that occur.
        per_quarter: steps of the grid in a quarter note.
    """

    kind: Literal["notes"] = "notes"
    form: Literal["roll", "tokens"] = "tokens"
    voices: Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)]
    lowest: Pitch
    highest: Pitch
    per_quarter: Annotated[int, Field(ge=1, le=96)] = 4

    def __post_init__(self) -> None:
        if self.highest < self.lowest:
            raise ValueError(f"pitches go from {self.lowest} up to {self.highest}, which is below")


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Arrays in units of their own, (C, *N), of which [low, high] is [-1, 1] inside.

    Attributes:
        dtype: of the arrays, as NumPy calls it.
        low, high: the range, in the arrays' units.
        missing: whether there are values that nobody knows, which neither train nor count.
    """

    kind: Literal["numbers"] = "numbers"
    dtype: Annotated[str, Field(max_length=16)]
    low: float
    high: float
    missing: bool = False

    def __post_init__(self) -> None:
        try:
            known = np.dtype(self.dtype).kind in "iuf"
        except TypeError:
            known = False
        if not known:
            raise ValueError(f"arrays are of whole or of floating-point numbers, and '{self.dtype}' is neither")
        if not self.low < self.high:
            raise ValueError(f"a range goes up, and low is {self.low:g}, high {self.high:g}")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table: a number, or one of several categories.

    Attributes:
        mean, std: of the numbers, in their units.
        categories: their names; none of a column of numbers.
        whole: whether all its numbers are whole.
    """

    name: Name
    mean: float = 0.0
    std: Annotated[float, Field(gt=0)] = 1.0
    categories: Annotated[tuple[Name, ...], Field(max_length=10_000)] = ()
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of a table as points (D,): a standardised number for each column, or one for each category.

    Attributes:
        columns: in their order.
    """

    kind: Literal["table"] = "table"
    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=10_000)]


AnyModality = Sound | Notes | Numbers | Table
"""The tagged union that models hold."""
