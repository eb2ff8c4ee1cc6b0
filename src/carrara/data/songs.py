"""A folder of MIDI files as pieces on a grid: which files can be used, on which grid, in which voices.

What a recipe leaves open is chosen from the files: the coarsest grid on which nearly all notes lie, as many voices as
most files have tracks if these have one note at a time, and else all notes together in one roll.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from carrara.data.base import DataInfo
from carrara.data.description import Description
from carrara.data.pieces import Form, Piece, Pieces, classes_of, metre_name, shifts_within
from carrara.errors import UserError, option
from carrara.files import BadFile, Malformed, MidiFile, read_midi, shown
from carrara.modality import Notes
from carrara.notes import EVERY, REST, Grid, at_once, from_midi

ENDINGS = frozenset({".mid", ".midi", ".kar"})
GRIDS = (4, 6, 8, 12, 24)
"""Steps in a quarter note, the coarsest first."""
MOST_VOICES = 8
_ON_GRID = 0.95
_NEAR = 1 / 24  # of a step
_OF_ONE_NOTE = 0.8  # the part of files whose tracks have one note at a time
_LOST = 0.05  # the part of a file's notes for which there is no voice
_METRES = 8
_STARTS_LOOKED_AT = 5000
_TOLD = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Heard:
    """One file.

    Attributes:
        why: it cannot be used; empty if it can.
        voices: how many notes sound at once in each track at most.
    """

    path: Path
    midi: MidiFile | None = None
    why: str = ""
    voices: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What decides how files become examples; None is open.

    Attributes:
        voices: 0 = all notes in one pair of channels of a roll.
    """

    form: Form | None = None
    voices: int | None = None
    per_quarter: int | None = None
    lowest: int | None = None
    highest: int | None = None


def songs(folder: Path, chosen: Choices, length: int, transpose: bool) -> Pieces:
    """The pieces of a folder; what was chosen for them, and why, is with them.

    Raises:
        UserError: there is no file that can be used.
    """
    heard = list(listen(folder))
    good = [one for one in heard if not one.why]
    if not good:
        raise UserError(_nothing(folder, heard))
    chosen, why = choose(good, chosen)
    assert chosen.voices is not None and chosen.per_quarter is not None and chosen.form is not None
    grids, lost = _grids(good, chosen)
    if not grids:
        raise UserError(
            f"none of the {len(good)} MIDI files in '{shown(folder)}' fits {chosen.voices} voices: take more of them, "
            "or form=roll and voices=0, which takes all notes together"
        )
    low, high, reasons = _range([grid for _, grid in grids], chosen)
    modality = Notes(
        form=chosen.form,
        voices=tuple(f"Voice {k + 1}" for k in range(chosen.voices)) or (EVERY,),
        lowest=low,
        highest=high,
        per_quarter=chosen.per_quarter,
    )
    ranges = (low, high)
    pieces = [
        Piece(
            grid=grid,
            key=hashlib.blake2b(grid.pitches.tobytes() + grid.onsets.tobytes(), digest_size=16).hexdigest(),
            shifts=_shifts(grid, ranges) if transpose else (0,),
        )
        for _, grid in grids
        if _fits(grid, ranges)
    ]
    info = DataInfo(
        name=shown(folder.name),
        channels=channels_of(modality),
        native=(length,) if chosen.form == "tokens" else (length, high - low + 1),
        classes=classes_of([piece.grid for piece in pieces], _METRES),
        remarks=tuple(_remarks(heard, [*lost], len(grids) - len(pieces))),
    )
    found = Pieces(info, pieces, modality, length, choices=(*why, *reasons))
    if not len(found):
        longest = max(grid.steps for _, grid in grids)
        raise UserError(
            f"no piece in '{shown(folder)}' fills half of {length} steps, the longest has {longest}: give longer "
            f"pieces, or a smaller {option('data.source.length', max(8, longest))}"
        )
    return found


def channels_of(modality: Notes) -> int:
    """Of examples: one for each voice of tokens, two for each of a roll."""
    return len(modality.voices) * (1 if modality.form == "tokens" else 2)


def listen(folder: Path) -> Iterator[Heard]:
    """All MIDI files of a folder and of those below it, or one file, in order."""
    for path in [folder] if folder.suffix.lower() in ENDINGS else midi_files(folder):
        try:
            midi = read_midi(path)
        except BadFile as error:
            yield Heard(path=path, why=error.why)
        except Malformed as error:
            yield Heard(path=path, why=str(error))
        else:
            voices, why = tuple(at_once(midi)), ""
            if not voices:
                why = "has drums only" if any(len(track.notes) for track in midi.tracks) else "has no notes"
            yield Heard(path=path, midi=midi, why=why, voices=voices)


