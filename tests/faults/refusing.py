"""A disk that refuses: the n-th thing that is to be written fails, and with it all that come after, or it alone."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

from carrara.files import writing


class Disk:
    """Counts what is written, and refuses it from a moment on.

    Args:
        moment: the first operation that fails; None is never.
        number: the system's for why.
        until: so many fail; None is all.
    """

    def __init__(self, moment: int | None = None, number: int = errno.ENOSPC, until: int | None = None) -> None:
        self.count, self.refused = 0, 0
        self._moment, self._number, self._until = moment, number, until

    def ask(self, path: object = None) -> None:
        """Counts an operation, or refuses it."""
        self.count += 1
        over = self._until is not None and self.refused >= self._until
        if self._moment is not None and self.count > self._moment and not over:
            self.refused += 1
            raise OSError(self._number, os.strerror(self._number), None if path is None else str(path))


def _asking(disk: Disk, do: Callable[..., Any], named: bool) -> Callable[..., Any]:
    def asked(*given: Any, **more: Any) -> Any:
        disk.ask(given[0] if named else None)
        return do(*given, **more)

    return asked


@contextmanager
def refusing(disk: Disk) -> Iterator[Disk]:
    """A block in which everything that is written asks the disk: folders, files, each part of them, names, syncs."""
    opened, mkdir, written = Path.open, Path.mkdir, writing._Counted.write

    def open_path(path: Path, mode: str = "r", *given: Any, **more: Any) -> Any:
        if set(mode) & set("wax+"):
            disk.ask(path)
        return opened(path, mode, *given, **more)

    def make(path: Path, *given: Any, **more: Any) -> None:
        if not path.is_dir():
            disk.ask(path)
        mkdir(path, *given, **more)

    def write(file: Any, content: Any) -> int:
        if file.tell() < 100 or not file.size:  # the first parts of a file stand for all of them
            disk.ask()
        return written(file, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", open_path)
        patch.setattr(Path, "mkdir", make)
        for owner, name, named in (
            (Path, "rename", True),
            (Path, "replace", True),
            (Path, "write_bytes", True),
            (os, "fsync", False),
            (safetensors.torch, "save_file", False),
            (writing.Appended, "write", False),
        ):
            patch.setattr(owner, name, _asking(disk, getattr(owner, name), named))
        patch.setattr(writing._Counted, "write", write)
        yield disk
