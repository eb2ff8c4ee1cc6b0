"""Ctrl-C, a scheduler's SIGTERM, and the SIGHUP of a terminal that closes: the first asks to stop, the second stops.

SIGUSR1, where a system has it, asks to save now and to go on. By itself it would end a process, so a command that
trains ignores it from before its folder is held until it is held no more (``deaf``), and hears it while it trains.
"""

import os
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import final

HANGUP: int | None = getattr(signal, "SIGHUP", None)
"""Not on every system."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([HANGUP] if HANGUP is not None else []))
SAVE: int | None = getattr(signal, "SIGUSR1", None)
"""Not on every system either."""
SAME = 5.0
"""Seconds within which a process that a launcher has started takes a second signal for the first, come twice: from a
terminal or a scheduler, which ask all processes, and from the launcher, which passes on what it is asked."""


@contextmanager
def deaf() -> Generator[None]:
    """A block in which SIGUSR1 does nothing, unless one within it listens, so that it may come at any time."""
    if SAVE is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(SAVE, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(SAVE, former)


class Stopped(BaseException):
    """A signal came where nothing is lost by leaving at once."""


@final
class Stop:
    """Whether somebody has asked to stop, or to save.

    Attributes:
        signal: the number of the signal that asked to stop; None if nobody has.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._leaving = self._save = False

    def wants_save(self) -> bool:
        """Whether somebody has asked to save since this was last called."""
        wanted, self._save = self._save, False
        return wanted

    @contextmanager
    def listening(self) -> Generator[None]:
        """A block in which the first SIGINT, SIGTERM or SIGHUP is remembered, so that a loop ends its step and saves.

        It also puts the former handlers back: the second signal acts at once, unless it is the first again (``SAME``).
        A SIGHUP that is ignored, as ``nohup`` has it, stays so. Each SIGUSR1 is remembered, too, and asks to save.
        Outside the main thread, where signals do not arrive, nobody asks.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        since, same = 0.0, SAME if "WORLD_SIZE" in os.environ else 0.0

        def ask(number: int, _frame: FrameType | None) -> None:
            nonlocal since
            if self.signal is None:
                self.signal, since = number, time.monotonic()
                if not same:
                    restore()
                if self._leaving:
                    raise Stopped
            elif time.monotonic() - since >= same:
                restore()
                signal.raise_signal(number)

        def save(_number: int, _frame: FrameType | None) -> None:
            self._save = True

        def restore() -> None:
            for number, handler in former.items():
                signal.signal(number, handler)

        former = {number: signal.getsignal(number) for number in SIGNALS}
        former = {number: by for number, by in former.items() if number != HANGUP or by != signal.SIG_IGN}
        for number in former:
            signal.signal(number, ask)
        saving = None if SAVE is None else signal.signal(SAVE, save)
        try:
            yield
        finally:
            if SAVE is not None:
                signal.signal(SAVE, saving)
            if self.signal is None or not same:
                restore()

    @contextmanager
    def at_once(self) -> Generator[None]:
        """A block, within one that listens, that a signal leaves in its middle: what it does can be done again."""
        if self.signal is not None:
            raise Stopped
        self._leaving = True
        try:
            yield
        finally:
            self._leaving = False
