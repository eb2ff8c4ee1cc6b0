"""What was asked for, and how far it is: jobs, their events, and the queue in which clients take turns.

A job is queued, running, and then done, failed or cancelled. Its events are numbered, so that who was away goes on
after the last one seen: remarks are kept, and of progress the newest until the end. A job can be cancelled at any time;
who draws it looks before each step. Finished jobs are forgotten after a while, and what they made is in the gallery.
"""

import asyncio
import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Condition, RLock
from time import monotonic
from typing import Any, Literal, final

from carrara.serve.said import Busy, Missing
from carrara.serve.work import Work

State = Literal["queued", "running", "done", "failed", "cancelled"]
OVER = ("done", "failed", "cancelled")
KEPT, KEPT_FOR = 200, 3600.0
"""How many finished jobs are remembered, and for how many seconds."""
_SLOWEST = 60


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a job: its number, its name and its data."""

    number: int
    name: str
    data: Mapping[str, Any]


@final
class Job:
    """Something that is being made for a client.

    Args:
        work: what is to be done.
        client: whose turn it takes.
        said: the request as it was posted.
        inner: whether it belongs to another answer, and is in no list.

    Attributes:
        partials: how many events on the way shall have a picture of the first sample in PNG.
        result: of inner jobs, what came of them.
    """

    def __init__(self, work: Work, client: str, said: Mapping[str, Any], *, inner: bool = False) -> None:
        self.id, self.work, self.client, self.said, self.inner = secrets.token_hex(8), work, client, said, inner
        self.state: State = "queued"
        self.step = self.total = self.done = 0
        self.count, self.key = work.count, work.key
        self.message: str | None = None
        self.pictures: list[dict[str, Any]] = []
        self.result: Any = None
        self.partials = 0
        self.ended = 0.0
        self._cancelled = False
        self._events: list[Event] = []
        self._number = 0
        self._listeners: dict[int, Callable[[], None]] = {}
        self._lock = RLock()

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in OVER

    @property
    def cancelled(self) -> bool:
        """Whether it shall not go on."""
        return self._cancelled

    @property
    def watched(self) -> bool:
        """Whether somebody waits for its events."""
        return bool(self._listeners)

    def begin(self) -> None:
        """Its turn has come."""
        with self._lock:
            if not self.over:
                self.state = "running"

    def progress(self, step: int, total: int, done: int, count: int, preview: str | None) -> None:
        """A step was made."""
        self.step, self.total, self.done, self.count = step, total, done, count
        data = {"step": step, "total": total, "done": done, "count": count, "preview": preview}
        self.emit("progress", data)

    def emit(self, name: str, data: Mapping[str, Any]) -> None:
        """Tells whoever listens."""
        with self._lock:
            if self.over and name not in OVER:
                return
            self._number += 1
            if name in ("progress", *OVER):
                self._events = [event for event in self._events if event.name != "progress"]
            self._events.append(Event(number=self._number, name=name, data=data))
            listeners = list(self._listeners.values())
        for wake in listeners:
            wake()

    def end(self, state: State, message: str | None = None) -> None:
        """It is over; only the first end counts."""
        with self._lock:
            if self.over:
                return
            self.state, self.message, self.ended = state, message, monotonic()
        ends = {"done": {"pictures": self.pictures}, "failed": {"message": message}}
        self.emit(state, ends.get(state, {}))

    def cancel(self) -> None:
        """It shall not go on: whoever draws it stops after the step, and it counts as over at once."""
        self._cancelled = True
        self.end("cancelled")

    def after(self, number: int) -> list[Event]:
        """The events after a number."""
        with self._lock:
            return [event for event in self._events if event.number > number]

    async def events(self, number: int = 0) -> AsyncIterator[Event]:
        """The events after a number, as they come, to the last."""
        loop, awake = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(awake.set)

        self._listeners[id(awake)] = wake
        try:
            while True:
                awake.clear()
                over = self.over
                for event in self.after(number):
                    number = event.number
                    yield event
                    if event.name in OVER:
                        return
                if over and not self.after(number):
                    return
                await awake.wait()
        finally:
            self._listeners.pop(id(awake), None)


@final
class Turns:
    """Jobs that wait. Clients take turns: who has many waits no less than who has one.

    Args:
        bound: how many may wait.
    """

    def __init__(self, bound: int) -> None:
        self._bound, self._changed = bound, Condition()
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()
        self._closed = False
        self._pace = 1.0

    def put(self, job: Job) -> None:
        """Lets a job wait.

        Raises:
            Busy: too many do.
        """
        with self._changed:
            self.check()
            self._waiting.setdefault(job.client, deque()).append(job)
            self._changed.notify()

    def check(self) -> None:
        """Refuses another job where too many wait.

        Raises:
            Busy: they do.
        """
        if len(self) >= self._bound:
            error = Busy(f"{self._bound} jobs are waiting, and that is as many as may: try again soon")
            error.after = self.wait
            raise error

    @property
    def awaited(self) -> bool:
        """Whether there is something to do, or the end has come."""
        return self._closed or len(self) > 0

    def __len__(self) -> int:
        with self._changed:
            return self._count()

    def _count(self) -> int:
        return sum(not job.over for jobs in self._waiting.values() for job in jobs)

    @property
    def wait(self) -> int:
        """Seconds until a place is free, about."""
        return max(1, min(_SLOWEST, round(self._pace)))

    def paced(self, seconds: float) -> None:
        """Notes how long a job took."""
        self._pace += 0.2 * (seconds - self._pace)

    def order(self) -> list[Job]:
        """All that wait, in the order of their turns, other work between left out of account."""
        with self._changed:
            queues = [deque(job for job in jobs if not job.over) for jobs in self._waiting.values()]
            longest = max(map(len, queues), default=0)
            return [queue[k] for k in range(longest) for queue in queues if k < len(queue)]

    def take(self, most: int) -> list[Job]:
        """Waits for a turn: a job, and others that can be done with it, at most so many samples. Empty at the end."""
        with self._changed:
            while True:
                if self._closed:
                    return []
                if (first := self._next()) is not None:
                    return [first, *self._fitting(first, most - first.work.count)]
                self._changed.wait()

    def _next(self) -> Job | None:
        while self._waiting:
            client, jobs = self._waiting.popitem(last=False)
            job = jobs.popleft()
            if jobs:
                self._waiting[client] = jobs
            if not job.over:
                return job
        return None

    def _fitting(self, first: Job, room: int) -> Iterator[Job]:
        key: Hashable = first.key
        if key is None:
            return
        for client, jobs in list(self._waiting.items()):
            for job in list(jobs):
                if not job.over and job.key == key and job.work.count <= room:
                    jobs.remove(job)
                    room -= job.work.count
                    yield job
            if not jobs:
                del self._waiting[client]

    def close(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._closed = True
            waiting = [job for jobs in self._waiting.values() for job in jobs]
            self._waiting.clear()
            self._changed.notify_all()
        for job in waiting:
            job.cancel()


@final
class Jobs:
    """All jobs that are remembered, and the queue."""

    def __init__(self, bound: int) -> None:
        self.turns = Turns(bound)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = RLock()

    def add(self, job: Job) -> Job:
        """Lets a job wait for its turn.

        Raises:
            Busy: too many do.
        """
        self.turns.put(job)
        with self._lock:
            self._jobs[job.id] = job
            self._forget()
        return job

    def get(self, name: str) -> Job:
        """The job of an id.

        Raises:
            Missing: there is none.
        """
        with self._lock:
            if (job := self._jobs.get(name)) is None or job.inner:
                raise Missing("there is no such job: it is over since long, or the studio was started again")
        return job

    def newest(self) -> list[Job]:
        """All that are in lists, the newest first."""
        with self._lock:
            return [job for job in reversed(self._jobs.values()) if not job.inner]

    def shown(self, job: Job) -> dict[str, Any]:
        """As the page has it."""
        waiting = self.turns.order()
        position = waiting.index(job) + 1 if job in waiting else 0
        names = ("id", "state", "step", "total", "done", "count", "message", "pictures")
        shown = {name: getattr(job, name) for name in names}
        return {**shown, "model": job.work.model, "position": position, "request": job.said}

    def close(self) -> None:
        """Cancels all."""
        self.turns.close()
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()

    def _forget(self) -> None:
        over = [job for job in self._jobs.values() if job.over]
        late = [job for job in over if monotonic() - job.ended > KEPT_FOR or job.inner]
        for job in [*late, *over[: max(0, len(over) - KEPT)]]:
            self._jobs.pop(job.id, None)
