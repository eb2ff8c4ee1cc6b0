"""log.jsonl: one JSON object a step, written at once; a number that is not finite is ``null``."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carrara.files import Appended, replacing

ADVICE = "the checkpoints are untouched, and the same command goes on from the last one"
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
        _keep_until(path, step)
        self._file = Appended(path, ADVICE)

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


def read_log(path: Path) -> list[LogLine]:
    """The whole lines of a log, in order; a half-written one is left out. No file is no lines."""
    if not path.is_file():
        return []
    lines = (_parse(text) for text in path.read_bytes().split(b"\n"))
    return [line for line in lines if line is not None]


def _keep_until(path: Path, step: int) -> None:
    if not path.is_file():
        return
    kept = "".join(json.dumps(line) + "\n" for line in read_log(path) if line["step"] <= step).encode()
    if kept == path.read_bytes():
        return
    with replacing(path, lasting=True, advice=ADVICE) as file:
        file.write(kept)


def _parse(text: bytes) -> LogLine | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("step"), int) else None


def _is_finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
