r"""How musical pieces on a grid are: harmony, voice leading, and what is copied.

Shares and rates are of a set of pieces together: of all sounding steps, beats or bars, not means of pieces' means. What
is compared with training music are distributions of counted things, by the total variation

.. math:: d(p, q) = \tfrac12 \sum_x |p(x) - q(x)|,                                                              (1)

the part of one that must be moved to make the other. Two finite sets of one law have a distance above 0, too: compare
with that of two halves of the training music.

A chord is the set of pitch classes that sound at a beat, up to transposition: of its twelve transpositions as 12-bit
numbers, the smallest. Two voices move in parallel fifths or octaves where both change their pitch at one step in the
same direction, and their interval is 7, or 0, semitones and any number of octaves before and after.

A bar is compared cell by cell with all bars of the training music that are as long: its distance is the part of its
cells, of all voices, that differ in pitch or in where notes begin, from the nearest of them. Notes that come from the
bar before begin at the bar line, on both sides.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from carrara.notes import REST, Grid, Key, best_key, pitch_classes

Counts = Mapping[Hashable, int]
Places = dict[bytes, set[tuple[int, int]]]
Ranges = Sequence[tuple[int, int]]
"""The lowest and highest pitch of each voice."""
CHORDS = {
    "major": (0, 4, 7),
    "minor": (0, 3, 7),
    "diminished": (0, 3, 6),
    "augmented": (0, 4, 8),
    "dominant seventh": (0, 4, 7, 10),
    "major seventh": (0, 4, 7, 11),
    "minor seventh": (0, 3, 7, 10),
    "half-diminished seventh": (0, 3, 6, 10),
    "diminished seventh": (0, 3, 6, 9),
}
"""Triads and sevenths, in semitones above the root."""
_CHUNK = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Musicality:
    """What is measured of a set of pieces.

    Attributes:
        in_key: the part of the sounding steps whose pitch class is in the piece's key: the one that it says, else the
            one that fits best.
        in_range: the part of the sounding steps that are in their voice's range.
        crossings: of neighbouring voices, how often in a bar the lower one rises above the higher.
        fifths, octaves: parallels in a bar.
        tonal: the part of the beats that sound at which a triad or a seventh is complete.
        chords, intervals, lengths: total variations from the training music; equation (1).
    """

    in_key: float
    in_range: float
    crossings: float
    fifths: float
    octaves: float
    tonal: float
    chords: float
    intervals: float
    lengths: float

    @property
    def seven(self) -> dict[str, float]:
        """What is compared with other pieces' figures: parallels of both kinds are one."""
        return {
            "in key": self.in_key,
            "in range": self.in_range,
            "crossings": self.crossings,
            "parallels": self.fifths + self.octaves,
            "chords": self.chords,
            "intervals": self.intervals,
            "lengths": self.lengths,
        }


@dataclass(frozen=True, kw_only=True)
class Copying:
    """How near pieces are to the training music.

    Attributes:
        nearest: of each bar, the distance from the nearest bar; NaN where no training bar is as long.
        exact: the part of the bars that are equal to one.
        longest: the longest row of bars that also stands in one training piece.
    """

    nearest: tuple[float, ...]
    exact: float
    longest: int


@final
class TrainingMusic:
    """Music that other pieces are compared with: what is counted in it, and where its bars stand, each found once.

    Args:
        pieces: transposed as they were in training.
    """

    def __init__(self, pieces: Sequence[Grid]) -> None:
        self._pieces = pieces

    @cached_property
    def counts(self) -> Mapping[str, Counts]:
        """Of ``COUNTED``."""
        return {name: count(self._pieces) for name, count in COUNTED.items()}

    @cached_property
    def bars(self) -> Mapping[int, tuple[NDArray[np.int16], Places]]:
        """By their length, if there are some: each different one once, and where they stand."""
        lengths = sorted({piece.bar for piece in self._pieces})
        found = {length: [_bars(p, length) for p in self._pieces if p.bar == length] for length in lengths}
        return {
            length: (np.unique(np.concatenate([one for one in bars if len(one)]), axis=0), _places(bars))
            for length, bars in found.items()
            if any(map(len, bars))
        }


