"""When a run is predicted to begin to copy its data, by trainings on two parts of them: ``memorisation.json``.

The mathematics are ``evaluate.clock``'s; here is what the trainings have measured, and what a run remembers of it.
Their learning rate does not fall, so steps are counted at the full rate; see ``train.optim.full_steps``.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from carrara import evaluate
from carrara.evaluate import GapCurve
from carrara.evaluate.clock import GAP as BEGINS
from carrara.files import BadFile, read_as, replacing
from carrara.plots import Chart, Line
from carrara.train import TrainSettings, read_log
from carrara.train.optim import full_steps, steps_of
from carrara.train.settings import MOST

FORECAST, CURVES = "memorisation.json", "memorisation.png"
GAP = "gap"
"""What a line of held_out.jsonl calls the gap between held-out and training samples."""

Count = Annotated[int, Field(ge=1, le=1 << 40)]
Steps = Annotated[float, Field(gt=0, lt=1e15)]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A training on a part of the data.

    Attributes:
        examples: how many.
        trained: steps at the full rate until it ended.
        onset: after how many of them copying began; None if it had not.
    """

    examples: Count
    trained: Steps
    onset: Steps | None = None


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """When copying begins, in steps at the full rate.

    Attributes:
        examples: that the run trains on.
        parts: trainings on a part of them, the smaller one first.
        lr, batch: which the trainings had; with others, the forecast holds no more.
        step: the prediction; None if a part had not begun to copy when its training ended.
        low, high: the interval that measurements leave.
        beyond: not before this step, where there is no prediction.
    """

    format: int = 1
    examples: Count
    parts: Annotated[tuple[Part, ...], Field(min_length=2, max_length=2)]
    lr: Annotated[float, Field(gt=0, lt=1e6)]
    batch: Annotated[int, Field(ge=1, le=MOST)]
    step: Steps | None = None
    low: Steps | None = None
    high: Steps | None = None
    beyond: Annotated[float, Field(ge=0, lt=1e15)] = 0.0

    def holds(self, train: TrainSettings) -> bool:
        """Whether it is about trainings with these settings."""
        return (train.lr, train.batch) == (self.lr, self.batch)

    def length(self, train: TrainSettings) -> int | None:
        """After how many steps a run with these settings begins to copy; None without a prediction."""
        return None if self.step is None else _steps(train, self.step)

    def text(self, train: TrainSettings) -> str:
        """A sentence, of a run with these settings."""
        of = " and ".join(f"{part.examples:,}" for part in self.parts)
        if self.step is None or self.low is None or self.high is None:
            return (
                f"memorisation of {self.examples:,} examples is not predicted to begin before step {self.beyond:,.0f}: "
                f"trainings on {of} of them ended before it had begun"
            )
        step, low, high = (_steps(train, each) for each in (self.step, self.low, self.high))
        return (
            f"memorisation of {self.examples:,} examples is predicted to begin at step {step:,} ({low:,} to {high:,}), "
            f"from trainings on {of} of them"
        )


def _steps(train: TrainSettings, full: float) -> int:
    """How many steps of a run are so many at the full rate: more, if it ends there, as its rate has fallen by then."""
    return steps_of(train if train.until is not None else replace(train, decay=0.0), full)


def measured(folder: Path, examples: int, train: TrainSettings) -> GapCurve | None:
    """How the gap rose in a training on a part of the data, in its own folder; None if nothing was measured.

    Args:
        examples: of the part.
        train: its settings.
    """
    try:
        lines = [line for line in read_log(folder / "held_out.jsonl") if line.get(GAP) is not None]
        steps = [full_steps(train, int(line["step"])) for line in lines]
        gaps = [min(1.0, float(line[GAP])) for line in lines]
        return GapCurve(examples=examples, steps=steps, gaps=gaps) if lines else None
    except ValueError:  # the log is none
        return None


def forecast(small: GapCurve, large: GapCurve, examples: int, train: TrainSettings) -> Forecast:
    """What trainings on two parts say of all examples.

    Args:
        train: the settings of all three trainings.
    """
    parts = [_part(curve) for curve in (small, large)]
    known = Forecast(examples=examples, parts=(parts[0], parts[1]), lr=train.lr, batch=train.batch)
    if (found := evaluate.memorisation_time(small, large, examples)) is None:
        return replace(known, beyond=max((part.onset or part.trained) * examples / part.examples for part in parts))
    return replace(known, step=found.step, low=found.low, high=found.high)


def _part(curve: GapCurve) -> Part:
    found = evaluate.onset(curve)
    return Part(examples=curve.examples, trained=curve.steps[-1], onset=None if found is None else found.step)


def write(found: Forecast, folder: Path, curves: Sequence[GapCurve]) -> None:
    """Writes it into a run's folder, and a picture of the curves that it is made from."""
    with replacing(folder / FORECAST) as file:
        file.write(json.dumps(asdict(found)).encode())
    lines = [Line(name=f"{curve.examples:,} examples", x=curve.steps, y=curve.gaps) for curve in curves]
    ends = [min(curve.steps[0] for curve in curves), found.high or max(curve.steps[-1] for curve in curves)]
    lines.append(Line(name="copying begins", x=ends, y=[BEGINS] * 2))
    if found.step is not None and found.low is not None:
        interval = [found.low, found.step, ends[1]]
        lines.append(Line(name=f"predicted for {found.examples:,}", x=interval, y=[BEGINS] * 3))
    chart = Chart(title="Memorisation", lines=lines, x_label="step at the full rate", y_label="gap", log_x=True)
    with replacing(folder / CURVES) as file:
        chart.picture().save(file, "PNG")


def read(folder: Path) -> Forecast | None:
    """What a run remembers; None if nothing."""
    try:
        return read_as(folder / FORECAST, Forecast)
    except BadFile:
        return None
