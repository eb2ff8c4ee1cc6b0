"""Measurements: each a process of its own, one after the other.

A measurement takes minutes to hours, draws thousands of samples and may need as much memory again as the studio. In the
worker's queue it would hold up every drawing behind it, or be cut into pieces that metrics do not have. As a process of
lower priority it takes what drawings leave of the machine, can be ended at any time, gives all of its memory back, and
takes nothing of the studio with it when it fails. What it finds it writes to the run's ``evaluation/``, as
``carrara evaluate`` does; what is here only tells how far it is, and is forgotten with the studio.
"""

import secrets
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import RLock, Thread
from time import monotonic
from typing import Any, Literal, final

from carrara.files import Malformed, delete, parse_json, scratch
from carrara.serve.measurable import without_folder
from carrara.serve.measuring import Task
from carrara.serve.said import Busy, Missing, log

State = Literal["queued", "running", "done", "failed", "cancelled"]
WAITING, KEPT = 8, 50
"""How many may wait, and how many that are over are remembered."""
_END = 5.0
"""Seconds in which a process has to end."""


@final
class Measuring:
    """A measurement.

    Args:
        models: the ids of the models.
        task: what is measured; the folders are not shown.
        titles: what people call the folders.
    """

    def __init__(self, models: tuple[str, ...], task: Task, titles: Mapping[str, str]) -> None:
        self.id, self.models, self.task, self._titles = secrets.token_hex(8), models, task, titles
        self.state: State = "queued"
        self.message: str | None = None
        self.measured: list[str] = []
        self._what, self._done, self._total = "", 0, 0
        self._began = self._seconds = 0.0
        self._process: subprocess.Popen[str] | None = None
        self._lock = RLock()

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def shown(self) -> dict[str, Any]:
        """As the page has it."""
        with self._lock:
            left = [name for name in self.task.metrics if name not in self.measured]
            page = f"/evaluations/{self.id}.html" if self.task.kind == "comparison" and self.state == "done" else None
            return {
                "id": self.id,
                "kind": self.task.kind,
                "models": list(self.models),
                "metrics": list(self.task.metrics),
                "measured": list(self.measured),
                "state": self.state,
                "metric": left[0] if left and self.state == "running" else None,
                "what": self._what,
                "done": self._done,
                "total": self._total,
                "seconds": round(monotonic() - self._began if self.state == "running" else self._seconds, 1),
                "message": self.message,
                "url": page,
            }

    def run(self) -> None:
        """Starts the process, and listens to it until it is over."""
        with self._lock:
            if self.over:
                return
            self.state, self._began = "running", monotonic()
            command = [sys.executable, "-m", "carrara.serve.measuring", self.task.words]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, encoding="utf-8", errors="replace"
            )
        out = self._process.stdout
        assert out is not None
        with out:
            for line in out:
                self._hear(line)
        code = self._process.wait()
        if not self.over:
            log.error("a measurement ended with %d", code)
            self.end("failed", "the measurement ended without a result: the studio's log says why")

    def _hear(self, line: str) -> None:
        try:
            said = parse_json(line.encode())
        except Malformed:
            return  # a library's own words
        match said:
            case {"what": str(what), "done": int(done), "total": int(total)}:
                with self._lock:
                    self._what, self._done, self._total = what, done, total
            case {"measured": str(name)}:
                self.measured.append(name)
            case {"failed": str(message)}:
                self.end("failed", without_folder(message, self._titles))
            case {"over": True}:
                self.end("done")
            case _:
                pass

    def end(self, state: State, message: str | None = None) -> None:
        """It is over; only the first end counts."""
        with self._lock:
            if not self.over:
                self._seconds = monotonic() - self._began if self._began else 0.0
                self.state, self.message = state, message

    def cancel(self) -> None:
        """It shall not go on: its process is ended."""
        self.end("cancelled")
        with self._lock:
            process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END)
            return
        process.kill()


@final
class Evaluations:
    """All measurements that are remembered; one is worked on at a time."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, Measuring] = OrderedDict()
        self._queue: SimpleQueue[Measuring | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._lock, self._stack = RLock(), ExitStack()
        self._folder: Path | None = None

    def begin(self, models: tuple[str, ...], task: Task, titles: Mapping[str, str]) -> Measuring:
        """Lets a measurement wait for its turn.

        Raises:
            Busy: too many do.
        """
        with self._lock:
            if sum(one.state == "queued" for one in self._all.values()) >= WAITING:
                raise Busy(f"{WAITING} measurements are waiting, and that is as many as may: try again later")
            made = Measuring(models, task, titles)
            if task.kind == "comparison":
                made.task = replace(task, out=str(self.page(made)))
            self._all[made.id] = made
            self._forget()
            if self._thread is None:
                self._thread = Thread(target=self._work, name="carrara-measuring", daemon=True)
                self._thread.start()
        self._queue.put(made)
        return made

    def page(self, one: Measuring) -> Path:
        """Where a comparison is."""
        with self._lock:
            self._folder = self._folder or self._stack.enter_context(scratch())
            return self._folder / f"{one.id}.html"

    def get(self, name: str) -> Measuring:
        """The measurement of an id.

        Raises:
            Missing: there is none.
        """
        with self._lock:
            if (found := self._all.get(name)) is None:
                raise Missing("there is no such measurement: the studio was started again, or it is over since long")
            return found

    def newest(self) -> list[Measuring]:
        """All that are remembered, the newest first."""
        with self._lock:
            return list(reversed(self._all.values()))

    def close(self) -> None:
        """Ends all."""
        for one in self.newest():
            one.cancel()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(_END)
        self._stack.close()

    def _work(self) -> None:
        while (one := self._queue.get()) is not None:
            try:
                one.run()
            except Exception as error:  # the next one shall have its turn
                log.error("a measurement was broken off", exc_info=error)
                one.end("failed", "the measurement was broken off: the studio's log says why")

    def _forget(self) -> None:
        over = [one for one in self._all.values() if one.over]
        for one in over[: max(0, len(over) - KEPT)]:
            del self._all[one.id]
            if one.task.kind == "comparison":
                delete(Path(one.task.out))
