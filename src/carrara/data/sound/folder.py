"""A folder of sounds as a data set.

Classes, captions and splits are those of pictures (``data.folder``). All sounds are brought to one rate, once, and
long ones are cut into parts of one length, each of which is an example; loudness is left as it is.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from carrara.data.base import DataInfo, Unreadable
from carrara.data.files import relative
from carrara.data.folder.described import Described, warn
from carrara.data.folder.layout import counted, some
from carrara.data.folder.looking import look
from carrara.data.folder.reading import Reading
from carrara.data.index import Rows, headers_of
from carrara.data.sound.resampled import FAULTY, SILENT, Resampled, as_levels, decoded, read_sound_header, resampled
from carrara.errors import UserError
from carrara.files import shown
from carrara.files.sound import SOUND_ENDINGS

SHORTEST = 64
"""Samples that one of a folder's sounds has at least."""
LONGEST_PART = 10.0
"""Seconds of an example, unless one says it."""


@dataclass(frozen=True, kw_only=True)
class SoundReading(Reading):
    """What the files of a folder of sounds are taken as.

    Attributes:
        rate: samples a second; None = as most of the files have.
        seconds: longer sounds are cut into equal parts of at most this length.
    """

    endings: ClassVar[frozenset[str]] = frozenset(SOUND_ENDINGS)
    noun: ClassVar[str] = "sound"

    rate: int | None = None
    seconds: float = LONGEST_PART

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rate is not None and not 100 <= self.rate <= 768_000:
            raise ValueError(f"rate is 100 to 768000 samples a second, not {self.rate}")
        if not 0.01 <= self.seconds <= 3600:
            raise ValueError(f"seconds is 0.01 to 3600, not {self.seconds}")


