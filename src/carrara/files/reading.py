"""Opening what is on the disk: regular files only, and no more of them than is asked for.

A name may lead anywhere: to a FIFO or a device, where reading waits for ever, to a folder, to a file that grows. So a
name is looked at first, opened without blocking, and looked at again by its descriptor; only then it is read. It may
lead into a zip file, too, as if that were a folder: see ``archives``.
"""

import copyreg
import os
import re
import stat
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

from carrara.errors import UserError
from carrara.files import archives

TEXT = 1 << 24
"""The largest text that is read, in bytes, unless something else is said."""
Stamp = tuple[int, int, int]
"""What changes with a file: its size, and when its content and its description changed, in nanoseconds."""
NEVER: Stamp = (0, 0, 0)
"""The stamp of a file of which nothing is known."""
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_MADE_UP = ("proc", "sys")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class BadFile(UserError):
    """A file that is not what it should be.

    Args:
        path: its name.
        why: what is wrong, as it follows after the name: ``is a pipe, and no file``.
        advice: what to do next.

    Attributes:
        why: without the name, to be part of another sentence.
    """

    def __init__(self, path: Path | str, why: str, advice: str = "") -> None:
        super().__init__(f"'{shown(path)}' {why}{f': {advice}' if advice else ''}")
        self.why = why

    def __reduce__(self) -> Any:
        """As it comes from another process: whole."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # pyright: ignore[reportAttributeAccessIssue]


class TooLarge(BadFile):
    """A file that has, or says that it has, more than such a file may have."""


class Packed(BytesIO):
    """A file of an archive, as it is there; ``stamp`` is as of ``Stamp``."""

    def __init__(self, content: bytes, stamp: Stamp) -> None:
        super().__init__(content)
        self.stamp = stamp


Opened = BufferedReader | Packed
"""What is read from."""


@contextmanager
def opened(path: Path, most: int | None = None) -> Generator[Opened]:
    """A regular file, open for reading, or a file of an archive.

    Args:
        most: the most bytes that it may have; None is any number.

    Raises:
        BadFile: it is not there, cannot be read, is no regular file, or is larger; also while the block reads.
    """
    try:
        _check(path, path.stat(), most)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except NotADirectoryError as error:
        yield _unpacked(path, error, most)
        return
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    with os.fdopen(descriptor, "rb") as file:
        _check(path, os.fstat(descriptor), most)
        yield file


def read_bytes(path: Path, most: int = TEXT) -> bytes:
    """All of a regular file.

    Raises:
        BadFile: see ``opened``; also if it grows beyond ``most`` while it is read.
    """
    with opened(path, most) as file:
        try:
            found = file.read(most + 1)
        except OSError as error:
            raise unreadable(path, error) from None
    if len(found) > most:
        raise _too_large(path, len(found), most)
    return found


def read_end(path: Path, most: int) -> bytes:
    """The last bytes of a regular file, whole lines if there are more.

    Raises:
        BadFile: see ``opened``.
    """
    with opened(path) as file:
        try:
            total = file.seek(0, os.SEEK_END)
            file.seek(max(0, total - most))
            found = file.read(most)
        except OSError as error:
            raise unreadable(path, error) from None
    return found if total <= most else found.partition(b"\n")[2]


def read_text(path: Path, most: int = TEXT, encoding: str = "utf-8-sig") -> str:
    """All of a text file; a byte order mark is passed over.

    Raises:
        BadFile: see ``read_bytes``; also if it is not in this encoding.
    """
    try:
        return read_bytes(path, most).decode(encoding)
    except UnicodeDecodeError as error:
        raise BadFile(path, f"is no text in UTF-8 (byte {error.start})") from None


def stamp_of(file: Path | Opened) -> Stamp:
    """A file's, by its name or as it is open; ``NEVER`` if there is none."""
    if isinstance(file, Packed):
        return file.stamp
    try:
        found = os.fstat(file.fileno()) if isinstance(file, BufferedReader) else file.stat()
    except NotADirectoryError:
        return _packed_stamp(file) if isinstance(file, Path) else NEVER
    except (OSError, ValueError):
        return NEVER
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def is_regular(path: Path) -> bool:
    """Whether there is a regular file of this name, or a link that leads to one. Never raises."""
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Whether there is a folder of this name, or a link that leads to one. Never raises."""
    return stat.S_ISDIR(_mode(path))


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a name leads to something in a folder, when all links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def check_inside(folder: Path) -> None:
    """Refuses a folder in which a link leads out of it: what others have put together may lead to what is one's own.

    Where huggingface_hub keeps a model, all files are links to others beside it; these may be followed.

    Raises:
        BadFile: there is such a link.
    """
    beside = folder.absolute().parents[1:2] if folder.absolute().parent.name == "snapshots" else ()
    allowed = [folder, *(above / "blobs" for above in beside)]
    for where, folders, names in os.walk(folder):
        for path in (Path(where, name) for name in (*folders, *names)):
            if path.is_symlink() and not any(lies_in(path, one) for one in allowed):
                raise BadFile(path, "leads out of its folder", "put a copy in its place")


def unreadable(path: Path, error: Exception) -> BadFile:
    """The sentence for what went wrong in opening or reading a file."""
    if isinstance(error, BadFile):
        return error
    if isinstance(error, FileNotFoundError):
        return BadFile(path, "is not there")
    return BadFile(path, f"cannot be read ({getattr(error, 'strerror', None) or error})")


def shown(name: Path | str) -> str:
    """A name as it can stand in a sentence: what is no letter in it is written out, such as the end of a line."""
    return _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", str(name))


def _unpacked(path: Path, error: OSError, most: int | None) -> Packed:
    """A file of an archive.

    Args:
        error: that says why it is no file of a folder.
    """
    try:
        entry = archives.find(path)
        if entry is None:
            raise error
        if most is not None and entry.size > most:
            raise _too_large(path, entry.size, most)
        content = entry.read(entry.size + 1)
    except OSError as found:
        raise unreadable(path, found) from None
    if len(content) > entry.size:
        raise _too_large(path, len(content), entry.size)
    return Packed(content, entry.stamp)


def _packed_stamp(path: Path) -> Stamp:
    try:
        entry = archives.find(path)
    except OSError:
        return NEVER
    return NEVER if entry is None else entry.stamp


def _check(path: Path, found: os.stat_result, most: int | None) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind != stat.S_IFREG:
        raise BadFile(path, f"is {_KINDS.get(kind, 'something else')}, and no file")
    if found.st_dev in _made_up() and path.absolute().parts[1] not in _MADE_UP:
        raise BadFile(path, "leads to what the system makes up, and to no file")
    if most is not None and found.st_size > most:
        raise _too_large(path, found.st_size, most)


def _mode(path: Path) -> int:
    """0 if there is nothing, or nothing that one may look at."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


@cache
def _made_up() -> frozenset[int]:
    """The numbers of the file systems whose files are the system's answers, some of which wait for something."""
    found = {path.stat().st_dev for name in _MADE_UP if is_folder(path := Path("/", name))}
    return frozenset(found - {Path("/").stat().st_dev})


def _too_large(path: Path, size: int, most: int) -> BadFile:
    return TooLarge(path, f"has {size} bytes, and such a file has at most {most}")
