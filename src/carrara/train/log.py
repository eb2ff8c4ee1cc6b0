"""log.jsonl: one JSON object a step, written at once; a number that is not finite is ``null``."""

import json
import math
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, cast, final

from carrara.files import (
    LINE,
    Appended,
    BadFile,
    Malformed,
    is_regular,
    lies_in,
    opened,
    parse_json,
    read_bytes,
    read_end,
    replacing,
)

ADVICE = "the checkpoints are untouched, and the same command goes on from the last one"
MOST_STEPS = 1 << 53
"""No training has more."""
LARGEST = 1 << 30
"""The largest log that is read, in bytes."""
MOST_LINES = 200_000
"""So many lines of a log are read, about: there are no more points on a screen."""
_LARGEST, _FIELDS = 1e30, 64  # of a number that can be drawn, and of a line
_COUNTS = ("step", "images", "skipped")
LogLine = dict[str, Any]
"""A line's fields; ``step`` is one of them."""


class Log:
    """A file of lines, open for appending.

    Args:
        path: the file; it is made, in a folder that is there.
        step: the step that training goes on from. Lines after it, of a run that was killed since its last checkpoint,
            and lines that are not whole are dropped, atomically.

    Raises:
        UserError: here and in ``write`` and ``sync``: the disk is full or refuses, or the log was deleted.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        _keep_until(path, step)
        self._file = Appended(path, ADVICE)

    def rewind(self, step: int) -> None:
        """Drops the lines after ``step``, atomically: training goes on from there."""
        self._file.close()
        _keep_until(self._path, step)
        self._file = Appended(self._path, ADVICE)

    def write(self, line: Mapping[str, Any]) -> None:
        """Appends one line."""
        finite = {name: value if _is_finite(value) else None for name, value in line.items()}
        self._file.write(json.dumps(finite, allow_nan=False).encode() + b"\n")

    def sync(self) -> None:
        """Waits until the lines are on the disk: before the checkpoint that they lead to."""
        self._file.sync()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


@final
class Tail:
    """The lines of a log that is being written, of which only what is new is read each time.

    Attributes:
        begun: how often it was read from its beginning, as it is again when the log was cut, replaced or deleted.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.begun = path, 0
        self._begin((0, 0))

    def _begin(self, identity: tuple[int, int]) -> None:
        self._read, self._identity, self.begun = 0, identity, self.begun + 1

    def look(self) -> Iterator[LogLine | None]:
        """The whole lines that are new; None for one that nobody wrote so.

        Raises:
            BadFile: it cannot be read.
        """
        if not is_regular(self._path):
            if self._read:
                self._begin((0, 0))
            return
        with opened(self._path, LARGEST) as file:
            assert isinstance(file, BufferedReader), "a log lies in no archive"
            found = os.fstat(file.fileno())
            identity = (found.st_dev, found.st_ino)
            if identity != self._identity or found.st_size < self._read:
                self._begin(identity)
            file.seek(self._read)
            for line in iter(partial(file.readline, LINE), b""):
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                yield _parse(line)


@final
class Followed:
    """The numbers of a log that is being written.

    Attributes:
        columns: by the names of fields, the value of each line, nan where it has none: float64, the step among them.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._tail, self._names = Tail(path), ("step", *names)
        self._begin()

    def _begin(self) -> None:
        self.columns = {name: array("d") for name in self._names}
        self._begun = self._tail.begun

    def __len__(self) -> int:
        return len(self.columns["step"])

    def look(self) -> bool:
        """Reads on; whether there was anything new. A log that was cut or replaced is read again from its beginning.

        Raises:
            BadFile: it cannot be read.
        """
        new = False
        for line in self._tail.look():
            new = True
            if self._tail.begun != self._begun:
                self._begin()
            self._take(line)
        if self._tail.begun != self._begun:
            new = new or len(self) > 0
            self._begin()
        return new

    def _take(self, line: LogLine | None) -> None:
        if line is None:
            return
        for name, column in self.columns.items():
            value = _number(name, line.get(name))
            column.append(math.nan if value is None else value)


def read_log(path: Path, needed: Sequence[str] = ()) -> list[LogLine]:
    """The whole lines of a log, in order: ``step`` is a whole number, and other values are numbers or None.

    A half-written line, or one that nobody wrote so, is left out. No file is no lines, nor is one of another folder.
    Of more than ``MOST_LINES``, so many from all over the file are read, the last among them.

    Args:
        needed: what must be a number of 0 or more in each.

    Raises:
        BadFile: it cannot be read.
    """
    if not is_regular(path) or not lies_in(path, path.parent):
        return []
    lines = map(_parse, _some_lines(path))
    known = (numbers(line) for line in lines if line is not None)
    return [line for line in known if all(_is_count(line.get(name)) for name in ("step", *needed))]


def _some_lines(path: Path) -> Iterator[bytes]:
    with opened(path, LARGEST) as file:
        count = sum(part.count(b"\n") for part in iter(partial(file.read, LINE), b""))
        file.seek(0)
        stride = 1 + count // MOST_LINES
        yield from islice(iter(partial(file.readline, LINE), b""), max(0, count - 1) % stride, None, stride)


def last_lines(path: Path, most: int = 1 << 16) -> list[LogLine]:
    """The last lines of a log, of so many bytes, without reading all of it; none if it cannot be read."""
    try:
        text = read_end(path, most) if lies_in(path, path.parent) else b""
    except BadFile:
        return []
    lines = (line for one in text.split(b"\n") if (line := _parse(one)) is not None)
    return [numbers(line) for line in lines]


def numbers(line: LogLine) -> dict[str, int | float | None]:
    """The numbers of a line by name; None where it has another value."""
    return {name[:80]: _number(name, line[name]) for name in list(line)[:_FIELDS]}


def read_training(path: Path) -> list[LogLine]:
    """The lines of a ``log.jsonl`` that say how far a training was: ``loss`` (or None), ``images``, ``seconds``."""
    return [{"loss": None, **line} for line in read_log(path, ("images", "seconds"))]


def _keep_until(path: Path, step: int) -> None:
    if not is_regular(path):
        return
    old = read_bytes(path, LARGEST)
    lines = (line for text in old.split(b"\n") if (line := _parse(text)) is not None)
    kept = "".join(json.dumps(line) + "\n" for line in lines if line["step"] <= step).encode()
    if kept == old:
        return
    with replacing(path, lasting=True, advice=ADVICE) as file:
        file.write(kept)


def _parse(text: bytes) -> LogLine | None:
    try:
        found = parse_json(text)
    except Malformed:
        return None
    if not isinstance(found, dict):
        return None
    line = cast(dict[str, Any], found)
    return line if type(line.get("step")) is int and 0 <= line["step"] <= MOST_STEPS else None


def _number(name: str, value: object) -> int | float | None:
    """A number that can be drawn, a whole one where it counts; None if it is none."""
    if not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        return None
    return int(value) if name in _COUNTS else float(value)


def _is_count(value: int | float | None) -> bool:
    return value is not None and value >= 0


def _is_finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
