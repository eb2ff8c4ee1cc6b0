"""What was read from afar, kept in a folder of this machine that holds so many bytes and never more.

Several processes use it at once. A file takes its name when it is whole. Its bytes are counted before it is written, in
a file that one process at a time holds until it is there, so the sum of all files is never above the bound, whoever
writes or is killed; what a killed process has counted in vain is found out when room is made. Room is made by deleting
what was longest not used, until three quarters of the bound are left.
"""

import hashlib
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import final

from carrara.files.reading import BadFile, read_bytes
from carrara.files.writing import NotWritten, delete, make_folder, replacing

_COUNT = ".bytes"
_KEPT = 0.75  # of the bound, when room is made


@final
class Cache:
    """A bounded folder of files.

    Args:
        folder: it is made when something is kept.
        most: bytes; with 0 nothing is kept.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most

    def get(self, key: str, make: Callable[[], bytes], most: int) -> bytes:
        """What is kept under a key; else what ``make`` makes, which is kept if there is room for it.

        Args:
            most: the most bytes that it may have.
        """
        path = self.path(key)
        with suppress(BadFile):
            content = read_bytes(path, most)
            with suppress(OSError):
                os.utime(path)
            return content
        content = make()
        self.keep(path, content)
        return content

    def file(self, key: str, make: Callable[[], bytes]) -> Path | None:
        """The file that is kept under a key, made where it is not there; None if there is no room for it."""
        path = self.path(key)
        if path.is_file():
            with suppress(OSError):
                os.utime(path)
            return path
        return path if self.keep(path, make()) else None

    def keep(self, path: Path, content: bytes) -> bool:
        """Keeps a file if the bound and the disk allow it; whether they did."""
        if len(content) > self.most * _KEPT:
            return False
        try:
            make_folder(path.parent)
            with self._counting() as count:
                if count() + len(content) > self.most:
                    count(self._make_room(len(content)))
                count(count() + len(content))
                with replacing(path) as file:
                    file.write(content)
        except (NotWritten, OSError):
            return False
        return True

    def forget(self, key: str) -> None:
        """Deletes what is kept under a key: it is not what it should be."""
        with suppress(OSError):
            self.path(key).unlink()

    def path(self, key: str) -> Path:
        """Where something is kept; under the ending that its key has."""
        name = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        return self.folder / name[:2] / f"{name[2:]}{PurePath(key).suffix}"

    def _make_room(self, needed: int) -> int:
        """Deletes what was longest not used; how many bytes are left."""
        found = list[tuple[float, int, Path]]()
        for where, _, names in os.walk(self.folder):
            for name in names:
                path = Path(where, name)
                if name == _COUNT:
                    continue
                with suppress(OSError):
                    state = path.stat()
                    found.append((state.st_mtime, state.st_size, path))
        total, goal = sum(size for _, size, _ in found), self.most * _KEPT - needed
        for _, size, path in sorted(found, key=lambda one: (one[0], str(one[2]))):
            if total <= goal:
                break
            delete(path)
            total -= size
        return total

    @contextmanager
    def _counting(self) -> Generator["_Count"]:
        """The number of bytes, held by this process until the block ends."""
        descriptor = os.open(self.folder / _COUNT, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _hold(descriptor)
            yield _Count(descriptor)
        finally:
            os.close(descriptor)


@final
class _Count:
    """A number in a file: called without one it reads it, called with one it writes it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, value: int | None = None) -> int:
        if value is None:
            return int.from_bytes(os.pread(self._descriptor, 8, 0), "little")
        os.pwrite(self._descriptor, value.to_bytes(8, "little"), 0)
        return value


def _hold(descriptor: int) -> None:
    """Waits until no other process holds a file; where files cannot be held, the bound is kept by each process."""
    with suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
