"""Whole runs in children that are killed, begun again by the same command, and compared with runs that were left alone.

One process imports torch and forks, so that a child starts in milliseconds. It prints what was found, as JSON:

    killed_runs.py KIND each COUNT    is killed at each so many-th place, as the folder can tell: see ``Kind.each``
    killed_runs.py KIND some COUNT    is killed at so many of them, by SIGKILL
    killed_runs.py KIND random COUNT  is killed so often, each time after a while
"""

import functools
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from children import child, was_killed
from places import Places

import carrara.saved
from carrara.measure import likeness
from carrara.run.plan import Plan, plan, plan_few_step
from carrara.run.previews import Previews
from carrara.run.session import Session
from carrara.seeds import Draws

CPU = torch.device("cpu")
UNET = "model.backbone={kind: unet, channels: 8, multipliers: [1], blocks: 1, attention_levels: [], head_width: 8}"
SHORT = (
    *("data.size=8", "data.held_out=0.3", "train.batch=3", "train.minutes=null", "train.precision=float32"),
    *("train.warmup=0", "train.lr=0.02", "preview.count=2", "preview.held_out=2", "sample.steps=1"),
)
"""Small runs whose previews and checkpoints do not keep step."""
OFTEN = ("preview.every=2", "preview.best=loss", "checkpoint.every=3")
STAGE = """
data: {size: 8, channels: 3, flip: true, held_out: 0.3}
autoencoder:
  first_stage: {kind: kl, channels: 8, multipliers: [1, 1], blocks: 1, latent_channels: 2, patch: 1}
  objective: {kind: autoencoding, perceptual: 0}
  train: {steps: 3, batch: 3, precision: float32}
  checkpoint: {every: 2, keep: 1}
  preview: {every: 1, count: 2, held_out: 2, best: loss}
model:
  backbone: {kind: unet, channels: 8, multipliers: [1], blocks: 1, attention_levels: []}
train: {steps: 4, batch: 3, precision: float32, warmup: 0}
checkpoint: {every: 2, keep: 1}
preview: {every: 3, count: 2, held_out: 2, best: loss}
sample: {steps: 1}
"""


def pixel(root: Path, run: Path) -> Plan:
    early = ("train.steps=7", "checkpoint.keep=2", "checkpoint.early=0.5", "model.conditioner=none")
    return plan(str(root / "photos"), "pixel", run, [*SHORT, *OFTEN, UNET, *early])


def latent(root: Path, run: Path) -> Plan:
    (root / "latent.yaml").write_text(STAGE)
    return plan(str(root / "photos"), str(root / "latent.yaml"), run, [])


def text(root: Path, run: Path) -> Plan:
    told = UNET.replace("attention_levels: []", "attention_levels: [0], transformer_depths: [1], context_width: 0")
    return plan(str(root / "captioned"), "pixel", run, [*SHORT, *OFTEN, told, "train.steps=4", "checkpoint.keep=1"])


def student(root: Path, run: Path) -> Plan:
    few = ("objective.trajectories=66", "objective.solver=2", "train.steps=4", "checkpoint.keep=1")
    own = [change for change in SHORT if not change.startswith(("data.", "sample."))]
    return plan_few_step(root / "teacher", 2, run, [*own, *OFTEN, *few])


KINDS: dict[str, Callable[[Path, Path], Plan]] = {"pixel": pixel, "latent": latent, "text": text, "student": student}


def prepare(root: Path, kind: str) -> None:
    """Writes the pictures, and what else the kind of run begins with."""
    for k in range(12):
        for name in ("photos", "captioned"):
            path = root / name / (("red", "blue")[k % 2] if name == "photos" else "") / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(k).integers(0, 255, (8, 8, 3), np.uint8)).save(path)
        (root / "captioned" / f"{k}.txt").write_text(f"a picture with the number {k}")
    if kind == "student":
        was_killed(
            child(lambda: carry_out(plan(str(root / "photos"), "pixel", root / "teacher", [*SHORT, UNET, *BRIEF])))
        )


BRIEF = ("train.steps=1", "preview.every=0", "sample.guidance=2")


def carry_out(planned: Plan) -> None:
    """What the command does with a plan."""
    with planned.held(CPU) as check:
        for stage in planned.stages:
            session = Session(stage, CPU, check)
            assert not session.warnings, session.warnings
            for _ in session if not (session.finished and stage.whole) else ():
                pass


def contents(run: Path) -> dict[str, str]:
    """What a run holds, by name: all but the seconds that it took."""
    return {str(path.relative_to(run)): "" if path.is_dir() else _content(path, run) for path in run.rglob("*")}


