"""Ctrl-C, a scheduler's SIGTERM, and the SIGHUP of a terminal that closes: the first asks to stop, the second stops."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import final

HANGUP: int | None = getattr(signal, "SIGHUP", None)
"""Not on every system."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([HANGUP] if HANGUP is not None else []))


class Stopped(BaseException):
    """A signal came where nothing is lost by leaving at once."""


@final
class Stop:
    """Whether somebody has asked to stop.

    Attributes:
        signal: the number of the signal; None if nobody has.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._leaving = False

    @contextmanager
    def listening(self) -> Generator[None]:
        """A block in which the first SIGINT, SIGTERM or SIGHUP is remembered, so that a loop ends its step and saves.

        It also puts the former handlers back: the second signal acts at once. A SIGHUP that is ignored, as ``nohup``
        has it, stays so. Outside the main thread, where signals do not arrive, nobody asks.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(number: int, _frame: FrameType | None) -> None:
            self.signal = number
            restore()
            if self._leaving:
                raise Stopped

        def restore() -> None:
            for number, handler in former.items():
                signal.signal(number, handler)

        former = {number: signal.getsignal(number) for number in SIGNALS}
        former = {number: by for number, by in former.items() if number != HANGUP or by != signal.SIG_IGN}
        for number in former:
            signal.signal(number, ask)
        try:
            yield
        finally:
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
