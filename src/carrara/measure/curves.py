"""The curves of a training, from its logs: each point is the mean of many steps."""

import math
from collections.abc import Mapping, Sequence

from carrara.measure.account import Account
from carrara.measure.health import by_level, held_out_costs
from carrara.plots import Chart, Line
from carrara.store.best import LEADS
from carrara.train.log import LogLine as LogLine

POINTS = 200
"""The most points of a training curve, each the mean of as many steps."""


def training_charts(run: Account) -> list[Chart]:
    """The curves of a training: the loss, each held-out measure, and the loss over the noise levels."""
    levels, steps = by_level(run.held_out), [line["step"] for line in run.held_out]
    lines = [curve("training", run.log, "loss", "step")]
    if levels:
        lines.append(Line(name="held out", x=steps, y=held_out_costs(run.held_out)[1]))
    charts = [_chart("Loss", lines, "step", "loss")]
    if levels:
        each = [Line(name=f"t = {t:g}", x=steps, y=values) for t, values in levels.items()]
        charts.append(_chart("Held-out loss at each noise level", each, "step", "loss"))
        ends = [0, len(steps) - 1][: len(steps)]
        over = [Line(name=f"step {steps[k]}", x=list(levels), y=[v[k] for v in levels.values()]) for k in ends]
        charts.append(_chart("Held-out loss over the noise levels", over, "t", "loss"))
    for name in run.held_out[0] if run.held_out else {}:
        if name not in ("step", LEADS) and not name.startswith("loss@"):
            lines = [Line(name="held out", x=steps, y=[_number(line.get(name)) for line in run.held_out])]
            lines += [curve("training", run.log, name, "step")] * (name in (run.log or [{}])[-1])
            charts.append(_chart(f"{name}", lines, "step", name))
    return charts


def compared_charts(runs: Mapping[str, Account]) -> list[Chart]:
    """The runs' curves over the images seen, which is fair to every batch size: one chart for each kind of measure."""
    learned = [curve(name, run.log, "loss", "images") for name, run in runs.items()]
    measured = dict[str, list[Line]]()
    for name, run in runs.items():
        images = {line["step"]: line["images"] for line in run.log}
        kind, costs = held_out_costs(run.held_out) if run.held_out else ("", [])
        if costs:
            seen = [images.get(line["step"], math.nan) for line in run.held_out]
            measured.setdefault(kind, []).append(Line(name=name, x=seen, y=[abs(cost) for cost in costs]))
    held_out = [_chart(f"Held-out {kind}", lines, "images", kind) for kind, lines in measured.items()]
    return [_chart("Training loss", learned, "images", "loss"), *held_out]


def curve(name: str, log: Sequence[LogLine], field: str, over: str) -> Line:
    """A number of the log as a curve, each point the mean over equally many steps, at the last of them."""
    there = [line for line in log if line.get(field) is not None]
    size = -(-len(there) // POINTS) or 1
    bins = [there[first : first + size] for first in range(0, len(there), size)]
    means = [sum(float(line[field]) for line in part) / len(part) for part in bins]
    return Line(name=name, x=[part[-1][over] for part in bins], y=means)


def _chart(title: str, lines: Sequence[Line], x: str, y: str) -> Chart:
    """A chart whose ordinate is logarithmic, if all is positive."""
    values = [value for line in lines for value in line.y if math.isfinite(value)]
    return Chart(title=title, lines=lines, x_label=x, y_label=y, log_y=bool(values) and min(values) > 0)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