def musicality(pieces: Sequence[Grid], training: Sequence[Grid] | TrainingMusic, ranges: Ranges) -> Musicality:
    """All measures of pieces beside training music.

    Raises:
        ValueError: there are no pieces, or nothing sounds in them.
    """
    if not any((piece.pitches != REST).any() for piece in pieces):
        raise ValueError("nothing sounds in these pieces, so there is nothing to measure")
    bars = sum(piece.steps / piece.bar for piece in pieces)
    parallels = [sum(parallel(piece, size) for piece in pieces) / bars for size in (7, 0)]
    counts = _known(training).counts
    tv = {name: distance(count(pieces), counts[name]) for name, count in COUNTED.items()}
    return Musicality(
        in_key=_share(pieces, in_key),
        in_range=_share(pieces, lambda piece: in_range(piece, ranges)),
        crossings=sum(map(crossings, pieces)) / bars,
        fifths=parallels[0],
        octaves=parallels[1],
        tonal=tonal(pieces),
        **tv,
    )


def in_key(piece: Grid, key: Key | None = None) -> tuple[int, int]:
    """Sounding steps in the key, and all of them.

    Args:
        key: None = the piece's, else the one that fits best.
    """
    sounding = pitch_classes(piece)
    if not np.ptp(sounding):
        return int(sounding.sum()), int(sounding.sum())
    scale = (key or piece.key or best_key(sounding)).scale
    return int(sounding[sorted(scale)].sum()), int(sounding.sum())


def in_range(piece: Grid, ranges: Ranges) -> tuple[int, int]:
    """Sounding steps in their voice's range, and all of them."""
    low, high = np.array(ranges).T[:, :, None]
    sounds = piece.pitches != REST
    kept = sounds & (piece.pitches >= low) & (piece.pitches <= high)
    return int(kept.sum()), int(sounds.sum())


def crossings(piece: Grid) -> int:
    """How often a voice rises above the next higher one."""
    above, below = piece.pitches[:-1], piece.pitches[1:]
    crossed = (above != REST) & (below != REST) & (below > above)
    before = np.concatenate([np.zeros_like(crossed[:, :1]), crossed[:, :-1]], 1)
    return int((crossed & ~before).sum())


def parallel(piece: Grid, size: int) -> int:
    """How often two voices move in parallels of some semitones: 7 for fifths, 0 for octaves and unisons."""
    found, pitches = 0, piece.pitches.astype(np.int64)
    for high in range(len(pitches)):
        for low in range(high + 1, len(pitches)):
            one, other = pitches[high], pitches[low]
            sounds = ((one != REST) & (other != REST))[1:] & ((one != REST) & (other != REST))[:-1]
            interval = np.abs(one - other) % 12
            same = (interval[1:] == size) & (interval[:-1] == size)
            together = np.sign(np.diff(one)) * np.sign(np.diff(other)) > 0
            found += int((sounds & same & together).sum())
    return found


