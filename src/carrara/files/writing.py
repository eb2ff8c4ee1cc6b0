"""Writing: a file is there whole or as it was before, and a refusing disk is one sentence.

What is not finished has a hidden name with the number of the process that writes it, ``.NAME.PID.tmp``, so that what a
killed process has left can be told from what is being written.
"""

import errno
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any, BinaryIO, cast, final

from carrara.errors import UserError
from carrara.files.refusals import free_space, in_words, refusal

_UNFINISHED = ".tmp"
_SHOWN = 40
"""Characters of a file's name that its hidden name has."""
_LONGEST = 255
"""Bytes of a name, on all usual disks."""
NOTES = frozenset({".lock", ".output", ".ended.json"})
"""What may be in a run's folder before anything is trained: who works there, what it printed, and how it ended."""
REPLACED = "replaced~"
"""The role of a folder that another one is taking the place of."""


class NotWritten(UserError, OSError):
    """The disk is full, or refuses. What was there before is as it was.

    Attributes:
        needed: how many bytes were to be written, if that is known.
    """

    needed: int | None = None


@contextmanager
def explained(path: Path, needed: int | None = None, advice: str = "") -> Generator[None]:
    """Says in one sentence why something could not be written to ``path``.

    Args:
        needed: how many bytes are to be written, if that is known.
        advice: what else to say: what is untouched, and how to go on.

    Raises:
        NotWritten: in the place of any ``OSError`` of the block; of several around each other the outermost speaks,
            because its path is one that the user knows.
    """
    try:
        yield
    except NotWritten as error:
        if not isinstance(cause := error.__cause__, OSError):
            raise
        raise _not_written(path, cause, error.needed, advice) from cause
    except OSError as error:
        raise _not_written(path, error, needed, advice) from error


@contextmanager
def replacing(
    path: Path, *, lasting: bool = False, within: Path | None = None, advice: str = ""
) -> Generator[BinaryIO]:
    """A new file that takes its name only when the block has ended well: readers see the old one or all of the new.

    Args:
        lasting: waits until it is on the disk, as for what other files rely on.
        within: see ``make_folder``, which makes the file's folder.
        advice: for the sentence if the disk refuses.

    Raises:
        NotWritten: the disk is full, or refuses; the old file is as it was.
    """
    make_folder(path.parent, within, advice)
    unfinished, written = hidden(path), None
    try:
        with unfinished.open("wb") as file:
            written = _Counted(file)
            yield cast(BinaryIO, written)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        unfinished.replace(path)
        if lasting:
            sync(path.parent)
    except NotWritten:
        raise
    except OSError as error:
        raise _not_written(path, error, written.size if written else None, advice) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


@contextmanager
def incoming(folder: Path) -> Generator[Path]:
    """A new folder with a hidden name in ``folder``, for files that are moved out when they are whole; what is left in
    it goes with it.

    Raises:
        NotWritten: the disk is full, or refuses.
    """
    path = hidden(folder / secrets.token_hex(8))
    make_folder(path)
    try:
        yield path
    finally:
        delete(path)


def moved(path: Path, place: Path) -> None:
    """Gives a whole file its name, in a folder of the same disk.

    Raises:
        NotWritten: the disk refuses.
    """
    with explained(place):
        path.replace(place)