def _content(path: Path, run: Path) -> str:
    if path.suffix == ".png":
        with Image.open(path) as picture:
            record = picture.info.get("carrara", "").replace(str(run), "RUN")
            return hashlib.sha256(picture.tobytes()).hexdigest() + record
    if path.name == "log.jsonl":
        lines = [{**json.loads(line), "seconds": 0} for line in path.read_text().splitlines()]
        return json.dumps(lines)
    if path.name == "state.json":
        return json.dumps({**json.loads(path.read_text()), "seconds": 0})
    if path.name == "manifest.json" and (path.parent / "state.json").exists():
        listed = json.loads(path.read_text())["files"]
        return json.dumps({name: listed[name] for name in sorted(listed) if name != "state.json"})
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differences(run: Path, whole: dict[str, str]) -> list[str]:
    """The names of what is missing, is too much, or is not the same."""
    mine = contents(run)
    return sorted(name for name in mine.keys() | whole.keys() if mine.get(name) != whole.get(name))


def state(folder: Path) -> str:
    """A fingerprint of all names and files in a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path).encode() + b"\0" + (path.read_bytes() if path.is_file() else b""))
    return found.hexdigest()


class Kind:
    """The runs of one kind, in a folder."""

    def __init__(self, root: Path, kind: str) -> None:
        self.root, self._plan = root, KINDS[kind]
        prepare(root, kind)
        self.run(root / "first" / "run")  # here, so that children find everything imported
        started = time.monotonic()
        self.places = self._observed(root / "whole" / "run", lambda _: None)
        self.seconds = time.monotonic() - started
        self.whole = contents(root / "whole" / "run")
        assert differences(root / "first" / "run", self.whole) == []

    def run(self, folder: Path) -> None:
        carry_out(self._plan(self.root, folder))

    def _observed(self, folder: Path, visit: Callable[[int], None]) -> list[str]:
        """A run, with a visit at each place; returns their names."""
        file = self.root / "places.json"

        def run() -> None:
            places = Places(visit)
            self.run(folder)
            names = list(places.names)
            file.write_text(json.dumps(names))

        was_killed(child(run))
        return json.loads(file.read_text())

    def ended(self, folder: Path) -> list[str]:
        """Lets a run that was killed come to its end, and compares it."""
        was_killed(child(lambda: self.run(folder)))
        return differences(folder, self.whole)

    def each(self, count: int) -> dict[str, Any]:
        """A copy of the folder is made at each place, and goes on: what a process leaves there if it is killed. Places
        between which nothing changes in the folder share one."""
        source, copies, found = self.root / "source" / "run", self.root / "copies", dict[str, list[str]]()
        last = ""

        def copy(number: int) -> None:
            nonlocal last
            before, last = last, state(source)
            if number and before == last:
                return
            (copies / str(number)).mkdir(parents=True)
            if source.exists():
                shutil.copytree(source, copies / str(number) / "run")

        names = self._observed(source, copy)
        numbers = sorted(int(path.name) for path in copies.iterdir())
        for number in numbers[::count]:
            shutil.rmtree(source, ignore_errors=True)
            if (copies / str(number) / "run").exists():
                (copies / str(number) / "run").rename(source)
            if wrong := self.ended(source):
                found[f"{number}: {names[number]}"] = wrong
        return {"places": len(names), "copies": len(numbers), "different": found}

    def some(self, count: int) -> dict[str, Any]:
        """SIGKILL at places that lie evenly over the run."""

        found, names = {}, self.places
        for number in sorted({len(names) * k // count for k in range(count)}):
            folder = self.root / str(number) / "run"

            def die(here: int, number: int = number) -> None:
                if here == number:
                    os.kill(os.getpid(), signal.SIGKILL)

            assert was_killed(child(lambda folder=folder, die=die: (Places(die), self.run(folder))[1])), number
            if wrong := self.ended(folder):
                found[f"{number}: {names[number]}"] = wrong
        return {"places": len(names), "kills": count, "different": found}

    def random(self, count: int) -> dict[str, Any]:
        """SIGKILL after a while, five times in each run."""
        found, kills, number = {}, 0, 0
        while kills < count:
            folder = self.root / str(number) / "run"
            for moment in Draws(number, torch.arange(5)).uniform("moment").tolist():
                process = child(lambda folder=folder: self.run(folder))
                time.sleep(0.8 * moment * self.seconds)
                os.kill(process, signal.SIGKILL)
                kills += was_killed(process)
            if wrong := self.ended(folder):
                found[str(number)] = wrong
            number += 1
        return {"kills": kills, "runs": number, "different": found}


if __name__ == "__main__":
    torch.set_num_threads(1)
    likeness.SMALLEST, likeness.PART = 2, 1e3  # short trainings are compared, too
    Previews.seeing = lambda self: None  # but not by a network, which takes long
    carrara.saved.TypeAdapter = functools.cache(carrara.saved.TypeAdapter)  # of each child's time it takes a half
    kind, how, *count = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        os.environ["CARRARA_CACHE"] = str(Path(name) / "cache")
        runs = Kind(Path(name), kind)
        result = getattr(runs, how)(int(count[0]))
    print(json.dumps({"seconds": runs.seconds, **result}))
