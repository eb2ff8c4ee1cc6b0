"""Grids and MIDI files: a track for each voice, and what was asked for in a marker at the beginning.

A file holds all that a grid says. A pickup is a bar of its own metre at the beginning, as is usual. Reading rounds the
ends of notes to steps, and counts those that were not there already.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from json import dumps
from typing import Annotated, Any, final

import numpy as np
from pydantic import Field

from carrara.files import Malformed, MidiFile, MidiTrack, as_kind, midi_bytes, parse_json
from carrara.notes.grid import Grid, bar_steps, painted
from carrara.notes.keys import MODES, Key
from carrara.notes.voices import Timed, dealt, most_at_once

MOST_STEPS = 1 << 16
_TICKS = 480
_VELOCITY = 80
_TITLE, _SIZE = "title: ", "grid: "
_RECORD = "carrara: "
_NEAR = 1 / 24  # of a step: what rounding in ticks explains


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Quantised:
    """A piece as it lies on a grid.

    Attributes:
        notes: how many there were.
        moved: of these, whose beginning or end was not on the grid.
        lost: of these, those for which there was no voice, or no step.
    """

    grid: Grid
    notes: int
    moved: int
    lost: int


def to_midi(grid: Grid, about: Mapping[str, Any] | None = None, program: int = 0) -> bytes:
    """The bytes of a MIDI file.

    Args:
        about: a record, kept as JSON.
        program: the instrument, by General MIDI from 0 on.

    Raises:
        UserError: the package is missing.
    """
    ticks = _TICKS * grid.per_quarter // np.gcd(_TICKS, grid.per_quarter)
    step = int(ticks) // grid.per_quarter
    notes, tracks = grid.notes(), list[MidiTrack]()
    for voice in range(len(grid.pitches)):
        own = notes[notes[:, 0] == voice][:, 1:] * (step, step, 1)
        own = np.column_stack([own, np.full(len(own), _VELOCITY)]) if len(own) else np.zeros((0, 4), np.int64)
        tracks.append(MidiTrack(name=grid.voices[voice] if grid.voices else "", program=program, notes=own))
    names = grid.voices or [""] * len(grid.pitches)
    texts = [_SIZE + dumps({"steps": grid.steps, "voices": names, "heard": np.unique(notes[:, 0]).tolist()})]
    texts += [_TITLE + grid.name] * bool(grid.name) + ([] if about is None else [_RECORD + dumps(about)])
    key = grid.key
    return midi_bytes(
        MidiFile(
            ticks=int(ticks),
            tracks=tuple(tracks),
            tempos=((0, grid.tempo),),
            metres=_metres(grid, step),
            keys=() if key is None else ((0, key.sharps, MODES.index(key.mode)),),
            texts=tuple((0, text) for text in texts),
        )
    )


def record_of(midi: MidiFile) -> dict[str, Any] | None:
    """The record that ``to_midi`` kept; None if there is none that can be read."""
    for when, text in midi.texts:
        if when == 0 and text.startswith(_RECORD):
            try:
                found = parse_json(text.removeprefix(_RECORD))
            except Malformed:
                return None
            return found if isinstance(found, dict) else None
    return None


def from_midi(midi: MidiFile, voices: int | None = None, per_quarter: int = 4) -> Quantised:
    """A MIDI file on a grid.

    Args:
        voices: how many; notes of all tracks are dealt out to them by pitch. None = each track is a voice, or as
            many voices as sound in it at once.

    Raises:
        Malformed: no notes are in it but drums, or it is too long.
    """
    tracks, least = _tracks(midi)
    if not any(len(track.notes) for track in tracks):
        raise Malformed("has drums only" if any(len(track.notes) for track in midi.tracks) else "has no notes")
    step = midi.ticks / per_quarter
    end = max(int(track.notes[:, :2].sum(1).max()) for track in tracks if len(track.notes))
    if end / step > MOST_STEPS:
        raise Malformed(f"has {end / step:.0f} steps, and a piece has at most {MOST_STEPS}")
    timed, moved = zip(*(_timed(track, step) for track in tracks), strict=True)
    groups = list(timed) if voices is None else [[note for notes in timed for note in notes]]
    given, lost, names = list[tuple[int, int, int, int]](), 0, list[str]()
    for number, notes in enumerate(groups):
        own, count, unheard = dealt(notes, voices if voices or notes else 1)
        given += [(len(names) + voice, start, length, pitch) for voice, start, length, pitch in own]
        names += _names(tracks[number].name, count) if voices is None else [""] * count
        lost += unheard
    steps = max(least, *(start + length for _, start, length, _ in given))
    return Quantised(
        grid=_grid(midi, given, names, steps, per_quarter),
        notes=sum(map(len, timed)),
        moved=sum(moved),
        lost=lost,
    )


def at_once(midi: MidiFile, per_quarter: int = 4) -> list[int]:
    """How many notes sound together at most in each track that is no drums and not empty."""
    tracks = [track for track in midi.tracks if len(track.notes) and not track.drums]
    return [most_at_once(_timed(track, midi.ticks / per_quarter)[0]) for track in tracks]


def _grid(
    midi: MidiFile, notes: Sequence[tuple[int, int, int, int]], names: Sequence[str], steps: int, per_quarter: int
) -> Grid:
    pitches, onsets = painted(notes, len(names), steps)
    metre, pickup = _metre(midi, per_quarter)
    key = midi.keys[0] if midi.keys else None
    titles = [text.removeprefix(_TITLE) for when, text in midi.texts if when == 0 and text.startswith(_TITLE)]
    return Grid(
        pitches=pitches,
        onsets=onsets,
        per_quarter=per_quarter,
        tempo=round(midi.tempos[0][1], 2) if midi.tempos else 120.0,
        key=None if key is None or not -7 <= key[1] <= 7 else Key.of_signature(key[1], MODES[key[2] == 1]),
        metre=metre,
        pickup=pickup,
        voices=tuple(names) if any(names) else (),
        name=titles[0] if titles else "",
    )


def _timed(track: MidiTrack, step: float) -> tuple[list[Timed], int]:
    """Notes in steps, one at least, and how many ends were moved; two of one pitch and beginning are one."""
    ends = np.stack([track.notes[:, 0], track.notes[:, 0] + track.notes[:, 1]], 1) / step
    rounded = np.floor(ends + 0.5).astype(np.int64)
    moved = int((np.abs(ends - rounded) > _NEAR).any(1).sum())
    lengths = dict[tuple[int, int], int]()
    for (start, end), pitch in zip(rounded.tolist(), track.notes[:, 2].tolist(), strict=True):
        lengths[start, pitch] = max(lengths.get((start, pitch), 1), end - start)
    return [(start, length, pitch) for (start, pitch), length in sorted(lengths.items())], moved


@dataclass(frozen=True, kw_only=True)
class _Size:
    """What ``to_midi`` says of a grid beside its notes: empty tracks get lost on the way."""

    steps: Annotated[int, Field(ge=0, le=MOST_STEPS)]
    voices: Annotated[tuple[str, ...], Field(max_length=256)]
    heard: tuple[int, ...]


def _tracks(midi: MidiFile) -> tuple[list[MidiTrack], int]:
    """The tracks that are voices, silent ones too where ``to_midi`` wrote them, and how many steps it said."""
    tracks = [track for track in midi.tracks if not track.drums and len(track.notes)]
    for _, text in midi.texts:
        if text.startswith(_SIZE):
            with suppress(Malformed):
                said = as_kind(parse_json(text.removeprefix(_SIZE)), _Size)
                if len(said.heard) == len(tracks) and set(said.heard) <= set(range(len(said.voices))):
                    heard = dict(zip(said.heard, tracks, strict=True))
                    return [heard.get(k, MidiTrack(name=name)) for k, name in enumerate(said.voices)], said.steps
    return tracks, 0


def _names(track: str, count: int) -> list[str]:
    """Of a track's voices."""
    return [track if count == 1 or not track else f"{track} {k + 1}" for k in range(count)]


