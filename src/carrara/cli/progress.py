"""Progress on a terminal as a bar, and in a log file as a line now and then."""

from collections.abc import Generator, Iterable, Iterator
from time import monotonic
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from carrara.cli.terminal import console
from carrara.draw import Progress as At
from carrara.draw import Remark
from carrara.store.latents import Encoding
from carrara.train import Clock, StepReport

_T = TypeVar("_T")
LINE_EVERY = 10.0
"""Seconds between lines where there is no terminal."""


class TrainingProgress:
    """A bar with loss, speed and the time left for the whole run, over all the times it was started."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._begun, self._started, self._line = clock, monotonic(), monotonic()
        self._loss: float | None = None
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[text]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=1.0, text="")

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, report: StepReport) -> None:
        """Shows where the run is."""
        self._loss = report.loss if self._loss is None else 0.98 * self._loss + 0.02 * report.loss
        text = f"step {report.step}  loss {self._loss:.4f}  {self._speed(report)} images/s  {self._left(report)} left"
        self._bar.update(self._task, completed=report.progress, text=text)
        if not self._console.is_terminal and (monotonic() - self._line > LINE_EVERY or report.progress == 1):
            self._line = monotonic()
            self._console.print(f"{report.progress:4.0%}  {text}")

    def encoding(self, event: Encoding) -> None:
        """Shows how much of the data is encoded, before training begins."""
        part = event.done / max(1, event.total)
        self._bar.update(self._task, completed=0, text=f"{event.what}: {event.done} of {event.total}")
        if not self._console.is_terminal and (monotonic() - self._line > LINE_EVERY or part >= 1):
            self._line = monotonic()
            self._console.print(f"{part:4.0%}  {event.what}: {event.done} of {event.total}")

    def note(self, text: str, style: str = "") -> None:
        """Prints a line above the bar."""
        self._bar.console.print(text, style=style)

    def _speed(self, report: StepReport) -> str:
        speed = (report.images - self._begun.images) / max(1e-9, monotonic() - self._started)
        return f"{speed:.0f}" if speed >= 10 else f"{speed:.1f}"

    def _left(self, report: StepReport) -> str:
        """Hours, minutes and seconds, from the whole run's pace so far."""
        seconds = round(report.seconds * (1 - report.progress) / max(report.progress, 1e-9))
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def watched(steps: Generator[At | Remark, None, _T] | Iterator[At | Remark]) -> Generator[At, None, _T]:
    """Passes on where a drawing is, shows it, says what is remarked, and returns what comes of it."""
    columns = (TextColumn("sampling"), BarColumn(bar_width=30), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("sampling")
        while True:
            try:
                at = next(steps)
            except StopIteration as end:
                return end.value
            if isinstance(at, Remark):
                console.print(at.text, style="yellow")
                continue
            done = at.first + len(at.step.x) * (at.step.index + 1) / at.step.total
            bar.update(task, completed=done, total=at.count)
            yield at


def counted(done: Iterable[int], total: int, what: str) -> Iterator[int]:
    """Passes on how many of ``total`` are done, and shows it."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task, line = bar.add_task(what, total=total), monotonic()
        for at in done:
            yield at
            bar.update(task, completed=at)
            if not console.is_terminal and monotonic() - line > LINE_EVERY:
                line = monotonic()
                console.print(f"{at / total:4.0%}  {what}: {at} of {total}")
