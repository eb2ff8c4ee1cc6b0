"""Writing: a file is there whole or as it was before, and a refusing disk is one sentence.

What is not finished has a hidden name with the number of the process that writes it, ``.NAME.PID.tmp``, so that what a
killed process has left can be told from what is being written.
"""

import errno
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir
from typing import BinaryIO

from carrara.errors import UserError

_UNFINISHED = ".tmp"


class NotWritten(UserError, OSError):
    """The disk is full, or refuses. What was there before is as it was."""


@contextmanager
def explained(path: Path, needed: int | None = None, advice: str = "") -> Generator[None]:
    """Says in one sentence why something could not be written to ``path``.

    Args:
        needed: how many bytes are to be written, if that is known.
        advice: what else to say: what is untouched, and how to go on.

    Raises:
        NotWritten: in the place of any ``OSError`` of the block.
    """
    try:
        yield
    except NotWritten:
        raise
    except OSError as error:
        raise NotWritten(_refused(path, error, needed) + (f"; {advice}" if advice else "")) from error


@contextmanager
def replacing(path: Path, *, lasting: bool = False) -> Generator[BinaryIO]:
    """A new file that takes its name only when the block has ended well: readers see the old one or all of the new.

    Args:
        lasting: waits until it is on the disk, as for what other files rely on.

    Raises:
        NotWritten: the disk is full, or refuses; the old file is as it was.
    """
    unfinished = hidden(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("wb") as file:
                yield file
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
            unfinished.replace(path)
            if lasting:
                sync(path.parent)
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Makes a folder, and those above it.

    Raises:
        NotWritten: the disk is full, or refuses, or a file has that name.
    """
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)


def hidden(path: Path, role: str = "") -> Path:
    """The name of something unfinished beside ``path``."""
    return path.with_name(f".{role}{path.name}.{os.getpid()}{_UNFINISHED}")


def sweep(folder: Path) -> None:
    """Deletes what processes that are no more have left unfinished in a folder; what cannot be deleted stays."""
    for path in folder.glob(f".*{_UNFINISHED}"):
        process = path.name.split(".")[-2]
        if not process.isdecimal() or int(process) == os.getpid() or not is_alive(int(process)):
            delete(path)


def sweep_all(folder: Path) -> None:
    """The same in a folder and in all below it."""
    for where, folders, _ in os.walk(folder):
        sweep(Path(where))
        folders[:] = [name for name in folders if not name.startswith(".")]


def is_bare(folder: Path) -> bool:
    """Whether nothing is in a folder, or only what a process has left that was killed before it wrote anything."""
    if not folder.exists():
        return True
    return all(path.name == ".lock" or path.name.endswith(_UNFINISHED) for path in folder.iterdir())


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


def free_space(path: Path) -> int | None:
    """The bytes that are free where ``path`` is or would be; None if that cannot be known."""
    with suppress(OSError):
        return shutil.disk_usage(next(p for p in (path, *path.absolute().parents) if p.exists())).free
    return None


def check_room(path: Path, needed: int, what: str, advice: str) -> None:
    """Refuses to begin what the disk has no room for.

    Raises:
        NotWritten: with the bytes that are needed and that are free.
    """
    free = free_space(path)
    if free is not None and free < needed:
        raise NotWritten(f"{what} needs about {in_words(needed)} in '{path}', and {in_words(free)} are free: {advice}")


def in_words(size: int) -> str:
    """A number of bytes as one reads it."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"


def _home() -> Path:
    """The user's, or for users without one the system's folder for temporary files."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(gettempdir())


def _refused(path: Path, error: OSError, needed: int | None) -> str:
    reason = error.strerror or str(error)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return f"'{path}' could not be written ({reason}): get leave to write there, or name another place"
    free, wanted = free_space(path), "" if needed is None else f"{in_words(needed)} are needed, "
    there = "" if free is None else f" ({wanted}{in_words(free)} are free)"
    return f"'{path}' could not be written: the disk is full{there}; make room, and run the same command again"
