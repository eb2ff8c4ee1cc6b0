"""One process at a time in a folder: an advisory lock, held by a file ``.lock`` that says who holds it.

Where file systems know locks, a lock ends with its process, however that ends. Others do not tell hosts apart or know
no locks at all, so the holder also touches the file every few seconds: one of another host that has not been touched
for minutes is stale. Who only reads needs no lock, and is never kept waiting.
"""

import errno
import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import final

from carrara.errors import UserError
from carrara.files.documents import read_as
from carrara.files.reading import BadFile
from carrara.files.writing import explained, hidden, is_alive

LOCK = ".lock"
TOUCHED = 15.0
"""Seconds between two touches by the holder."""
_LOOKS, _LOOKING, _WAITING = 4, 0.01, 1.0
STALE = 120.0
"""Seconds after which a lock of another host that was not touched is nobody's."""
TAKEOVER = STALE + 2 * TOUCHED
"""Seconds after which a lock of a host that was lost is surely stale."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lock.

    Attributes:
        process: its number.
        host: the machine's name.
        since: when it began, in UTC.
    """

    process: int
    host: str
    since: str


@final
class Lock:
    """Holds a folder from now on, until ``release``.

    Args:
        folder: it is made, if it is not there.
        patience: the seconds to wait for a process of another host that may be lost.

    Raises:
        UserError: another process holds it; with its number, its host and since when.
        NotWritten: the disk is full, or refuses.
    """

    def __init__(self, folder: Path, patience: float = 0.0) -> None:
        self._path, self._until = folder / LOCK, time.monotonic() + patience
        self._me = Holder(process=os.getpid(), host=socket.gethostname(), since=datetime.now(UTC).isoformat())
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._taken()
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(asdict(self._me)).encode(), 0)
        self._over = threading.Event()
        threading.Thread(target=self._touch, name="carrara-lock", daemon=True).start()

    def check(self) -> None:
        """Makes sure that the folder is still there, and still held by this process.

        Raises:
            UserError: it is not.
        """
        if not self._path.parent.is_dir():
            raise UserError(f"the folder '{self._path.parent}' is gone: somebody has deleted or moved it")
        if (found := holder_of(self._path.parent)) != self._me:
            who = "it is gone" if found is None else f"process {found.process} on {found.host} has it"
            raise UserError(
                f"the lock of '{self._path.parent}' is no longer this process's ({who}): nothing is written"
            )

    def release(self) -> None:
        """Lets go of the folder."""
        if self._over.is_set():
            return
        self._over.set()
        if holder_of(self._path.parent) == self._me:
            with suppress(OSError):
                self._path.unlink()
        os.close(self._descriptor)

    def _taken(self) -> int:
        """A descriptor of the file, which this process alone has locked."""
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
            try:
                locked = self._locked(descriptor)
                found = holder_of(self._path.parent)
                if locked is False or (found is not None and self._works(found, locked)):
                    self._wait(found)
                elif _same_file(descriptor, self._path):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # held still, or the last holder has deleted it in this moment

    def _wait(self, found: Holder | None) -> None:
        """Until one may look again; raises a ``UserError`` if one has waited long enough."""
        if found is None or found.host == self._me.host or time.monotonic() >= self._until:
            raise _held(self._path.parent, found)
        time.sleep(_WAITING)

    def _locked(self, descriptor: int) -> bool | None:
        """As ``_lock``, but who looks whether a folder is held (``working``) keeps nobody out."""
        for _ in range(_LOOKS):
            if (locked := _lock(descriptor)) is not False:
                return locked
            time.sleep(_LOOKING)
        return False

    def _works(self, found: Holder, locked: bool | None) -> bool:
        """Whether a holder that was found in the file may still be at work, although the file could be locked."""
        if found.host == self._me.host:
            return locked is None and found.process != self._me.process and is_alive(found.process)
        return _age(self._path) < STALE

    def _touch(self) -> None:
        while not self._over.wait(TOUCHED):
            with suppress(OSError):
                os.utime(self._descriptor)


def holder_of(folder: Path) -> Holder | None:
    """Who holds a folder, or has left its lock behind; None if nobody has."""
    try:
        return read_as(folder / LOCK, Holder, 1 << 12)
    except BadFile:
        return None


def working(folder: Path) -> Holder | None:
    """The process of this machine that holds a folder now, so surely that one may send it a signal; None if none does.

    Where files cannot be locked nobody is surely anything.
    """
    found = holder_of(folder)
    if found is None or found.host != socket.gethostname() or not is_alive(found.process):
        return None
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return None
    try:
        return found if _lock(descriptor) is False and holder_of(folder) == found else None
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether this process has locked a file now; None where files cannot be locked."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR):
            return False
        return None
    return True


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _age(path: Path) -> float:
    """The seconds since a file was touched, by the clock of the disk that it is on."""
    now = hidden(path)
    try:
        now.touch()
        return now.stat().st_mtime - path.stat().st_mtime
    finally:
        now.unlink(missing_ok=True)


def _held(folder: Path, found: Holder | None) -> UserError:
    who = (
        "another process"
        if found is None
        else f"process {found.process} on {found.host}, since {found.since[:19]} UTC,"
    )
    return UserError(f"{who} works in '{folder}': wait for its end, or stop it, and run the same command again")
