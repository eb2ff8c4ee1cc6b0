"""Bach's four-part chorales, from the corpus that comes with music21.

The scores are MusicXML and Humdrum files. Reading them all takes most of a minute, so what is needed of them is kept in
the user's cache folder. Of a score with instruments the four singers are taken. Copies of a piece, transposed or with
other instruments, share a name to be split by, so that none is both trained on and held out.
"""

import hashlib
import re
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from rich.progress import track

from carrara.errors import UserError
from carrara.files import BadFile, Malformed, as_kind, cache_folder, parse_json, read_bytes, replacing
from carrara.notes import MODES, REST, Grid, Key, Mode, bar_steps, best_key, painted, pitch_classes

VOICES = ("Soprano", "Alto", "Tenor", "Bass")
RANGES = ((57, 81), (53, 74), (48, 69), (36, 64))
"""The lowest and highest pitch of each voice in the corpus."""
ATTRIBUTION = "Chorales by J. S. Bach, from the corpus of music21 (M. S. Cuthbert and C. Ariza), in the public domain"
TEMPO = 80.0
_PER_QUARTER = 4
_FORMAT = 2  # of what is kept; counts up when that changes
_LARGEST = 1 << 26
_ENDINGS = (".mxl", ".xml", ".krn")
_ALIKE = 0.9
"""Pieces that are equal in this part of their steps, after transposition, are copies."""


@dataclass(frozen=True, kw_only=True)
class Chorale:
    """A piece, as it is kept.

    Attributes:
        notes: voice, first step, steps, pitch, one after the other.
        steps: of the whole piece.
        moved: notes that did not lie on the grid of sixteenths.
        copy_of: the name of the first of its copies, or its own.
    """

    name: str
    notes: tuple[int, ...] = Field(max_length=1 << 16)
    steps: int = Field(ge=1, le=1 << 14)
    tonic: int = Field(ge=0, le=11)
    mode: Mode
    metre: tuple[int, int]
    pickup: int
    moved: int
    copy_of: str = ""

    @property
    def grid(self) -> Grid:
        """The piece."""
        rows = np.array(self.notes, np.int64).reshape(-1, 4)
        pitches, onsets = painted(rows, len(VOICES), self.steps)
        return Grid(
            pitches=pitches,
            onsets=onsets,
            per_quarter=_PER_QUARTER,
            tempo=TEMPO,
            key=Key(tonic=self.tonic, mode=self.mode),
            metre=self.metre,
            pickup=self.pickup,
            voices=VOICES,
            name=self.name,
        )


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """All pieces, and what became of the others.

    Attributes:
        left_out: names of scores that have no four voices, and why.
    """

    pieces: tuple[Chorale, ...]
    left_out: tuple[tuple[str, str], ...] = ()


def corpus() -> Corpus:
    """The chorales, read once and then kept.

    Raises:
        UserError: music21 is not installed.
    """
    if find_spec("music21") is None:
        raise UserError("chorales needs the package 'music21': pip install 'carrara[music]'")
    version = repr((metadata.version("music21"), _FORMAT, _ALIKE)).encode()
    path = cache_folder() / f"chorales-{hashlib.blake2b(version, digest_size=8).hexdigest()}.z"
    with suppress(BadFile, Malformed, zlib.error, ValueError):
        text = zlib.decompressobj().decompress(read_bytes(path, _LARGEST), _LARGEST)
        return as_kind(parse_json(text), Corpus)
    found = _read()
    with suppress(OSError), replacing(path) as file:  # a cache that cannot be written is only slow
        file.write(zlib.compress(dumps(asdict(found)).encode()))
    return found


def _read() -> Corpus:
    from music21.corpus import getComposer

    paths = [Path(str(path)) for path in getComposer("bach")]
    paths = sorted(path for path in paths if path.suffix in _ENDINGS)
    show = partial(track, description="Reading chorales", transient=True, disable=len(paths) < 50)
    pieces, left_out = list[Chorale](), list[tuple[str, str]]()
    for path in show(paths):
        try:
            pieces.append(_chorale(path))
        except ValueError as error:
            left_out.append((path.stem, str(error)))
    return Corpus(pieces=tuple(_with_copies(pieces)), left_out=tuple(left_out))


