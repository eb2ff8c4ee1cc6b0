"""Pieces of music as examples: windows of a fixed length that begin at bar lines, in all keys that they may be in.

An example is one window of one piece, moved by some semitones. All that come from a piece have its key, so that no
piece is on both sides of the split. Nothing is kept but the pieces: a window is cut when it is asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from carrara.data.base import Choices, DataInfo, Dataset, Row
from carrara.modality import Notes
from carrara.notes import EVERY, MODES, REST, TONICS, Grid, to_roll, to_tokens, to_unit

Form = Literal["tokens", "roll"]
TONIC = "key "
"""What a class of a tonic begins with, as in "key C"."""
_SOME = ((0, 1, 2), (0, 1), (0, 2), (1, 2), (0,), (1,), (2,))
"""What is said of an example: all of tonic, mode and metre, two of them, or one."""
_LEAST = 0.5
"""The part of a window that sounds at least."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """A piece, and how it is used.

    Attributes:
        key: what it is split by.
        shifts: by how many semitones it is moved, each time another example.
    """

    grid: Grid
    key: str
    shifts: tuple[int, ...] = (0,)


@final
class Pieces(Dataset):
    """Windows of pieces; see this module.

    Args:
        modality: how examples are written; with the single voice ``notes.EVERY`` all voices of a roll are together.
        length: steps of a window.
        choices: a sentence for each part of the modality that was chosen from the data.
    """

    def __init__(
        self, info: DataInfo, pieces: Sequence[Piece], modality: Notes, length: int, choices: tuple[str, ...] = ()
    ) -> None:
        self.info, self._pieces, self.modality, self.choices = info, pieces, modality, choices
        self._length, self._pitches = length, (modality.lowest, modality.highest)
        places = [
            (number, start, shift)
            for number, piece in enumerate(pieces)
            for start in window_starts(piece.grid, length)
            for shift in piece.shifts
        ]
        self._places = np.array(places, np.int32).reshape(-1, 3)
        self._rows = [self._row(piece.grid) for piece in pieces] if info.classes else []

    def __len__(self) -> int:
        return len(self._places)

    def grid(self, index: int) -> Grid:
        """The music of an example."""
        number, start, shift = self._places[index].tolist()
        return self._pieces[number].grid.window(start, self._length).transposed(shift)

    def pixels(self, index: int) -> NDArray[Any]:
        if self.modality.form == "tokens":
            return to_unit(to_tokens(self.grid(index), *self._pitches).T, *self._pitches)
        return to_roll(self.grid(index), *self._pitches, together=self.modality.voices == (EVERY,))

    def native(self, index: int) -> tuple[int, ...]:
        low, high = self._pitches
        return (self._length,) if self.modality.form == "tokens" else (self._length, high - low + 1)

    def key(self, index: int) -> str:
        return self._pieces[self._places[index, 0]].key

    def columns(self, index: int) -> Mapping[str, Choices]:
        """``label``: 1 for the tonic, the mode and the metre, as far as they are known; or for some of these, so that
        a model can be told any of them alone."""
        if not self._rows:
            return {}
        number, _, shift = self._places[index].tolist()
        row = self._rows[number]
        tonics = len(TONICS)
        said = np.concatenate([np.roll(row[:tonics], shift), row[tonics:]])
        kinds = np.searchsorted([tonics, tonics + len(MODES)], np.arange(len(said)), "right")
        return {"label": Choices(tuple(said * np.isin(kinds, some) for some in _SOME))}

    def name(self, index: int) -> str:
        number, start, shift = self._places[index].tolist()
        grid = self._pieces[number].grid
        moved = f", {shift:+d} semitones" if shift else ""
        return f"{grid.name or self.info.name}, bar {bar_number(grid, start)}{moved}"

    def _row(self, grid: Grid) -> Row:
        row = np.zeros(len(self.info.classes), np.float32)
        said = [] if grid.key is None else [TONIC + TONICS[grid.key.tonic], grid.key.mode]
        said += [] if grid.metre is None else [metre_name(grid.metre)]
        row[[self.info.classes.index(one) for one in said if one in self.info.classes]] = 1
        return row


def window_starts(grid: Grid, length: int) -> list[int]:
    """The bar lines at which windows begin, so that they lie in the piece and are not mostly silent.

    A piece that is too short has one window, from its first bar line on.
    """
    starts = [bar for bar in grid.bars if bar + length <= grid.steps] or grid.bars[:1]
    return [bar for bar in starts if (grid.window(bar, length).pitches != REST).mean() >= _LEAST]


def classes_of(grids: Sequence[Grid], most: int | None = None) -> tuple[str, ...]:
    """All tonics and modes if a key is known anywhere, and the metres that occur, common ones first.

    Args:
        most: metres.
    """
    metres = [metre_name(grid.metre) for grid in grids if grid.metre]
    common = sorted(set(metres), key=lambda name: (-metres.count(name), name))
    keys = [TONIC + tonic for tonic in TONICS] + list(MODES) if any(grid.key for grid in grids) else []
    return (*keys, *common[:most])


def metre_name(metre: tuple[int, int]) -> str:
    """As one writes it: 3/4."""
    return f"{metre[0]}/{metre[1]}"


def bar_number(grid: Grid, step: int) -> int:
    """Of the bar that begins at a step; 0 is the pickup."""
    return (step - grid.pickup) // grid.bar + 1


def shifts_within(grid: Grid, ranges: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """By how many semitones a piece can be moved so that each voice is in its range; () if one is not as it is."""
    lowest, highest = -127, 127
    for row, (low, high) in zip(grid.pitches, ranges, strict=True):
        sounding = row[row != REST]
        if sounding.size:
            lowest, highest = max(lowest, low - int(sounding.min())), min(highest, high - int(sounding.max()))
    return tuple(range(lowest, highest + 1)) if lowest <= 0 <= highest else ()
