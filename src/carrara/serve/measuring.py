"""A measurement as a process of its own: ``python -m carrara.serve.measuring TASK``, with a task as JSON.

It says on its output how far it is, an object a line: ``{"what", "done", "total"}`` while it works,
``{"measured": NAME}`` for each metric, and in the end ``{"over": true}`` or ``{"failed": SENTENCE}``. Whoever started
it ends it by ending the process: what a metric has written is whole, and stays.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from carrara.device import default_device
from carrara.errors import Spelling, UserError
from carrara.files import as_kind, parse_json

PATIENCE = 10
"""How much lower its priority is than that of who draws."""
_EVERY = 0.2
_SHELL = Spelling(
    option=lambda name, value: f"--{name.replace('_', '-')}{'' if value is None else f' {value}'}", program="carrara "
)
"""Of what a page tells its reader to type."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to measure.

    Attributes:
        folders: of the runs: one, but for a comparison.
        metrics: of a measurement, their names.
        samples, seed, exact: as of ``measure.MeasureSettings``.
        report: whether a measurement is followed by the run's report.
        out: where a comparison is written.
    """

    kind: Literal["metrics", "report", "comparison"]
    folders: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    samples: int = 1000
    seed: int = 0
    exact: bool = False
    report: bool = True
    out: str = ""

    @property
    def words(self) -> str:
        """As ``read`` reads it."""
        return json.dumps(asdict(self))


def read(words: str) -> Task:
    """A task of its words."""
    return as_kind(parse_json(words.encode()), Task)


def main(words: str) -> None:
    """Does a task."""
    with suppress(AttributeError, OSError):
        os.nice(PATIENCE)
    try:
        _do(read(words))
    except UserError as error:
        tell(failed=error.spelled(_SHELL))
    else:
        tell(over=True)


def _do(task: Task) -> None:
    folders = [Path(folder) for folder in task.folders]
    if task.kind == "comparison":
        from carrara.measure import comparison

        tell(what="comparing", done=0, total=len(folders))
        comparison.compare_runs(folders, default_device(), Path(task.out), _SHELL)
        return
    if task.kind == "metrics":
        from carrara.measure import MeasureSettings, measure_run

        settings = MeasureSettings(samples=task.samples, seed=task.seed, exact=task.exact, watch=watch)
        found = measure_run(folders[0], ",".join(task.metrics), default_device(), settings)
        for name, _ in zip(task.metrics, found, strict=True):
            tell(measured=name)
    if task.kind == "report" or task.report:
        from carrara.measure import report

        tell(what="writing the report", done=0, total=1)
        report.write_report(folders[0], default_device(), _SHELL)


def watch(done: Iterable[int], total: int, what: str) -> Iterator[int]:
    """Tells how many of so many are done, now and then."""
    due = 0.0
    for count in done:
        if monotonic() >= due:
            tell(what=what, done=count, total=total)
            due = monotonic() + _EVERY
        yield count
    tell(what=what, done=total, total=total)


def tell(**said: Any) -> None:
    """A line of its output."""
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
