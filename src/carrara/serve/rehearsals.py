"""Dry runs: each in a process of its own that writes nothing, one after the other: each takes the whole device."""

import json
import secrets
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Literal, final

from carrara.errors import UserError
from carrara.files import Malformed, parse_json
from carrara.serve.planned import PlanBody, Planner
from carrara.serve.said import Busy, Missing
from carrara.serve.settings import ServeSettings

MOST, WAITING = 32, 4
"""Rehearsals that are remembered, and that may wait."""


@dataclass
class Asked:
    """A rehearsal that somebody has asked for."""

    id: str
    said: str
    state: Literal["running", "done", "failed"] = "running"
    message: str | None = None
    stages: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])

    @property
    def shown(self) -> dict[str, Any]:
        """As the page has it."""
        return {name: getattr(self, name) for name in ("id", "state", "message", "stages")}


@final
class Rehearsals:
    """All that were asked for lately."""

    def __init__(self, settings: ServeSettings, planner: Planner) -> None:
        self._settings, self._planner, self._lock = settings, planner, RLock()
        self._known: OrderedDict[str, Asked] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="carrara-rehearsal")
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def begin(self, body: PlanBody) -> Asked:
        """Begins a rehearsal, or lets it wait for its turn.

        Raises:
            UserError: the plan has a mistake.
            Busy: too many wait.
        """
        planned = self._planner.plan(body)
        if planned.mistakes:
            first = planned.mistakes[0]
            raise UserError(first.message if first.key is None else f"{first.key}: {first.message}")
        with self._lock:
            if sum(one.state == "running" for one in self._known.values()) > WAITING:
                raise Busy(f"{WAITING} dry runs are waiting, and that is as many as may: try again soon")
            asked = Asked(id=secrets.token_hex(8), said=json.dumps(dict(planned.asked)))
            self._known[asked.id] = asked
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        self._pool.submit(self._run, asked)
        return asked

    def find(self, name: str) -> Asked:
        """The rehearsal of an id.

        Raises:
            Missing: there is none, or it was forgotten.
        """
        with self._lock:
            if name not in self._known:
                raise Missing("there is no such dry run here any more: begin another one")
            return self._known[name]

    def close(self) -> None:
        """Ends the one that runs, and begins nothing more."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        if (process := self._process) is not None:
            with suppress(OSError):
                process.kill()

    def _run(self, asked: Asked) -> None:
        if self._closed:
            return
        try:
            found = self._rehearsed(asked.said)
            asked.message, asked.stages = found.get("message"), found.get("stages", [])
        except (OSError, Malformed) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            asked.message = f"the dry run could not be made ({why})"
        except subprocess.TimeoutExpired:
            asked.message = f"the dry run took more than {self._settings.seconds:g} seconds: take a smaller model"
        asked.state = "failed" if asked.message else "done"

    def _rehearsed(self, said: str) -> dict[str, Any]:
        words, pipe = [sys.executable, "-m", "carrara.serve.rehearsing"], subprocess.PIPE
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
            self._process = process
            try:
                printed, _ = process.communicate(said.encode(), timeout=self._settings.seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            finally:
                self._process = None
        if process.returncode:
            return {"message": "the dry run ended before its time: there may be too little memory for such a model"}
        found = parse_json(printed.strip().rpartition(b"\n")[2])
        return found if isinstance(found, dict) else {"message": "the dry run said nothing"}