def midi_files(folder: Path) -> Iterator[Path]:
    """Files with MIDI's endings, in order; hidden folders are passed over."""
    for within, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            if Path(name).suffix.lower() in ENDINGS and not name.startswith("."):
                yield Path(within, name)


def choose(heard: Sequence[Heard], chosen: Choices) -> tuple[Choices, tuple[str, ...]]:
    """What is open, from the files, and why; the range of pitches is still open then."""
    reasons = list[str]()
    if chosen.per_quarter is None:
        steps, on = best_grid(heard)
        chosen = replace(chosen, per_quarter=steps)
        reasons.append(f"per_quarter {steps}: {on:.0%} of the notes begin on such a grid")
    lone = sum(max(one.voices) == 1 for one in heard)
    if chosen.form is None:
        single = lone >= _OF_ONE_NOTE * len(heard) if not chosen.voices else True
        form: Form = "tokens" if single and chosen.voices != 0 else "roll"
        chosen = replace(chosen, form=form)
        reasons.append(f"form {form}: {lone} of {len(heard)} files have one note at a time in each track")
    if chosen.voices is None:
        if chosen.form == "roll" and lone < _OF_ONE_NOTE * len(heard):
            chosen = replace(chosen, voices=0)
            reasons.append("voices 0: tracks have several notes at a time, so all notes are together")
        else:
            counts = Counter(min(MOST_VOICES, sum(one.voices)) for one in heard)
            most, files = counts.most_common(1)[0]
            chosen = replace(chosen, voices=most)
            reasons.append(f"voices {most}: {files} of {len(heard)} files have so many")
    return chosen, tuple(reasons)


def best_grid(heard: Sequence[Heard]) -> tuple[int, float]:
    """The coarsest grid on which nearly all notes begin, or else the one with most, and the part of notes on it."""
    parts = list[NDArray[np.float64]]()
    for one in heard:
        if one.midi is not None:
            starts = [track.notes[:, 0] for track in one.midi.tracks if not track.drums]
            parts.append(np.concatenate(starts)[:_STARTS_LOOKED_AT] / one.midi.ticks)
    quarters = np.concatenate(parts)
    found = dict[int, float]()
    for steps in GRIDS:
        away = np.abs(quarters * steps - np.round(quarters * steps))
        found[steps] = float((away <= _NEAR).mean())
        if found[steps] >= _ON_GRID:
            return steps, found[steps]
    most = max(found.values())
    if most < 0.5:  # played, and not written: no grid is right
        return GRIDS[0], found[GRIDS[0]]
    return next((steps, part) for steps, part in found.items() if part >= most - 0.02)


def describe(folder: Path) -> Description:
    """What is in a folder of MIDI files."""
    heard = list(listen(folder))
    good = [one for one in heard if not one.why]
    lines = [f"{len(heard)} MIDI files, {len(good)} can be used"]
    for why, names in _reasons(heard).items():
        lines.append(f"  {len(names)} cannot: it {why} ({_listed(names)})")
    if good:
        rows = [_row(one) for one in good]
        tracks = Counter(len(one.voices) for one in good)
        lines.append("tracks: " + ", ".join(f"{count} in {files} files" for count, files in sorted(tracks.items())))
        several = sum(max(one.voices) > 1 for one in good)
        lines.append(f"{several} files have several notes at a time in a track")
        lowest, highest = min(int(row["lowest"]) for row in rows), max(int(row["highest"]) for row in rows)
        lines.append(f"pitches {lowest} to {highest} (60 is middle C)")
        changing = sum(int(row["tempos"]) > 1 for row in rows)
        lines.append(f"{changing} files change their tempo, which is not kept")
        metres = Counter(str(row["metre"]) for row in rows)
        lines.append("metres: " + ", ".join(f"{name} in {files} files" for name, files in metres.most_common(_TOLD)))
        why = choose(good, Choices())[1]
        lines += [f"chosen: {reason}" for reason in why]
    return Description(lines=tuple(lines), rows=tuple(map(_row, heard)))


def _row(one: Heard) -> dict[str, str | int | float]:
    if one.why or one.midi is None:
        return {"file": one.path.name, "problem": one.why}
    tracks = [track for track in one.midi.tracks if len(track.notes) and not track.drums]
    pitches = np.concatenate([track.notes[:, 2] for track in tracks])
    ends = max(int(track.notes[:, :2].sum(1).max()) for track in tracks)
    metres = Counter(metre_name((beats, beat)) for _, beats, beat in one.midi.metres)
    return {
        "file": one.path.name,
        "tracks": len(tracks),
        "at_once": max(one.voices),
        "notes": len(pitches),
        "quarters": round(ends / one.midi.ticks, 2),
        "lowest": int(pitches.min()),
        "highest": int(pitches.max()),
        "tempos": len({round(tempo, 2) for _, tempo in one.midi.tempos}),
        "metre": metres.most_common(1)[0][0] if metres else "unknown",
    }


