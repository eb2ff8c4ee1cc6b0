"""Ctrl-C and a scheduler's SIGTERM: the first asks to stop, the second stops."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible() -> Generator[Callable[[], bool], None, None]:
    """Yields a question: has somebody asked to stop?

    The first SIGINT or SIGTERM turns the answer to yes, so that a loop can finish its step and save. It also puts the
    former handlers back: the second signal acts at once. Outside the main thread, where
    signals do not arrive, the answer is no.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        restore()

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    former = {number: signal.signal(number, ask) for number in _SIGNALS}
    try:
        yield asked.is_set
    finally:
        restore()