def beats(piece: Grid) -> range:
    """The steps at which beats begin."""
    beat = max(1, 4 * piece.per_quarter // (piece.metre or (4, 4))[1])
    return range(piece.pickup % beat, piece.steps, beat)


def chord_types(pieces: Iterable[Grid]) -> Counter[int]:
    """How often each chord sounds at a beat, by its number; see this module. Silence is left out."""
    found = Counter[int]()
    for piece in pieces:
        for beat in beats(piece):
            column = piece.pitches[:, beat]
            mask = sum(1 << k for k in {int(pitch) % 12 for pitch in column[column != REST]})
            if mask:
                found[_normal(mask)] += 1
    return found


def melodic_intervals(pieces: Iterable[Grid]) -> Counter[tuple[int, int]]:
    """How often a voice moves by some semitones from one note to the next, no rest between, by (voice, interval)."""
    found = Counter[tuple[int, int]]()
    for piece in pieces:
        notes = piece.notes()
        for (voice, start, length, pitch), (next_voice, next_start, _, then) in pairwise(notes):
            if voice == next_voice and start + length == next_start:
                found[int(voice), int(then - pitch)] += 1
    return found


def note_lengths(pieces: Iterable[Grid]) -> Counter[float]:
    """How often notes have a length, in quarters."""
    found = Counter[float]()
    for piece in pieces:
        found.update((piece.notes()[:, 2] / piece.per_quarter).tolist())
    return found


COUNTED: Mapping[str, Callable[[Iterable[Grid]], Counter[Any]]] = {
    "chords": chord_types,
    "intervals": melodic_intervals,
    "lengths": note_lengths,
}
"""What distributions are compared of."""


def distance(one: Counts, other: Counts) -> float:
    """Equation (1), of two sets of counts; 1 if one of them is empty."""
    totals = sum(one.values()), sum(other.values())
    if not all(totals):
        return 1.0
    return sum(abs(one.get(x, 0) / totals[0] - other.get(x, 0) / totals[1]) for x in one.keys() | other.keys()) / 2


def tonal(pieces: Iterable[Grid]) -> float:
    """The part of the beats at which something sounds whose chord is a triad or a seventh; NaN if nothing does."""
    found = chord_types(pieces)
    known = {_normal(sum(1 << step for step in chord)) for chord in CHORDS.values()}
    return sum(found[chord] for chord in known) / found.total() if found else float("nan")


def copying(pieces: Sequence[Grid], training: Sequence[Grid] | TrainingMusic) -> Copying:
    """How much of pieces stands in the training music as it is.

    Args:
        training: pieces, transposed as they were in training.
    """
    nearest, exact, longest, count, bars_of = list[float](), 0, 0, 0, _known(training).bars
    for length in sorted({piece.bar for piece in pieces}):
        known, places = bars_of.get(length, (None, Places()))
        for bars in (_bars(piece, length) for piece in pieces if piece.bar == length):
            nearest += [float("nan")] * len(bars) if known is None else _nearest(bars, known)
            exact += sum(bar.tobytes() in places for bar in bars)
            longest, count = max(longest, _longest(bars, places)), count + len(bars)
    return Copying(nearest=tuple(nearest), exact=exact / max(1, count), longest=longest)


def _known(training: Sequence[Grid] | TrainingMusic) -> TrainingMusic:
    return training if isinstance(training, TrainingMusic) else TrainingMusic(training)


def _bars(piece: Grid, length: int) -> NDArray[np.int16]:
    """(bars, cells) of its whole bars: twice the pitch, and one more where a note begins; a rest is -1."""
    starts = [start for start in piece.bars if start + length <= piece.steps]
    parts = [piece.window(start, length) for start in starts]
    cells = [np.where(part.pitches == REST, REST, 2 * part.pitches + part.onsets).ravel() for part in parts]
    return np.array(cells, np.int16).reshape(len(cells), -1)


def _nearest(bars: NDArray[np.int16], known: NDArray[np.int16]) -> list[float]:
    rows = max(1, _CHUNK // known.size)
    chunks = [bars[k : k + rows] for k in range(0, len(bars), rows)]
    return [float(d) for chunk in chunks for d in (chunk[:, None] != known[None]).mean(-1).min(-1)]


def _places(pieces: Sequence[NDArray[np.int16]]) -> Places:
    """Where each bar stands: (piece, bar)."""
    found = Places()
    for number, bars in enumerate(pieces):
        for place, bar in enumerate(bars):
            found.setdefault(bar.tobytes(), set()).add((number, place))
    return found


def _longest(bars: NDArray[np.int16], places: Places) -> int:
    longest, runs = 0, dict[tuple[int, int], int]()
    for bar in bars:
        here = places.get(bar.tobytes(), set())
        runs = {(piece, place): runs.get((piece, place - 1), 0) + 1 for piece, place in here}
        longest = max([longest, *runs.values()])
    return longest


def _share(pieces: Sequence[Grid], count: Callable[[Grid], tuple[int, int]]) -> float:
    parts = [count(piece) for piece in pieces]
    return sum(part for part, _ in parts) / max(1, sum(whole for _, whole in parts))


@cache
def _normal(mask: int) -> int:
    return min(mask << k & 0xFFF | mask >> (12 - k) for k in range(12))