@final
class SoundFolder(Described):
    """The readable sounds of a folder or of a zip file, in order of their names, long ones in parts.

    Args:
        path: with sounds in it or in folders below it.
        reading: what its files are taken as.

    Attributes:
        rate: samples a second.
        chosen: why, if that was left open.
        names, headers, sounds: of the files, those that cannot be decoded among them.
        problems: the files that cannot be used, and why.

    Raises:
        UserError: there is no such folder, no readable sound in it, its metadata are wrong, or a package is missing.
    """

    def __init__(self, path: Path | str, reading: SoundReading) -> None:
        path = Path(path)
        found = look(path, reading)
        for warning in found.warnings:
            warn(path, warning)
        rows, broken = headers_of(path, found.pictures, read_sound_header, "sound-headers")
        problems = [(relative(header.path, path), str(header.problem)) for header in broken]
        _check(path, rows, problems)
        self.rate, self.chosen = _rate(rows, reading.rate)
        names = list(map(os.fsdecode, rows["name"]))
        self.sounds = resampled(path, names, rows, self.rate)
        problems += _faulty(path, names, rows, self.sounds, self.rate)
        self.headers, self.names, self.problems = rows, names, problems
        self._parts = _parts(self.sounds, round(reading.seconds * self.rate))
        _check(path, self._parts, problems)
        if (longest := int(self._parts[:, 2].max())) < SHORTEST:
            raise UserError(
                f"the sounds in '{shown(path)}' have at most {counted(longest, 'sample')}, and one needs {SHORTEST} or "
                "more: give longer sounds"
            )
        if problems:
            said = some([f"'{shown(name)}' ({why})" for name, why in problems])
            warn(path, f"left out {len(problems)} unreadable of {counted(len(found.pictures), 'sound')}: {said}")
        super().__init__(path, [self.file(k) for k in range(len(self))], found, reading)
        self.tell_copies()
        lengths = np.sort(self._parts[:, 2])
        self.info = DataInfo(
            name=shown(path.resolve().name),
            channels=Counter(self.sounds.channels[self._parts[:, 0]].tolist()).most_common(1)[0][0],
            native=(int(lengths[(len(lengths) - 1) // 2]),),
            classes=self.classes,
            vector_size=self.vector_size,
            captions=any(self._captions),
            remarks=(*found.remarks, *_remarks(self.sounds, rows, self._parts, reading)),
        )

    def __len__(self) -> int:
        return len(self._parts)

    def pixels(self, index: int) -> NDArray[Any]:
        file, first, frames = self._parts[index].tolist()
        channels = int(self.sounds.channels[file])
        start = int(self.sounds.firsts[file]) + channels * first
        return as_levels(self.sounds.samples[start : start + channels * frames].reshape(frames, channels))

    def key(self, index: int) -> str:
        file, first, _ = self._parts[index].tolist()
        content = self.headers["content"][file].tobytes().hex()
        return f"{content}-{first}" if first else content

    def native(self, index: int) -> tuple[int, ...]:
        return (int(self._parts[index, 2]),)

    @property
    def used(self) -> list[int]:
        """The numbers of the files that are examples, or parts of them."""
        return np.unique(self._parts[:, 0]).tolist()

    def classes_of(self, file: int) -> list[str]:
        """What a file shows."""
        example = int(np.searchsorted(self._parts[:, 0], file))
        return [self.info.classes[k] for k in np.flatnonzero(self.columns(example)["label"])] if self.classes else []

    def file(self, index: int) -> str:
        return self.names[int(self._parts[index, 0])]

    def name(self, index: int) -> str:
        first = int(self._parts[index, 1])
        return f"{super().name(index)} from {first / self.rate:.2f} s" if first else super().name(index)


def _check(path: Path, rows: Sequence[Any] | NDArray[Any], problems: Sequence[tuple[str, str]]) -> None:
    if not len(rows):
        name, why = problems[0]
        raise UserError(
            f"none of the {len(problems)} sounds in '{shown(path)}' can be read, such as '{shown(name)}': {why}; "
            "export them as WAV or FLAC"
        )


def _rate(rows: Rows, wanted: int | None) -> tuple[int, str]:
    """Samples a second, and why."""
    own: list[int] = rows["size"][:, 1].tolist()
    rates = Counter(own)
    count, rate = max((count, rate) for rate, count in rates.items())
    others = len(rows) - (count if wanted is None else rates[wanted])
    resampling = f"; {counted(others, 'sound')} of other rates resampled" if others else ""
    if wanted is not None:
        return wanted, f"as data.source.rate says{resampling}"
    return rate, f"as {'most' if len(rates) > 1 else 'all'} of the sounds have{resampling}"


def _faulty(path: Path, names: Sequence[str], rows: Rows, sounds: Resampled, rate: int) -> list[tuple[str, str]]:
    """The files that have a good header and cannot be decoded, and why."""
    found: list[tuple[str, str]] = []
    for k in np.flatnonzero(sounds.states == FAULTY).tolist():
        try:
            for _ in decoded(path / names[k], int(rows["size"][k, 1]), rate, int(sounds.channels[k])):
                pass
        except Unreadable as error:
            found.append((names[k], str(error)))
        else:
            found.append((names[k], "it changed while it was read"))
    return found


def _parts(sounds: Resampled, longest: int) -> NDArray[np.int64]:
    """(N, 3): the file, the first frame and the frames of each example."""
    parts: list[tuple[int, int, int]] = []
    for file, (frames, state) in enumerate(zip(sounds.frames.tolist(), sounds.states.tolist(), strict=True)):
        if state != FAULTY:
            count = -(-frames // longest)
            ends = [k * frames // count for k in range(count + 1)]
            parts += [(file, start, end - start) for start, end in pairwise(ends)]
    return np.array(parts, np.int64).reshape(-1, 3)


def _remarks(sounds: Resampled, rows: Rows, parts: NDArray[np.int64], reading: SoundReading) -> list[str]:
    """What is to be known of the sounds themselves."""
    said: list[str] = []
    cut = int((np.bincount(parts[:, 0]) > 1).sum())
    if cut:
        text = f"{counted(cut, 'sound')} longer than {reading.seconds:g} s cut into parts: {len(parts)} examples in all"
        said.append(f"{text}; data.source.seconds sets the length")
    if silent := int((sounds.states == SILENT).sum()):
        said.append(f"{counted(silent, 'sound')} with nothing but silence")
    if mixed := int((rows["channels"] > 2).sum()):
        said.append(f"{counted(mixed, 'sound')} of more than two channels mixed to one")
    return said
