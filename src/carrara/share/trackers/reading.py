"""What a run's folder tells of a training, as entries: its log, its held-out losses, its previews, its evaluations.

The log has seconds of training and no times of day. A time here is that of the recipe, which is written first, and the
seconds since.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, cast, final

from PIL import Image

from carrara.errors import UserError
from carrara.files import BadFile, is_folder, is_regular, lies_in, read_as, read_yaml
from carrara.kinds import mapping_of
from carrara.pixels import read_picture
from carrara.share.places import without_places
from carrara.train.log import LogLine, Tail, numbers

LOG, HELD_OUT, PREVIEWS, EVALUATION = "training", "held_out", "previews", "evaluation"
STAGES = ("autoencoder", "tiny-decoder")
"""Folders in a run's, of trainings of their own."""
DEEPEST = 8


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of one step.

    Attributes:
        kind: training, held_out, previews, or evaluation and the name of what was measured.
        time: in seconds since 1970.
        values: finite numbers by name.
        picture: of a preview.
    """

    kind: str
    step: int
    time: float
    values: Mapping[str, float] = field(default_factory=dict[str, float])
    picture: Image.Image | None = None

    def named(self) -> dict[str, float]:
        """The values by kind and name, as ``training/loss``."""
        return {f"{self.kind}/{name.replace('/', '_')}": value for name, value in self.values.items()}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A training in a folder.

    Attributes:
        beside: the folder that the run is in.
        name: the run's, or the run's and the stage's, as ``photos/autoencoder``.
        identity: the same for the same folder, and for no other one.
        began: in seconds since 1970.
        config: the recipe, by dotted keys.
    """

    folder: Path
    beside: Path
    name: str
    identity: str
    began: float
    config: Mapping[str, str | int | float | bool]


def stages(run: Path) -> list[Stage]:
    """The trainings of a run that there are, the first stages first.

    Raises:
        UserError: it is no run's folder.
    """
    if not is_folder(run) or not is_regular(run / "recipe.yaml"):
        raise UserError(f"'{run}' has no recipe.yaml: name the folder of a run")
    own = run.resolve().name
    below = [(run / name, f"{own}/{name}") for name in STAGES if is_regular(run / name / "log.jsonl")]
    return [
        _stage(folder, name, run.absolute().parent) for folder, name in (*below, (run, own)) if lies_in(folder, run)
    ]


def _stage(folder: Path, name: str, beside: Path) -> Stage:
    recipe = folder / "recipe.yaml"
    values: Any = without_places(read_yaml(recipe), {}) if is_regular(recipe) else {}
    began = (recipe if is_regular(recipe) else folder).stat().st_mtime
    identity = hashlib.blake2b(os.fsencode(folder.resolve()), digest_size=8).hexdigest()
    config = dict(_leaves(values))
    return Stage(folder=folder, beside=beside, name=name, identity=identity, began=began, config=config)


def _leaves(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str | int | float | bool]]:
    match value:
        case dict() if depth < DEEPEST:
            for key, below in cast(dict[str, Any], value).items():
                yield from _leaves(below, f"{path}.{key}" if path else key, depth + 1)
        case bool() | int() | float() | str():
            yield path, value
        case None:
            pass
        case _:
            yield path, str(value)


@final
class Reader:
    """Reads a stage on and on; each entry once, and again from the first when a log was replaced."""

    def __init__(self, stage: Stage) -> None:
        self._folder, self._began = stage.folder, stage.began
        self._tails = {name: Tail(stage.folder / f"{name}.jsonl") for name in ("log", "held_out")}
        self._seconds: dict[int, float] = {}
        self._last = 0.0
        self._shown: set[tuple[str, int]] = set()

    def new(self, seen: Mapping[str, int]) -> Iterator[Entry]:
        """What is new, of steps after those that were ``seen`` of its kind.

        Raises:
            BadFile: a log cannot be read.
        """
        for entry in chain(self._lines(LOG, "log"), self._lines(HELD_OUT, "held_out")):
            if entry.step > seen.get(entry.kind, -1):
                yield entry
        yield from self._previews(seen.get(PREVIEWS, -1))
        yield from self._evaluations(seen)

    def _lines(self, kind: str, name: str) -> Iterator[Entry]:
        if not lies_in(self._folder / f"{name}.jsonl", self._folder):
            return
        for line in self._tails[name].look():
            if line is not None:
                yield self._entry(kind, line)

    def _entry(self, kind: str, line: LogLine) -> Entry:
        values = {name: value for name, value in numbers(line).items() if name != "step" and value is not None}
        if kind == LOG and "seconds" in values:
            self._last = float(values["seconds"])
            self._seconds[line["step"]] = self._last
        return Entry(kind=kind, step=line["step"], time=self._time(line["step"]), values=values)

    def _time(self, step: int) -> float:
        return self._began + self._seconds.get(step, self._last)

    def _previews(self, seen: int) -> Iterator[Entry]:
        found = {
            int(path.stem.removeprefix("step-")): path
            for path in (self._folder / "samples").glob("step-*.png")
            if path.stem.removeprefix("step-").isdecimal() and lies_in(path, self._folder)
        }
        for step, path in sorted(found.items()):
            if step > seen and (PREVIEWS, step) not in self._shown:
                self._shown.add((PREVIEWS, step))
                yield Entry(kind=PREVIEWS, step=step, time=self._time(step), picture=read_picture(path))

    def _evaluations(self, seen: Mapping[str, int]) -> Iterator[Entry]:
        for path in sorted((self._folder / EVALUATION).glob("*.json")):
            kind = f"{EVALUATION}/{path.stem}"
            if not lies_in(path, self._folder) or (values := _measured(path)) is None:
                continue
            step = int(values.pop("measured.step", 0))
            if step > seen.get(kind, -1) and (kind, step) not in self._shown:
                self._shown.add((kind, step))
                yield Entry(kind=kind, step=step, time=self._time(step), values=values)


def _measured(path: Path) -> dict[str, float] | None:
    """The numbers of a measurement by dotted names; None if its file is damaged."""
    try:
        values = mapping_of(read_as(path, dict[str, Any])) or {}
    except BadFile:
        return None
    return {name: float(value) for name, value in _leaves(dict(values)) if isinstance(value, int | float)}
