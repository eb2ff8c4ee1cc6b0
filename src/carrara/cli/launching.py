"""Starts a training as several processes of this machine, by torch's own launcher, which is what ``torchrun`` runs."""

import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from uuid import uuid4

from carrara.cli.terminal import console
from carrara.errors import UserError, option
from carrara.files.lock import working
from carrara.train.distributed import LOST
from carrara.train.hooks import SAVE

RESTARTS = 3
"""So often is begun again what was killed, without getting any further."""
GRACE = 600
"""Seconds that processes have to save and leave when this one is asked to stop."""
_GRACE = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"  # what says otherwise, here and to torchrun
_QUICKLY = 0.2  # seconds between the looks at the processes


def line(count: int, words: Sequence[str]) -> str:
    """The same for a shell. After ``--`` nothing is an option of torchrun's, which takes ``--run`` for its own else."""
    return shlex.join(["torchrun", "--standalone", f"--nproc-per-node={count}", "-m", "--", "carrara", *words])


def launch(count: int, words: Sequence[str], reached: Callable[[], object] = lambda: None) -> int:
    """Runs a command in so many processes; returns the exit code of the first that fails, or 0.

    If one of them is killed or frozen, all are ended and begun again, at most ``RESTARTS`` times without getting any
    further; then a training goes on from its last checkpoint. A signal to stop is passed on to all of them.

    Args:
        count: of processes.
        words: the command.
        reached: how far it is: something else after each checkpoint.

    Raises:
        UserError: this is such a process already, or there are to be none.
    """
    if "WORLD_SIZE" in os.environ:
        others = os.environ["WORLD_SIZE"]
        raise UserError(f"this process is one of {others} that were started together: leave {option('launch')} out")
    if count < 1:
        raise UserError(f"{option('launch')} is a number of processes, 1 or more, and is {count}")
    console.print("launched as  ", line(count, words))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    os.environ.setdefault(_GRACE, str(GRACE))
    logging.disable(logging.CRITICAL)  # torch's: a process says itself why it ends
    tries, before = 0, reached()
    while (code := _launched(count, words)) < 0 or code == LOST:
        tries, before = (1 if before != (now := reached()) else tries + 1), now
        if tries > RESTARTS:
            return 128 - code if code < 0 else code
        why = f"a process was ended by signal {-code}" if code < 0 else "a process was lost"
        console.print(f"{why}: all begin again from what is on the disk")
    return code


@contextmanager
def passing_on(folder: Path) -> Generator[None]:
    """A block in which SIGUSR1, which asks to save, is for the process that writes into a folder, if one does."""
    if SAVE is None:
        yield
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        if (found := working(folder)) is not None:
            os.kill(found.process, number)

    former = signal.signal(SAVE, ask)
    try:
        yield
    finally:
        signal.signal(SAVE, former)


def _launched(count: int, words: Sequence[str]) -> int:
    """The exit code, or minus the signal that has killed a process."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    alone = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        monitor_interval=_QUICKLY,
        max_restarts=0,
    )
    try:
        elastic_launch(alone, sys.executable)("-m", "carrara", *words)
    except ChildFailedError as error:
        codes = [failure.exitcode for failure in error.failures.values()]
        killed = [code for code in codes if code < 0 and code != -signal.SIGTERM]  # which the launcher sends the others
        return min(killed, default=max([1, *codes]))
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0
