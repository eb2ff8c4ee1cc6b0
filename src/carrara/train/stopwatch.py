"""How long a process ran: wall-clock time, in which being suspended hardly counts.

A thread looks at the clock every second, whatever else the process does. So a gap of many seconds between two looks
means that nothing ran: the process was stopped, or the machine slept.
"""

from threading import Event, Lock, Thread
from time import monotonic
from typing import final

EVERY = 1.0
"""Seconds between looks."""
GAP = 60.0
"""At most so many seconds pass from one look to the next, even on a machine that is much too busy."""


@final
class Stopwatch:
    """Runs while its context does.

    Args:
        seconds: that it has counted before.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds, self._last = seconds, monotonic()
        self._lock, self._over = Lock(), Event()
        self._thread = Thread(target=self._tick, name="carrara-stopwatch", daemon=True)

    def __enter__(self) -> "Stopwatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def seconds(self) -> float:
        """Seconds until now."""
        with self._lock:
            now = monotonic()
            self._seconds, self._last = self._seconds + min(now - self._last, GAP), now
            return self._seconds

    def _tick(self) -> None:
        while not self._over.wait(EVERY):
            self.seconds()
