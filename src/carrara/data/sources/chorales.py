"""Bach's chorales as a source."""

from dataclasses import dataclass
from typing import Annotated, Literal, final

from pydantic import Field

from carrara.data.base import DataInfo, Dataset
from carrara.data.chorales import ATTRIBUTION, RANGES, VOICES, Corpus, corpus
from carrara.data.pieces import Form, Piece, Pieces, classes_of, shifts_within
from carrara.data.sources.base import Source
from carrara.modality import Notes

_LOWEST, _HIGHEST = RANGES[-1][0], RANGES[0][1]
_ROLL = (35, 82)  # two more pitches, so that a network can halve 48 of them four times
_MOST_MOVED = 6


@final
@dataclass(frozen=True, kw_only=True)
class ChoralesSource(Source):
    """About 400 of Bach's chorales, in windows of some bars.

    Attributes:
        form: ``tokens``, a row of numbers for each voice, or ``roll``, pictures of steps by pitches.
        length: sixteenths of a window; 64 are four bars of 4/4.
        transpose: in all keys in which each voice stays in its range, at most 6 semitones away.
    """

    preset = "chorales"
    kind: Literal["chorales"] = "chorales"
    form: Form = "tokens"
    length: Annotated[int, Field(ge=8, le=1024)] = 64
    transpose: bool = True

    def open(self, size: int | None = None) -> Dataset:
        found = corpus()
        pieces = list[Piece]()
        for chorale in found.pieces:
            grid = chorale.grid
            shifts = tuple(k for k in shifts_within(grid, RANGES) if abs(k) <= _MOST_MOVED)
            if shifts:
                pieces.append(Piece(grid=grid, key=chorale.copy_of, shifts=shifts if self.transpose else (0,)))
        info = DataInfo(
            name="chorales",
            channels=self.shape[0],
            native=self.shape[1:],
            classes=classes_of([piece.grid for piece in pieces]),
            remarks=_remarks(found, len(pieces)),
            attribution=ATTRIBUTION,
        )
        return Pieces(info, pieces, self.modality, self.length)

    @property
    def modality(self) -> Notes:
        low, high = (_LOWEST, _HIGHEST) if self.form == "tokens" else _ROLL
        return Notes(form=self.form, voices=VOICES, lowest=low, highest=high)

    @property
    def spatial(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return 1 if self.form == "tokens" else 2

    @property
    def shape(self) -> tuple[int, ...]:
        if self.form == "tokens":
            return (len(VOICES), self.length)
        return (2 * len(VOICES), self.length, _ROLL[1] - _ROLL[0] + 1)


def _remarks(found: Corpus, used: int) -> tuple[str, ...]:
    notes = sum(len(chorale.notes) // 4 for chorale in found.pieces)
    moved = sum(chorale.moved for chorale in found.pieces)
    copies = sum(chorale.copy_of != chorale.name for chorale in found.pieces)
    without = ", ".join(f"{name} {why}" for name, why in found.left_out[:5])
    lines = [
        f"{used} chorales; {moved} of {notes} notes were moved to the nearest sixteenth",
        f"{copies} chorales are versions of others, and on their side of the split",
    ]
    lines += [f"{len(found.left_out)} scores are left out, because they have no four voices: {without}"] * bool(without)
    beyond = len(found.pieces) - used
    return (*lines, *[f"{beyond} chorales are left out, because a voice leaves its range"] * bool(beyond))