@contextmanager
def scratch() -> Generator[Path]:
    """A folder that nobody else can read, and that is gone afterwards."""
    path = Path(mkdtemp(prefix="carrara-"))
    try:
        yield path
    finally:
        delete(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file of a folder that has no name yet, so that it matters to nobody if it is half written.

    Raises:
        OSError: the disk is full, or refuses.
    """
    path.write_bytes(content)


@final
class Appended:
    """A file that is written at its end, at once; what could not be written whole is taken back.

    Args:
        path: the file; it is made in a folder that is there.
        advice: for the sentence if the disk refuses.

    Raises:
        NotWritten: here and in ``write`` and ``sync``: the disk is full, or refuses, or the file was deleted.
    """

    def __init__(self, path: Path, advice: str = "") -> None:
        self._path, self._advice = path, advice
        with explained(path, advice=advice):
            self._file = path.open("ab", buffering=0)

    def write(self, content: bytes) -> None:
        """Writes all of it, or nothing."""
        with explained(self._path, len(content), self._advice):
            size = os.fstat(self._file.fileno()).st_size
            try:
                left = memoryview(content)
                while left:
                    left = left[self._file.write(left) or 0 :]
            except OSError:
                with suppress(OSError):
                    self._file.truncate(size)
                raise
        self.check_there()

    def check_there(self) -> None:
        """Refuses to go on with a file that has no name any more: whoever deletes it wants no more of it."""
        with explained(self._path):
            if os.name == "posix" and os.fstat(self._file.fileno()).st_nlink == 0:
                raise FileNotFoundError(errno.ENOENT, "deleted")

    def sync(self) -> None:
        """Waits until it is on the disk."""
        with explained(self._path, advice=self._advice):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def make_folder(path: Path, within: Path | None = None, advice: str = "") -> None:
    """Makes a folder, and those above it.

    Args:
        within: a folder that has to be there: nothing is made but below it, so that what was deleted does not come
            back in part.
        advice: for the sentence if the disk refuses.

    Raises:
        NotWritten: the disk is full, or refuses, a file has that name, or ``within`` is not there.
    """
    with explained(path, advice=advice):
        if within is None:
            path.mkdir(parents=True, exist_ok=True)
            return
        for folder in _from(within, path):
            folder.mkdir(exist_ok=True)


def check_place(path: Path) -> None:
    """Refuses a place for files before the work, and makes nothing.

    Args:
        path: a folder, which need not be there.

    Raises:
        NotWritten: nothing can be written there.
    """
    with explained(path):
        if any(len(os.fsencode(part)) > _LONGEST for part in path.parts):
            raise OSError(errno.ENAMETOOLONG, "too long")
        there = _nearest(path)
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "no folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "no leave")


def check_file(path: Path) -> None:
    """The same for a file that is to be written.

    Raises:
        NotWritten: nothing can be written there, or it is a folder.
    """
    check_place(path.parent)
    with explained(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder")


def hidden(path: Path, role: str = "") -> Path:
    """The name of something unfinished beside ``path``."""
    name = path.name
    if len(name) > _SHOWN:  # with what stands beside it, the hidden name could be too long
        name = f"{name[:_SHOWN]}-{hashlib.blake2b(os.fsencode(name), digest_size=4).hexdigest()}"
    return path.with_name(f".{role}{name}.{os.getpid()}{_UNFINISHED}")


def sweep(folder: Path) -> None:
    """Deletes what processes that are no more have left unfinished in a folder; what cannot be deleted stays.

    A folder that was about to be replaced, and was not, gets its name back.
    """
    for path in [path for path in folder.glob(f".*{_UNFINISHED}") if is_left_over(path)]:
        _, replaced, name = path.name.rsplit(".", 2)[0].partition(f".{REPLACED}")
        if replaced and len(name) <= _SHOWN and path.is_dir() and not os.path.lexists(path.with_name(name)):
            with suppress(OSError):
                path.rename(path.with_name(name))
        else:
            delete(path)


def sweep_all(folder: Path) -> None:
    """The same in a folder and in all below it; links are not followed."""
    for where, folders, _ in os.walk(folder):
        sweep(Path(where))
        folders[:] = [name for name in folders if not name.startswith(".")]


def is_left_over(path: Path) -> bool:
    """Whether something is unfinished, and nobody is left to finish it."""
    process = path.name.removesuffix(_UNFINISHED).rpartition(".")[2]
    if not path.name.startswith(".") or not path.name.endswith(_UNFINISHED) or not process.isdecimal():
        return False
    return int(process) == os.getpid() or not is_alive(int(process))


def is_bare(folder: Path) -> bool:
    """Whether nothing is in a folder, or only what a process has left that was killed before it wrote anything."""
    return not folder.exists() or all(path.name in NOTES or is_left_over(path) for path in folder.iterdir())


def delete(path: Path) -> None:
    """Deletes a file or a folder; what cannot be deleted stays."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether a process of this machine runs; True where that cannot be known."""
    if os.name != "posix":
        return True  # elsewhere signal 0 would end the process
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def sync(path: Path) -> None:
    """Forces a file, or a folder's list of names, to the disk."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cache_folder() -> Path:
    """Where what takes seconds to make is kept: ``$CARRARA_CACHE``, or ``carrara`` in the user's cache folder."""
    user = os.environ.get("XDG_CACHE_HOME") or _home() / ".cache"
    return Path(os.environ.get("CARRARA_CACHE") or Path(user, "carrara"))


def check_room(path: Path, needed: int, what: str, advice: str) -> None:
    """Refuses to begin what the disk has no room for.

    Raises:
        NotWritten: with the bytes that are needed and that are free.
    """
    free = free_space(path)
    if free is not None and free < needed:
        raise NotWritten(f"{what} needs about {in_words(needed)} in '{path}', and {in_words(free)} are free: {advice}")


def _not_written(path: Path, error: OSError, needed: int | None, advice: str) -> NotWritten:
    refused = NotWritten(refusal(path, error, needed, advice))
    refused.needed = needed
    return refused


def _nearest(path: Path) -> Path:
    """The path itself, or what is there of the way to it."""
    for folder in (path, *path.absolute().parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(folder)
            return folder
    return Path(path.absolute().anchor)


def _from(within: Path, path: Path) -> Iterator[Path]:
    """The folders below one, down to another, from above."""
    folder = within
    for part in path.relative_to(within).parts:
        folder /= part
        yield folder


def _home() -> Path:
    """The user's, or for users without one the system's folder for temporary files."""
    try:
        return Path.home()
    except RuntimeError:
        with suppress(OSError):
            return Path(gettempdir())
    return Path(os.devnull)  # nothing can be written there, and nothing read


@final
class _Counted(io.BufferedIOBase):
    """A file that knows how long it was to become.

    It has no descriptor, so that whoever writes into it does so here, and a refusal of the disk has its number.
    """

    def __init__(self, file: io.BufferedWriter) -> None:
        self._file, self.size = file, 0

    def write(self, buffer: Any, /) -> int:
        count = memoryview(buffer).nbytes
        self.size = max(self.size, self._file.tell() + count)
        return self._file.write(buffer)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        if not self._file.closed:
            self._file.flush()

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