def _metres(grid: Grid, step: int) -> tuple[tuple[int, int, int], ...]:
    if grid.metre is None:
        return ()
    if not grid.pickup:
        return ((0, *grid.metre),)
    part = Fraction(grid.pickup, 4 * grid.per_quarter)
    beat = part.denominator if part.denominator > 1 else 1
    return ((0, part.numerator, beat), (grid.pickup * step, *grid.metre))


def _metre(midi: MidiFile, per_quarter: int) -> tuple[tuple[int, int] | None, int]:
    """The metre that lasts longest, and the steps of a first bar of another metre before it."""
    sane = [one for one in midi.metres if 1 <= one[1] <= 255 and one[2] in (1, 2, 4, 8, 16, 32)]
    if not sane:
        return None, 0
    end = max((int(t.notes[:, :2].sum(1).max()) for t in midi.tracks if len(t.notes)), default=0)
    lasting = Counter[tuple[int, int]]()
    for (when, *metre), then in zip(sane, [one[0] for one in sane[1:]] + [max(end, sane[-1][0])], strict=True):
        lasting[metre[0], metre[1]] += max(0, then - when)
    metre = lasting.most_common(1)[0][0]
    first = next(when for when, *one in sane if tuple(one) == metre)
    bar = bar_steps(metre, per_quarter)
    return metre, round(first * per_quarter / midi.ticks) % bar
