"""Zip files as folders: ``photos.zip/cat/1.png`` is what is called ``cat/1.png`` in ``photos.zip``. And so are Parquet
files with a column of pictures: see ``picture_rows``.

Nothing is unpacked on the disk. An archive may be anybody's: what lies in it has a name within it, and none that leads
out; links and what is encrypted are not read, and who reads asks how large something is first. The directory of an
archive is read once, and again when the archive has changed.
"""

import stat
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, final
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from carrara.files import picture_rows
from carrara.files.picture_rows import State

ENDING = ".zip"
_KINDS = (ENDING, picture_rows.ENDING)
_OPEN = 64  # archives at once
_SECRET = 1
_TAIL = (1 << 16) + 200  # bytes at the end of an archive, in which it says where its directory is
DIRECTORY = 1 << 26
"""The largest directory, in bytes, of an archive that somebody sends: of half a million files, about."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file in an archive.

    Attributes:
        size: in bytes, as the archive says.
        changed: when the archive changed, in nanoseconds.
        read: gives at most so many bytes; raises an ``OSError`` if it is damaged, encrypted, or packed in a way that
            is not known here.
    """

    size: int
    changed: tuple[int, int]
    read: Callable[[int], bytes] = field(repr=False)

    @property
    def stamp(self) -> tuple[int, int, int]:
        """Its size, and when the archive changed."""
        return self.size, *self.changed


@final
class Zip:
    """A zip file.

    Args:
        path: its own.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._archive = ZipFile(path)
        except (BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            raise OSError(f"no zip file that is whole: {error}") from None
        self._files = {name: info for info in self._archive.infolist() if (name := _name(info))}

    @property
    def names(self) -> Sequence[str]:
        """Of its files, with slashes."""
        return tuple(self._files)

    def size(self, name: str) -> int:
        """Of a file, in bytes; raises a ``KeyError`` if there is none."""
        return self._files[name].file_size

    def read(self, name: str, most: int) -> bytes:
        """At most so many bytes of a file; see ``Entry``."""
        info = self._files[name]
        if info.flag_bits & _SECRET:
            raise OSError("it is encrypted: unpack the archive, and give the folder")
        try:
            with self._archive.open(info) as file:
                return file.read(most)
        except NotImplementedError:
            raise OSError(
                "it is packed in a way that is not known here: unpack the archive, and give the folder"
            ) from None
        except (BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            raise OSError(f"it is damaged in the archive: {error}") from None


@final
class Packing:
    """A new zip file, into which files are written one after the other, as they are.

    Args:
        path: of a file that has no name yet, so that it matters to nobody if it is half written.

    Raises:
        OSError: here and in all methods: the disk is full, or refuses.
    """

    def __init__(self, path: Path) -> None:
        self._archive = ZipFile(path, "w", ZIP_STORED, allowZip64=True)
        self._file: IO[bytes] | None = None

    def begin(self, name: str) -> None:
        """Begins a file of this name, with slashes; the one before is whole."""
        self.end()
        self._file = self._archive.open(ZipInfo(name), "w", force_zip64=True)

    def write(self, content: bytes) -> None:
        """Goes on with the file."""
        assert self._file is not None, "a file has a name before it has a content"
        self._file.write(content)

    def end(self) -> None:
        """Ends the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def close(self) -> None:
        """Ends the zip file."""
        self.end()
        self._archive.close()

    def abandon(self) -> None:
        """Lets go of the file, however it is; nothing happens if it is whole."""
        with suppress(OSError, ValueError):
            self.close()


def check_directory(path: Path) -> None:
    """Refuses a zip file whose directory would take much memory to read.

    Raises:
        OSError: it is no zip file, or its directory has more than ``DIRECTORY`` bytes.
    """
    with path.open("rb") as file:
        total = file.seek(0, 2)
        file.seek(max(0, total - _TAIL))
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) < at + 22:
            raise OSError("no zip file that is whole: its end is missing")
        size = int.from_bytes(tail[at + 12 : at + 16], "little")
        if at >= 20 and tail[at - 20 : at - 16] == b"PK\x06\x07":  # then a record of larger files counts, not this one
            said = int.from_bytes(tail[at - 12 : at - 4], "little")
            for place in (total - len(tail) + at - 76, said):  # before it, or where it says: readers differ
                file.seek(min(max(0, place), total))
                record = file.read(56)
                if record[:4] == b"PK\x06\x06":
                    size = max(size if size != 0xFFFFFFFF else 0, int.from_bytes(record[40:48], "little"))
    if size > DIRECTORY:
        raise OSError(f"too much: its directory alone has {size} bytes")


def is_archive(path: Path) -> bool:
    """Whether something is a zip file by its name, or a Parquet file with pictures, and a regular file."""
    ending = path.suffix.lower()
    if ending not in _KINDS or _kind(path) != stat.S_IFREG:
        return False
    return ending == ENDING or picture_rows.has_pictures(path, _state(path))


def members(archive: Path) -> Sequence[str]:
    """The names of the files of an archive, with slashes.

    Raises:
        OSError: it cannot be read.
    """
    return _opened(archive, _state(archive)).names


def find(path: Path) -> Entry | None:
    """The file of an archive that has this name; None if it leads into no archive.

    Raises:
        OSError: the archive cannot be read, or has no such file.
    """
    for above in reversed(path.parents):
        if is_archive(above):
            state = _state(above)
            archive, name = _opened(above, state), "/".join(path.parts[len(above.parts) :])
            try:
                size = archive.size(name)
            except KeyError:
                raise FileNotFoundError from None
            return Entry(size=size, changed=(state[0], state[1]), read=partial(archive.read, name))
    return None


@lru_cache(_OPEN)
def _opened(archive: Path, state: State) -> Zip | picture_rows.PictureRows:
    if archive.suffix.lower() == ENDING:
        return Zip(archive)
    return picture_rows.PictureRows(archive, state)


def _name(info: ZipInfo) -> str:
    """The name of a file within its archive; empty if it is no file, or the name leads out."""
    parts = info.filename.replace("\\", "/").split("/")
    linked = stat.S_ISLNK(info.external_attr >> 16)
    if linked or info.is_dir() or not parts[-1] or ".." in parts or not parts[0] or ":" in parts[0]:
        return ""
    return "/".join(part for part in parts if part not in ("", "."))


def _state(archive: Path) -> State:
    found = archive.stat()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size


def _kind(path: Path) -> int:
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except (OSError, ValueError):
        return 0
