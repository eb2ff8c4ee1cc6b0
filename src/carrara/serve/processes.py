"""Processes that train: begun, found by their folders, asked to save or to stop, and what they use of the machine.

A training belongs to nobody: it is a process of its own session that prints into its folder, so it outlives the browser
and the studio. Who it is, its folder's lock says; and a signal is sent only to the process of this machine that holds
the lock now. Whether it listens, Linux says in ``/proc``: of a process that trains, SIGUSR1 is caught, and SIGTERM
no longer once it was asked to stop.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import RLock
from time import monotonic
from typing import Any, final

import torch

from carrara import threads
from carrara.errors import UserError
from carrara.files import BadFile, read_text
from carrara.files.growing import appending
from carrara.files.lock import working
from carrara.files.reading import read_end
from carrara.train.hooks import SAVE

OUTPUT = ".output"
"""The file of a run's folder that holds what its trainings have printed."""
_PROC = Path("/proc")
_MOST = 1 << 16


_children = list["subprocess.Popen[bytes]"]()
"""Processes that were begun here, whoever asked for them: they may outlive that, and are waited for when they end."""


def command(arguments: Sequence[str]) -> list[str]:
    """What is run for ``carrara ...``."""
    return [sys.executable, "-m", "carrara", *arguments]


def begin(arguments: Sequence[str], folder: Path) -> "subprocess.Popen[bytes]":
    """Begins ``carrara train`` in a process that nobody who ends will take along.

    Raises:
        UserError: it cannot be begun.
    """
    with appending(folder / OUTPUT) as file:
        file.write(f"$ carrara {' '.join(arguments)}\n".encode("utf-8", "replace"))
        _children[:] = [one for one in _children if one.poll() is None]
        try:
            process = subprocess.Popen(
                command(arguments),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**threads.as_before(), "PYTHONUNBUFFERED": "1"},
            )
        except OSError as error:
            raise UserError(f"no process can be begun for this training: {error.strerror or error}") from None
        except ValueError:
            raise UserError("no process can be told this: leave out what is no text") from None
    _children.append(process)
    return process


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process that trains in a folder.

    Attributes:
        saves, stops: whether it would hear that it shall save or stop; None where nobody can tell.
    """

    process: int
    since: str
    saves: bool | None
    stops: bool | None


def worker_of(folder: Path) -> Worker | None:
    """The process of this machine that works in a folder now."""
    if (found := working(folder)) is None:
        return None
    caught = _caught(found.process)
    if caught is None or SAVE is None:
        return Worker(process=found.process, since=found.since, saves=None, stops=None)
    return Worker(
        process=found.process,
        since=found.since,
        saves=bool(caught >> (SAVE - 1) & 1),
        stops=bool(caught >> (signal.SIGTERM - 1) & 1),
    )


def ask_to_save(folder: Path) -> None:
    """Asks the process that works in a folder to save after its step.

    Raises:
        UserError: there is none, or it does not listen.
    """
    worker = _worker(folder)
    if SAVE is None:
        raise UserError("on this system a training cannot be asked to save: stop it, which saves, and resume it")
    if worker.saves is False:
        raise UserError("this training makes no steps at the moment: wait until it does")
    _send(worker, SAVE)


def ask_to_stop(folder: Path) -> None:
    """Asks the process that works in a folder to save and to end; once, because a second time would end it at once.

    Raises:
        UserError: there is none.
    """
    worker = _worker(folder)
    if worker.saves and worker.stops is False:
        return  # it was asked before
    _send(worker, signal.SIGTERM)


def _send(worker: Worker, number: int) -> None:
    try:
        os.kill(worker.process, number)
    except ProcessLookupError:
        raise UserError("this training has just ended: look again") from None
    except PermissionError:
        raise UserError("this training belongs to another user of this machine: ask them") from None


def _worker(folder: Path) -> Worker:
    if (worker := worker_of(folder)) is None:
        raise UserError("no process of this machine trains here now: look again")
    return worker


@final
@dataclass
class Loads:
    """What processes use: the processor's time since they were last looked at, and memory.

    Attributes:
        before: by process, when it was last looked at, and the seconds that it had used.
    """

    before: dict[int, tuple[float, float, float]] = field(default_factory=dict[int, tuple[float, float, float]])
    lock: Any = field(default_factory=RLock)

    def of(self, process: int) -> dict[str, Any] | None:
        """The load of a process; None where nobody can tell."""
        try:
            fields = read_text(_PROC / str(process) / "stat", _MOST).rpartition(")")[2].split()
            pages = int(read_text(_PROC / str(process) / "statm", _MOST).split()[1])
            up = float(read_text(_PROC / "uptime", _MOST).split()[0])
            ticks = os.sysconf("SC_CLK_TCK")
            used, begun = (int(fields[11]) + int(fields[12])) / ticks, int(fields[19]) / ticks
            memory = pages * os.sysconf("SC_PAGE_SIZE")
        except (BadFile, ValueError, IndexError, AttributeError, OSError):
            return None
        with self.lock:
            now = monotonic()
            when, had, share = self.before.get(process, (now - max(0.1, up - begun), 0.0, 0.0))
            if now - when >= 0.5:
                share = (used - had) / (now - when) / (os.cpu_count() or 1)
                self.before[process] = (now, used, share)
            if len(self.before) > 200:
                self.before = {process: self.before.get(process, (now, used, share))}
        return {"cpu": round(min(1.0, max(0.0, share)), 3), "memory": memory, "device": _device(), **_gpu()}


@cache
def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _gpu() -> dict[str, Any]:
    """Of the whole device: its use is nobody's alone."""
    if not torch.cuda.is_available():
        return {}
    try:
        free, total = torch.cuda.mem_get_info()
        used: dict[str, Any] = {"gpu_memory": total - free}
        return {**used, "gpu": torch.cuda.utilization() / 100}
    except Exception:  # the package that knows it may be missing
        return {}


def _caught(process: int) -> int | None:
    """The signals that a process handles itself, a bit each; None where nobody can tell."""
    try:
        found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", read_text(_PROC / str(process) / "status", _MOST), re.MULTILINE)
    except BadFile:
        return None
    return None if found is None else int(found[1], 16)


def output_of(folder: Path, most: int = 1 << 17) -> list[str]:
    """The last lines that trainings in a folder have printed; of one that was drawn over and over, its last state."""
    try:
        text = read_end(folder / OUTPUT, most).decode("utf-8", "replace")
    except BadFile:
        return []
    lines = (line.rpartition("\r")[2].rstrip() for line in text.split("\n"))
    return [_COLOURS.sub("", line) for line in lines if line]


_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
