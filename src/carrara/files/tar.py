"""Tar files of many small ones, written from the beginning to the end, equal to the byte for equal files."""

import tarfile
from typing import Any, Protocol, final, runtime_checkable

BLOCK = 512
RECORD = 20 * BLOCK


@runtime_checkable
class Sink(Protocol):
    """What bytes are written into."""

    def write(self, content: Any, /) -> int:
        """Writes all of them."""
        ...


@final
class Tar:
    """A new tar file of plain files, without times and owners.

    Args:
        file: it is written into, from where it stands.

    Attributes:
        size: bytes so far.
    """

    def __init__(self, file: Sink) -> None:
        self._file, self.size = file, 0

    def add(self, name: str, content: bytes) -> int:
        """Writes a file, and says at which byte its content begins.

        Args:
            name: at most 100 letters of ASCII.
        """
        info = tarfile.TarInfo(name)
        info.size = len(content)
        self._write(info.tobuf(tarfile.USTAR_FORMAT))
        begin = self.size
        self._write(content)
        self._write(bytes(-len(content) % BLOCK))
        return begin

    def end(self) -> None:
        """Writes what ends a tar file."""
        self._write(bytes(2 * BLOCK))
        self._write(bytes(-self.size % RECORD))

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self.size += len(content)


def padded(size: int) -> int:
    """How many bytes a file of this size takes in a tar file."""
    return BLOCK + size + -size % BLOCK


def ended(size: int) -> int:
    """How many bytes a tar file has whose files take ``size``."""
    return size + 2 * BLOCK + -(size + 2 * BLOCK) % RECORD