def _grids(heard: Sequence[Heard], chosen: Choices) -> tuple[list[tuple[Path, Grid]], list[tuple[str, str]]]:
    """The pieces on their grid, and the files that do not fit, with the reasons."""
    grids, lost = list[tuple[Path, Grid]](), list[tuple[str, str]]()
    assert chosen.per_quarter is not None
    for one in heard:
        assert one.midi is not None
        try:
            as_they_are = chosen.voices == 0 or sum(one.voices) == chosen.voices
            found = from_midi(one.midi, None if as_they_are else chosen.voices, chosen.per_quarter)
        except Malformed as error:
            lost.append((one.path.name, str(error)))
            continue
        if found.lost > _LOST * found.notes:
            lost.append((one.path.name, f"has more notes at once than {chosen.voices} voices have"))
            continue
        title = found.grid.name or one.path.stem
        names = tuple(f"Voice {k + 1}" for k in range(chosen.voices or len(found.grid.pitches)))
        grids.append((one.path, replace(found.grid, name=title, voices=names)))
    return grids, lost


def _range(grids: Sequence[Grid], chosen: Choices) -> tuple[int, int, tuple[str, ...]]:
    """The lowest and highest pitch, and why; those of a roll are a multiple of 8, so that a network halves them."""
    sounding = np.concatenate([np.unique(grid.pitches[grid.pitches != REST]) for grid in grids])
    low = int(sounding.min()) if chosen.lowest is None else chosen.lowest
    high = int(sounding.max()) if chosen.highest is None else chosen.highest
    if high < low:
        raise UserError(f"pitches go from lowest to highest, and {low} to {high} go down: leave both out")
    if chosen.lowest is not None and chosen.highest is not None:
        return low, high, ()
    why = f"pitches {low} to {high}: all that sound"
    if chosen.form == "tokens" and (high - low) % 2 == 0 and chosen.highest is None and high < 127:
        high += 1
        why = f"pitches {low} to {high}: all that sound, and one more, so that no state is in the middle"
    elif chosen.form == "roll" and (more := -(high - low + 1) % 8):
        high = min(127, high + more // 2) if chosen.highest is None else high
        low = max(0, high - (-(-(high - low + 1) // 8) * 8 - 1)) if chosen.lowest is None else low
        why = f"pitches {low} to {high}: all that sound, and some more, so that a network can halve them"
    return low, high, (why,)


def _shifts(grid: Grid, pitches: tuple[int, int]) -> tuple[int, ...]:
    return tuple(k for k in shifts_within(grid, [pitches] * len(grid.pitches)) if abs(k) <= 6)


def _fits(grid: Grid, pitches: tuple[int, int]) -> bool:
    return bool(_shifts(grid, pitches))


def _reasons(heard: Iterable[Heard]) -> dict[str, list[str]]:
    found = dict[str, list[str]]()
    for one in heard:
        if one.why:
            found.setdefault(one.why, []).append(one.path.name)
    return found


def _remarks(heard: Sequence[Heard], lost: Sequence[tuple[str, str]], beyond: int) -> Iterator[str]:
    unusable = [one for one in heard if one.why]
    if unusable:
        reasons = list(_reasons(heard).items())
        told = "; ".join(f"{len(names)} {why} ({_listed(names)})" for why, names in reasons[:_TOLD])
        told += f"; and {sum(len(names) for _, names in reasons[_TOLD:])} more" if len(reasons) > _TOLD else ""
        yield f"{len(unusable)} of {len(heard)} MIDI files are left out: {told}"
    for why in sorted({why for _, why in lost}):
        names = [name for name, said in lost if said == why]
        yield f"{len(names)} MIDI files are left out: one {why} ({_listed(names)})"
    if beyond:
        yield f"{beyond} MIDI files are left out, because pitches are beyond lowest and highest"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _TOLD
    return ", ".join(shown(name) for name in names[:_TOLD]) + (f" and {more} more" if more > 0 else "")


def _nothing(folder: Path, heard: Sequence[Heard]) -> str:
    if not heard:
        return f"there are no MIDI files in '{shown(folder)}': their names end in {', '.join(sorted(ENDINGS))}"
    why, names = next(iter(_reasons(heard).items()))
    return (
        f"none of the {len(heard)} MIDI files in '{shown(folder)}' can be used: '{shown(names[0])}' {why}; "
        "give Standard MIDI files with pitched notes"
    )
