r"""A piece of music on a grid of equal steps: what sounds in each voice at each step.

A voice v has at step t a pitch :math:`p_{v,t}`, or none, and a sign :math:`o_{v,t}` of whether a note begins there. A
note goes on where a step has the pitch of the step before and no such sign, so each sounding step is one or the other:

.. math:: p_{v,t} \ge 0 \;\Rightarrow\; o_{v,t} \;\text{or}\; (t > 0 \;\text{and}\; p_{v,t} = p_{v,t-1}).        (1)

Two notes of one pitch, one after the other, are thus told from one long note.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from carrara.notes.keys import Key

REST = -1
Pitches = NDArray[np.int16]
Onsets = NDArray[np.bool_]
Rows = NDArray[np.int64]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """A piece, or a part of one. Equal if all that it says is.

    Attributes:
        pitches: (V, T), MIDI pitches 0 to 127, or -1 where a voice rests.
        onsets: (V, T), where a note begins; see equation (1).
        per_quarter: steps in a quarter note.
        tempo: quarter notes per minute, to a hundredth.
        key: if it is known.
        metre: (beats in a bar, the note that a beat is: 4 for quarters), if it is known.
        pickup: steps before the first bar line, fewer than a bar has.
        voices: their names, from the highest to the lowest; () where they have none.
    """

    pitches: Pitches
    onsets: Onsets
    per_quarter: int = 4
    tempo: float = 100.0
    key: Key | None = None
    metre: tuple[int, int] | None = None
    pickup: int = 0
    voices: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        pitches, onsets = self.pitches, self.onsets
        if pitches.ndim != 2 or pitches.shape != onsets.shape:
            raise ValueError(f"a grid has pitches and onsets (V, T), not {pitches.shape} and {onsets.shape}")
        if self.voices and len(self.voices) != len(pitches):
            raise ValueError(f"{len(pitches)} voices have {len(self.voices)} names")
        if pitches.size and (pitches.min() < REST or pitches.max() > 127):
            raise ValueError(f"pitches are 0 to 127, or -1 for a rest, not {pitches.min()} to {pitches.max()}")
        if not _is_consistent(pitches, onsets):
            raise ValueError("a step that sounds begins a note or goes on with that of the step before")
        if self.metre and not (1 <= self.metre[0] <= 255 and self.metre[1] in (1, 2, 4, 8, 16, 32)):
            raise ValueError(f"{self.metre[0]}/{self.metre[1]} is no metre")
        if not 0 <= self.pickup < max(1, self.bar):
            raise ValueError(f"a pickup is shorter than a bar of {self.bar} steps, not {self.pickup}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        said = [(g.per_quarter, g.tempo, g.key, g.metre, g.pickup, g.voices, g.name) for g in (self, other)]
        alike = np.array_equal(self.pitches, other.pitches) and np.array_equal(self.onsets, other.onsets)
        return alike and said[0] == said[1]

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    @property
    def steps(self) -> int:
        """T."""
        return self.pitches.shape[1]

    @property
    def bar(self) -> int:
        """Steps in a bar; of 4/4 if the metre is not known."""
        return bar_steps(self.metre, self.per_quarter)

    @property
    def bars(self) -> list[int]:
        """The steps at which bars begin, the pickup's left out."""
        return list(range(self.pickup, self.steps, self.bar))

    def notes(self) -> Rows:
        """(N, 4): voice, first step, steps, pitch; by voice, then by time."""
        voices, starts = np.nonzero(self.onsets)
        lasts = self.onsets | (self.pitches == REST)
        ends = np.full(len(voices), self.steps, np.int64)
        for k, (voice, start) in enumerate(zip(voices, starts, strict=True)):
            later = np.flatnonzero(lasts[voice, start + 1 :])
            ends[k] = start + 1 + later[0] if len(later) else self.steps
        return np.stack([voices, starts, ends - starts, self.pitches[voices, starts]], 1).astype(np.int64)

    def window(self, start: int, length: int) -> "Grid":
        """Some of its steps, from the bar line before which ``start`` lies on; beyond its end there are rests.

        A note that is cut begins at the cut.
        """
        pitches = np.full((len(self.pitches), length), REST, np.int16)
        onsets = np.zeros(pitches.shape, np.bool_)
        part = slice(start, min(start + length, self.steps))
        pitches[:, : part.stop - start], onsets[:, : part.stop - start] = self.pitches[:, part], self.onsets[:, part]
        onsets[:, :1] |= pitches[:, :1] != REST
        return replace(self, pitches=pitches, onsets=onsets, pickup=(self.pickup - start) % self.bar)

    def transposed(self, semitones: int) -> "Grid":
        """Its pitches and its key moved.

        Raises:
            ValueError: a pitch leaves MIDI's range.
        """
        pitches = np.where(self.pitches == REST, REST, self.pitches + semitones)
        if ((pitches < 0) & (self.pitches != REST)).any():
            raise ValueError(f"moved by {semitones} semitones, a pitch is below 0")
        return replace(self, pitches=pitches.astype(np.int16), key=self.key and self.key.moved(semitones))


def bar_steps(metre: tuple[int, int] | None, per_quarter: int = 4) -> int:
    """Steps in a bar; of 4/4 if the metre is not known."""
    beats, beat = metre or (4, 4)
    return max(1, beats * 4 * per_quarter // beat)


def pitch_classes(grid: Grid) -> Rows:
    """(12,) how many steps each pitch class sounds, over all voices."""
    return np.bincount(grid.pitches[grid.pitches != REST] % 12, minlength=12).astype(np.int64)


def painted(notes: Sequence[Sequence[int]] | Rows, voices: int, steps: int) -> tuple[Pitches, Onsets]:
    """(V, T) pitches and onsets of notes (voice, first step, steps, pitch); a later note of a voice ends an earlier."""
    pitches = np.full((voices, steps), REST, np.int16)
    onsets = np.zeros((voices, steps), np.bool_)
    for voice, start, length, pitch in sorted(tuple(map(int, note)) for note in notes):
        before = slice(start, steps)
        end = min(start + length, steps)
        onsets[voice, before], pitches[voice, before] = False, REST
        pitches[voice, start:end], onsets[voice, start : start + 1] = pitch, True
    return pitches, onsets


def _is_consistent(pitches: Pitches, onsets: Onsets) -> bool:
    """Equation (1), and that no rest is the beginning of a note."""
    sounds = pitches != REST
    goes_on = np.zeros_like(onsets)
    goes_on[:, 1:] = sounds[:, 1:] & (pitches[:, 1:] == pitches[:, :-1])
    return bool((sounds <= (onsets | goes_on)).all() and (onsets <= sounds).all())