def _chorale(path: Path) -> Chorale:
    """One score.

    Raises:
        ValueError: it has no four voices.
    """
    from music21 import converter

    score: Any = converter.parse(path, forceSource=True, storePickle=False)
    voices = _voices(list(score.parts))
    notes, ends, moved = list[tuple[int, int, int, int]](), [0], 0
    for number, part in enumerate(voices):
        ends.append(_step(part.highestTime)[0])
        for note in part.stripTies().flatten().notes:
            if note.duration.isGrace:
                continue
            (start, there), (end, too) = _step(note.offset), _step(note.offset + note.quarterLength)
            moved += not (there and too)
            notes.append((number, start, max(1, end - start), max(pitch.midi for pitch in note.pitches)))
    steps = max(ends)
    metre, pickup = _metre(voices[0])
    key = _key(voices[0], notes, steps)
    return Chorale(
        name=path.stem + " (Humdrum)" * (path.suffix == ".krn"),
        notes=tuple(number for note in notes for number in note),
        steps=steps,
        tonic=key.tonic,
        mode=key.mode,
        metre=metre,
        pickup=pickup,
        moved=moved,
    )


def _voices(parts: Sequence[Any]) -> list[Any]:
    """The singers, by their names, or else all of four parts."""
    called = [str(part.partName or "").split() for part in parts]
    found = [[part for part, words in zip(parts, called, strict=True) if words[:1] == [name]] for name in VOICES]
    if all(len(own) == 1 for own in found):
        return [own[0] for own in found]
    if len(parts) != len(VOICES):
        raise ValueError(f"has {len(parts)} parts")
    return list(parts)


def _step(quarters: float | Fraction) -> tuple[int, bool]:
    """The nearest step, and whether it is there already."""
    exact = quarters * _PER_QUARTER
    near = int(exact + 0.5)
    return near, abs(exact - near) < 1e-6


def _metre(part: Any) -> tuple[tuple[int, int], int]:
    """The first metre, and the steps of a first bar that is not full."""
    times = list(part.flatten().getElementsByClass("TimeSignature"))
    metre = (int(times[0].numerator), int(times[0].denominator)) if times else (4, 4)
    measures = list(part.getElementsByClass("Measure"))
    first = _step(measures[0].duration.quarterLength)[0] if measures else 0
    return metre, first % bar_steps(metre, _PER_QUARTER)


def _key(part: Any, notes: Sequence[tuple[int, int, int, int]], steps: int) -> Key:
    """What the score says, unless the piece ends on another bass note, which is the tonic of what fits its notes best.

    Many chorales are older than their signatures, which say a mode that is near.
    """
    pitches, onsets = painted(notes, len(VOICES), steps)
    best = best_key(pitch_classes(Grid(pitches=pitches, onsets=onsets)))
    bass = pitches[-1][pitches[-1] != REST]
    for signature in part.flatten().getElementsByClass("KeySignature"):
        if getattr(signature, "mode", None) in MODES:
            said = Key.of_signature(int(signature.sharps), signature.mode)
            return best if len(bass) and said.tonic != bass[-1] % 12 == best.tonic else said
    return best


def _with_copies(pieces: Sequence[Chorale]) -> list[Chorale]:
    """The same, each with the name of the first piece that it is a copy of, or that has its number in Bach's works."""
    grids, numbers = [piece.grid for piece in pieces], [re.split("[- ]", piece.name)[0] for piece in pieces]
    first = list(range(len(pieces)))
    for k, one in enumerate(grids):
        earlier = (first[j] for j in range(k) if numbers[j] == numbers[k] or _is_copy(grids[j], one))
        first[k] = next(earlier, k)
    return [replace(piece, copy_of=pieces[first[k]].name) for k, piece in enumerate(pieces)]


def _is_copy(one: Grid, other: Grid) -> bool:
    steps = min(one.steps, other.steps)
    if abs(one.steps - other.steps) > max(16, steps // 10):
        return False
    a, b = one.pitches[:, :steps], other.pitches[:, :steps]
    sounds = (a != REST) & (b != REST)
    moved = (a - b)[sounds]
    if not moved.size:
        return False
    most = int(np.bincount(moved + 128).max())
    return most >= _ALIKE * max(int((a != REST).sum()), int((b != REST).sum()))
