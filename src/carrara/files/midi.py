"""Standard MIDI files, read by symusic, as plain numbers.

A file may have been written by anybody. So its bytes, its notes and its times are bounded before anything is made of
them, and what lies outside of MIDI's own ranges is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrara.errors import UserError
from carrara.files.documents import Malformed
from carrara.files.reading import read_bytes

MIDI = 1 << 23
"""The largest file that is read, in bytes."""
MOST_NOTES = 200_000
MOST_TRACKS = 1000
_LAST = 1 << 27  # ticks

Notes = NDArray[np.int64]
"""(N, 4): start and length in ticks, MIDI pitch, velocity; by start, then by pitch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MidiTrack:
    """One track.

    Attributes:
        drums: whether it is the channel of percussion, whose pitches are instruments.
    """

    name: str = ""
    program: int = 0
    drums: bool = False
    notes: Notes = field(default_factory=lambda: np.zeros((0, 4), np.int64))


@dataclass(frozen=True, kw_only=True, eq=False)
class MidiFile:
    """What a MIDI file holds, as far as anything is done with it.

    Attributes:
        ticks: a quarter note has.
        tempos: (tick, quarter notes per minute).
        metres: (tick, beats, the note that a beat is: 4 for quarters).
        keys: (tick, sharps, or flats below 0; 1 for minor, else 0).
        texts: markers, as (tick, text).
    """

    ticks: int
    tracks: tuple[MidiTrack, ...] = ()
    tempos: tuple[tuple[int, float], ...] = ()
    metres: tuple[tuple[int, int, int], ...] = ()
    keys: tuple[tuple[int, int, int], ...] = ()
    texts: tuple[tuple[int, str], ...] = ()


def read_midi(path: Path, most: int = MIDI) -> MidiFile:
    """A MIDI file.

    Raises:
        BadFile: it cannot be read, or is larger than ``most`` bytes.
        Malformed: it is no MIDI file, or has more notes or tracks than are read.
        UserError: the package is missing.
    """
    return midi_in(read_bytes(path, most))


def midi_in(content: bytes) -> MidiFile:
    """What the bytes of a MIDI file hold; see ``read_midi``."""
    if content[:4] not in (b"MThd", b"RIFF"):
        raise Malformed("is no MIDI file" if content else "is empty")
    try:
        score = _symusic().Score.from_midi(content)
    except (RuntimeError, ValueError, OverflowError, MemoryError, UnicodeDecodeError) as error:
        raise Malformed(f"is no MIDI file that can be read ({_reason(error)})") from None
    if score.note_num() > MOST_NOTES or len(score.tracks) > MOST_TRACKS:
        raise Malformed(
            f"has {score.note_num()} notes in {len(score.tracks)} tracks, and at most {MOST_NOTES} in {MOST_TRACKS} "
            "are read"
        )
    if not 1 <= score.ticks_per_quarter <= 1 << 15:
        raise Malformed(f"has {score.ticks_per_quarter} ticks a quarter note, and there are 1 to {1 << 15}")
    return MidiFile(
        ticks=int(score.ticks_per_quarter),
        tracks=tuple(map(_track, score.tracks)),
        tempos=tuple((int(one.time), float(one.qpm)) for one in score.tempos),
        metres=tuple((int(one.time), int(one.numerator), int(one.denominator)) for one in score.time_signatures),
        keys=tuple((int(one.time), int(one.key), int(one.tonality)) for one in score.key_signatures),
        texts=tuple((int(one.time), _text(one)) for one in score.markers),
    )


def midi_bytes(midi: MidiFile) -> bytes:
    """The bytes of a MIDI file.

    Raises:
        UserError: the package is missing.
    """
    symusic = _symusic()
    score = symusic.Score(midi.ticks)
    for track in midi.tracks:
        made = symusic.Track(track.name, track.program, track.drums)
        for note in track.notes.tolist():
            made.notes.append(symusic.Note(*note))
        score.tracks.append(made)
    _extend(score.tempos, symusic.Tempo, midi.tempos)
    _extend(score.time_signatures, symusic.TimeSignature, midi.metres)
    _extend(score.key_signatures, symusic.KeySignature, midi.keys)
    _extend(score.markers, symusic.TextMeta, midi.texts)
    return bytes(score.dumps_midi())


def _track(track: Any) -> MidiTrack:
    found = track.notes.numpy()
    notes = np.stack([np.asarray(found[name], np.int64) for name in ("time", "duration", "pitch", "velocity")], 1)
    sane = (notes[:, 0] >= 0) & (notes[:, 1] >= 0) & (notes[:, :2].sum(1) < _LAST)
    sane &= ((notes[:, 2:] >= 0) & (notes[:, 2:] < 128)).all(1)
    notes = notes[sane]
    order = np.lexsort((notes[:, 2], notes[:, 0]))
    return MidiTrack(
        name=_text(track, "name"), program=int(track.program), drums=bool(track.is_drum), notes=notes[order]
    )


def _text(thing: Any, name: str = "text") -> str:
    """Text of a file, which may be in an encoding that nobody tells."""
    try:
        return str(getattr(thing, name))
    except UnicodeDecodeError as error:
        return bytes(error.object).decode("latin-1")


def _extend(events: Any, kind: Any, rows: Sequence[tuple[Any, ...]]) -> None:
    for row in rows:
        events.append(kind(*row))


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split()).removeprefix("MiniMidi: ").removesuffix(": iostream error")
    return said.rstrip("!.")[:100] or type(error).__name__


def _symusic() -> Any:
    try:
        import symusic
    except ImportError:
        raise UserError("MIDI files need the package 'symusic': pip install 'carrara[music]'") from None
    return symusic
