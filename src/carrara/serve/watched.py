"""A run's folder, watched while it is trained in: how far it is, how well it goes, and how it ended.

All of it is read from the folder, so a studio that has just begun knows as much as one that began the training. Only
what was asked a moment ago, to save or to stop, is remembered beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from subprocess import Popen
from time import monotonic, time
from typing import Any, Literal, final

from carrara.errors import UserError
from carrara.files import NEVER, Stamp, is_folder, is_regular, stamp_of
from carrara.measure.health import CHECKS, Evidence, completion
from carrara.recipe.loading import load
from carrara.run.ending import read_ended
from carrara.run.plan import Plan
from carrara.run.session import HeldOut
from carrara.serve.planned import title_of
from carrara.serve.processes import OUTPUT, Loads, Worker, output_of, worker_of
from carrara.serve.said import sentence
from carrara.store.best import LEADS, leader, waited
from carrara.train import checkpoint, last_lines, read_log, read_training
from carrara.train.log import LogLine

State = Literal["starting", "running", "saving", "stopping", "stopped", "finished", "failed"]
OVER = ("stopped", "finished", "failed")
LEVELS = {"good": "ok", "note": "look", "warning": "bad"}
"""Levels of findings, as the page has them."""
_SMOOTHED, _PACED = 50, 100
_PATIENCE = 60.0  # seconds after which a save is not waited for any more
_HEALTH = 10.0  # seconds between two looks at the health of a training
_BEGINS = 60.0  # seconds in which a process that was begun holds its folder
_WELL = (0, 128 + 1, 128 + 2, 128 + 15)


@dataclass
class Asked:
    """What a process was asked a moment ago."""

    what: Literal["save", "stop"]
    when: float
    checkpoint: Path | None


@final
class Watched:
    """A run's folder.

    Args:
        name: the id that clients know it by.

    Attributes:
        process: the one that was begun here; None if that was elsewhere, or before this studio.
        asked: what was asked of it here.
    """

    def __init__(self, name: str, folder: Path, loads: Loads) -> None:
        self.id, self.folder, self._loads = name, folder, loads
        self.process: Popen[bytes] | None = None
        self.asked: Asked | None = None
        self._stages: tuple[Stamp, Sequence[Plan]] = (NEVER, ())
        self._health: tuple[float, Any, list[dict[str, str]]] = (-math.inf, None, [])
        self._had_lock = False

    @property
    def stages(self) -> Sequence[Plan]:
        """What is trained, one after the other; nothing as long as there is no recipe, or none that can be read."""
        stamp = stamp_of(self.folder / "recipe.yaml")
        if stamp != self._stages[0]:
            try:
                whole = Plan(recipe=load(self.folder / "recipe.yaml"), folder=self.folder, resumes=True)
                self._stages = stamp, whole.stages
            except UserError:
                self._stages = stamp, ()
        return self._stages[1]

    @property
    def current(self) -> Plan | None:
        """The stage that is trained now, or was last."""
        begun = [stage for stage in self.stages if is_regular(stage.folder / "log.jsonl")]
        return next(iter([*begun[-1:], *self.stages]), None)

    @property
    def since(self) -> float:
        """When something happened last, in seconds since 1970."""
        stage = self.current
        paths = [
            self.folder / "recipe.yaml",
            self.folder / OUTPUT,
            (stage.folder if stage else self.folder) / "log.jsonl",
        ]
        return max(stamp_of(path)[1] for path in paths) / 1e9

    def newest(self) -> Path | None:
        """The newest checkpoint of the stage that is trained."""
        stage = self.current
        found = checkpoint.steps(stage.folder / "checkpoints") if stage is not None else []
        return found[-1] if found else None

    def state(self) -> tuple[State, Worker | None]:
        """How it is, and who works here."""
        worker = worker_of(self.folder)
        if worker is not None:
            self._had_lock = True
            return self._working(worker), worker
        alive = self.process is not None and self.process.poll() is None
        if alive and not self._had_lock:
            return ("stopping" if self.asked and self.asked.what == "stop" else "starting"), None
        self.asked = None
        if read_ended(self.folder) is not None:
            return "failed", None
        if self._is_finished():
            return "finished", None
        if not self.stages and time() - stamp_of(self.folder / OUTPUT)[1] / 1e9 < _BEGINS and self.process is None:
            return "starting", None  # by a studio before this one
        code = None if self.process is None else self.process.poll()
        broken = code is not None and code > 0 and code not in _WELL
        in_vain = not self.stages and not (code is not None and code < 0) and _complaint(self.folder) is not None
        return ("failed" if broken or in_vain else "stopped"), None

    def begun(self, process: "Popen[bytes]") -> None:
        """A process was begun for it."""
        self.process, self.asked, self._had_lock = process, None, False

    def ask(self, what: Literal["save", "stop"]) -> None:
        """Remembers what its process was asked."""
        self.asked = Asked(what=what, when=time(), checkpoint=self.newest())

    def _working(self, worker: Worker) -> State:
        if (self.asked and self.asked.what == "stop") or (worker.saves and worker.stops is False):
            return "stopping"
        if self.asked and self.asked.what == "save":
            if self.newest() == self.asked.checkpoint and time() - self.asked.when < _PATIENCE:
                return "saving"
            self.asked = None
        stage = self.current
        logged = stamp_of(stage.folder / "log.jsonl")[1] / 1e9 if stage is not None else 0.0
        return "running" if worker.saves or logged > datetime.fromisoformat(worker.since).timestamp() else "starting"

    def _is_finished(self) -> bool:
        """Whether the last stage came to its end, and its model is there."""
        if not self.stages or not is_folder(self.folder / "model"):
            return False
        stage = self.stages[-1]
        lines, preview = last_lines(stage.folder / "log.jsonl"), stage.recipe.preview
        if not lines:
            return False
        if stage.recipe.train.progress(int(lines[-1]["step"]), _number(lines[-1].get("seconds"))) == 1:
            return True
        if preview.best is None or preview.patience <= 0:
            return False
        held_out = self.held_out(stage)
        return waited(held_out, leader(held_out, stage.folder)) >= preview.patience

    def held_out(self, stage: Plan) -> list[LogLine]:
        """What was measured on held-out data."""
        try:
            return read_log(stage.folder / "held_out.jsonl")
        except UserError:
            return []

    def shown(self, *, thorough: bool = True) -> dict[str, Any]:
        """As the page has it.

        Args:
            thorough: whether the health is looked at, too; else it is what was last seen of it.
        """
        state, worker = self.state()
        stage, stages = self.current, self.stages
        lines = [] if stage is None else last_lines(stage.folder / "log.jsonl")
        recipe = stages[-1].recipe if stages else None
        known: dict[str, Any] = {
            "id": self.id,
            "title": self.folder.name,
            "state": state,
            "preset": None if recipe is None else recipe.preset,
            "data": None if recipe is None or recipe.data.source is None else recipe.data.source.name,
            "stage": None if stage is None else title_of(stage),
            "stages": [title_of(one) for one in stages],
            "health": self.health() if thorough else self._health[2],
            "message": self._message(state, lines),
            "load": None if worker is None else self._loads.of(worker.process),
        }
        return {**known, **self._far(state, stage, lines), "time": self.since}

    def _far(self, state: State, stage: Plan | None, lines: Sequence[LogLine]) -> dict[str, Any]:
        """How far it is."""
        nothing: dict[str, Any] = {"step": 0, "steps": None, "progress": 0.0, "seconds": 0.0, "remaining": None}
        nothing |= {"rate": 0.0, "loss": None, "held_out": None}
        if stage is None:
            return nothing
        train, (place, stages) = stage.recipe.train, self._place(stage)
        nothing["steps"] = train.most_steps
        if not lines:
            return {**nothing, "progress": place / len(stages)}
        step, seconds = int(lines[-1]["step"]), _number(lines[-1].get("seconds"))
        progress, rate = train.progress(step, seconds), _rate(lines)
        losses = [float(line["loss"]) for line in lines[-_SMOOTHED:] if line.get("loss") is not None]
        held_out = self.held_out(stage)[-1:]
        measured = {name: value for line in held_out for name, value in line.items() if value is not None}
        values = {name: value for name, value in measured.items() if name not in ("step", LEADS)}
        told = HeldOut(step=int(measured["step"]), values=values) if values else None
        remaining = self._remaining(stage, progress, step, seconds, rate)
        return {
            "step": step,
            "steps": train.most_steps,
            "progress": (place + progress) / len(stages),
            "seconds": seconds,
            "remaining": None if state in OVER else remaining,
            "rate": 0.0 if state in OVER else rate,
            "loss": sum(losses) / len(losses) if losses else None,
            "held_out": None if told is None else f"{told.text()} at step {told.step}",
        }

    def _place(self, stage: Plan) -> tuple[int, Sequence[Plan]]:
        """A stage's number among all as they are now: the recipe may have been written anew since it was looked at."""
        stages = self.stages or (stage,)
        return next((place for place, one in enumerate(stages) if one.folder == stage.folder), 0), stages

    def _remaining(self, stage: Plan, progress: float, step: int, seconds: float, rate: float) -> float | None:
        """The seconds that are left of this stage, and of those after it as far as their recipes say how long."""
        place, stages = self._place(stage)
        train, after = stage.recipe.train, stages[place + 1 :]
        if train.steps is not None and train.most_steps is not None:
            left = (train.most_steps - step) / rate if rate else None
        else:
            left = seconds * (1 - progress) / progress if progress else None
        if left is None or any(one.recipe.train.minutes is None for one in after):
            return left if not after else None
        return max(0.0, left) + sum(60 * (one.recipe.train.minutes or 0) for one in after)

    def _message(self, state: State, lines: Sequence[LogLine]) -> str | None:
        """What else there is to say."""
        if state == "failed":
            why = read_ended(self.folder)
            said = why or _complaint(self.folder) or "the process ended before it said why"
            return sentence(UserError(said))
        if state == "stopped":
            newest, step = self.newest(), int(lines[-1]["step"]) if lines else 0
            saved = 0 if newest is None else int(newest.name.removeprefix("step-"))
            if saved < step:
                begins = f"goes on from step {saved}" if saved else "begins again"
                return f"The process ended after step {step} without saving: resuming {begins}."
            return None
        if state in ("starting", "running"):
            printed = output_of(self.folder, 1 << 12)[-1:]
            encoding = [line for line in printed if "%  " in line[:8] and "step" not in line[:16]]
            return encoding[0].strip() if encoding else None
        return None

    def health(self) -> list[dict[str, str]]:
        """How well it goes, in sentences; looked at now and then."""
        when, known, found = self._health
        stage = self.current
        if stage is None:
            return []
        state = (stage.folder, stamp_of(stage.folder / "log.jsonl"), stamp_of(stage.folder / "held_out.jsonl"))
        if state == known or monotonic() < when:
            return found
        begun = monotonic()
        found = [{"level": LEVELS[one.level], "text": sentence(UserError(one.text))} for one in self._findings(stage)]
        self._health = (monotonic() + max(_HEALTH, 20 * (monotonic() - begun)), state, found)
        return found

    def _findings(self, stage: Plan) -> list[Any]:
        try:
            held_out = self.held_out(stage)
            conditioner = stage.recipe.model.conditioner
            evidence = Evidence(
                recipe=stage.recipe,
                log=read_training(stage.folder / "log.jsonl"),
                held_out=held_out,
                guidable=conditioner is not None and conditioner.kind != "none",
                kept=leader(held_out, stage.folder),
            )
        except UserError:
            return []
        if not evidence.log:
            return []
        found = [one for check in CHECKS if check is not completion for one in check(evidence)]
        return sorted(found, key=lambda one: ("warning", "note", "good").index(one.level))


def _complaint(folder: Path) -> str | None:
    """The last line that a process printed that did not get as far as to hold its folder."""
    last = next(iter(output_of(folder, 1 << 14)[-1:]), "")
    return None if not last or last.startswith(("$ ", "chosen for you")) else last


def _rate(lines: Sequence[LogLine]) -> float:
    """Steps a second, lately."""
    last, before = lines[-1], lines[-min(_PACED, len(lines))]
    seconds = _number(last.get("seconds")) - _number(before.get("seconds"))
    return (last["step"] - before["step"]) / seconds if seconds > 0 else 0.0


def _number(value: float | None) -> float:
    return 0.0 if value is None else float(value)
