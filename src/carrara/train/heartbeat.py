"""Notices that another process is lost: its host was cut off or has stopped, or it is frozen.

Where a host vanishes without a word, its connections stay open for a quarter of an hour, and a message to all waits for
hours, because one process may be drawing or measuring for so long. So each process puts a new number into the store
through which they have met, ``LOOKS`` times in ``lost_after()`` seconds, from a thread that goes on while the process
works alone. Who has looked so often and has found nothing new of another ends, and its launcher begins again with
those that are left. A process counts its own looks, not seconds, so a machine that was suspended finds nobody lost.
"""

import math
import os
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import final

from torch.distributed.distributed_c10d import PrefixStore, Store

from carrara.errors import UserError

VARIABLE = "CARRARA_LOST_AFTER"
"""The variable of the environment that says after how many seconds a silent process is lost."""
LOST_AFTER = 60.0
LOOKS = 10
STARTING = 10
"""A process that was not heard of yet may be silent so many times longer: it still imports what it needs."""
_OVER, _NEVER = "over", -(1 << 62)


def lost_after() -> float:
    """The seconds after which a silent process is lost.

    Raises:
        UserError: the environment says something that is no such number.
    """
    said = os.environ.get(VARIABLE, str(LOST_AFTER))
    try:
        seconds = float(said)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds < math.inf:
        raise UserError(f"{VARIABLE} is a number of seconds, 1 or more, and is {said}")
    return seconds


@contextmanager
def heard(
    store: Store, rank: int, world: int, lost: Callable[[Sequence[int]], None], seconds: float | None = None
) -> Generator[None]:
    """A block in which the other processes hear of this one, and this one of them.

    Whoever leaves it by an exception is silent from then on; whoever leaves it otherwise is not missed.

    Args:
        store: that all of them reach; another connection is made to it, because waiting for a key keeps one.
        rank, world: this process, of how many.
        lost: called once, in another thread, with the ranks that nothing was heard of for so long.
        seconds: how long; None = ``lost_after()``.
    """
    own: Store = store.clone()  # pyright: ignore[reportAttributeAccessIssue]
    heartbeat = _Heartbeat(PrefixStore("heartbeat", own), rank, world, lost, seconds or lost_after())
    try:
        yield
    except Exception:
        heartbeat.end(well=False)
        raise
    except BaseException:
        heartbeat.end(well=True)
        raise
    heartbeat.end(well=True)


@final
class _Heartbeat:
    """Two threads: one speaks and listens, and may be stuck in a connection that is dead; the other one counts."""

    def __init__(
        self, store: Store, rank: int, world: int, lost: Callable[[Sequence[int]], None], seconds: float
    ) -> None:
        self._store, self._rank, self._lost, self._pause = store, rank, lost, seconds / LOOKS
        self._others = [other for other in range(world) if other != rank]
        self._looks = dict.fromkeys(self._others, (1 - STARTING) * LOOKS)
        self._ended = threading.Event()
        self._well = True
        self._speaking = threading.Thread(target=self._speak, name="carrara-heartbeat", daemon=True)
        self._speaking.start()
        threading.Thread(target=self._count, name="carrara-silence", daemon=True).start()

    def end(self, well: bool) -> None:
        """Ends both, after saying so, if that goes quickly."""
        self._well = well
        self._ended.set()
        self._speaking.join(self._pause)

    def _speak(self) -> None:
        before = dict[int, bytes]()  # a store may outlive those who met in it, so what is found first says nothing
        for number in count():
            with suppress(Exception):  # whatever is wrong with the store: nothing is heard, which is counted
                self._store.set(str(self._rank), str(number))
                found = self._store.multi_get([str(rank) for rank in self._others])
                for rank, now in zip(self._others, found, strict=True):
                    if now != before.setdefault(rank, now):
                        self._looks[rank] = _NEVER if now == _OVER.encode() else 0
                    before[rank] = now
            if self._ended.wait(self._pause):
                break
        if self._well:
            with suppress(Exception):
                self._store.set(str(self._rank), _OVER)

    def _count(self) -> None:
        while not self._ended.wait(self._pause):
            for rank in self._others:
                self._looks[rank] += 1
            if silent := [rank for rank in self._others if self._looks[rank] >= LOOKS]:
                self._lost(silent)
                return
