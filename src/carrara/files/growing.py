"""Files that grow while somebody looks on: what another process prints, and what is sent little by little."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from carrara.files.writing import explained, make_folder


@contextmanager
def appending(path: Path, most: int = 1 << 22) -> Generator[BinaryIO]:
    """A file that another process is to print into, at its end; one that has become larger than ``most`` begins anew.

    Raises:
        NotWritten: the disk is full, or refuses.
    """
    make_folder(path.parent)
    with explained(path):
        fresh = not path.is_file() or path.stat().st_size > most
        file = path.open("wb" if fresh else "ab", buffering=0)
    with file:
        yield cast(BinaryIO, file)


def writing(path: Path) -> BinaryIO:
    """A file that is written little by little, of a folder that has no name yet.

    Raises:
        OSError: the disk refuses.
    """
    return path.open("wb")
