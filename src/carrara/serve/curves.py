r"""The curves of a training, with how far single steps lie apart.

Steps are put into buckets of as many each. Of the losses of a bucket the curve has three quantiles, 0.1, 0.5 and 0.9:
half of what is drawn is the median, and four fifths of the steps lie between the others. Held-out losses are few, and
are drawn as they were measured, one series for each noise level.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from threading import RLock
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from carrara.errors import UserError
from carrara.measure.health import by_level
from carrara.run.plan import Plan
from carrara.serve.planned import title_of
from carrara.serve.watched import Watched
from carrara.store.best import LEADS, leader
from carrara.train import Followed
from carrara.train.log import LogLine

QUANTILES = (0.1, 0.5, 0.9)
KEPT = 8
"""Logs that stay in memory."""


@final
class Curves:
    """The curves of all trainings; of a log only what is new is read."""

    def __init__(self) -> None:
        self._logs, self._lock = dict[Path, Followed](), RLock()

    def of(self, one: Watched, points: int) -> dict[str, Any]:
        """As the page has them, with at most so many points each."""
        with self._lock:
            return {"stages": [self._stage(one, stage, points) for stage in one.stages]}

    def _stage(self, one: Watched, stage: Plan, points: int) -> dict[str, Any]:
        log = self._log(stage.folder / "log.jsonl")
        steps, losses, rates = (np.array(log.columns[name]) for name in ("step", "loss", "lr"))
        held_out = one.held_out(stage)
        best = leader(held_out, stage.folder) if held_out and held_out[-1].get(LEADS) is not None else None
        return {
            "title": title_of(stage),
            "loss": spread(steps, losses, points),
            "rate": thinned(steps, rates, points),
            "held_out": {"step": [line["step"] for line in held_out], "series": series(held_out)},
            "best": best,
        }

    def _log(self, path: Path) -> Followed:
        log = self._logs.pop(path, None) or Followed(path, ("loss", "lr"))
        self._logs[path] = log
        while len(self._logs) > KEPT:
            del self._logs[next(iter(self._logs))]
        try:
            log.look()
        except UserError:
            self._logs[path] = log = Followed(path, ("loss", "lr"))
        return log


def spread(steps: NDArray[np.float64], losses: NDArray[np.float64], points: int) -> Mapping[str, list[Any]]:
    """Quantiles of the losses in buckets of steps, each at its last step; what is no number is left out.

    Args:
        steps, losses: (N,).
        points: how many buckets there are at most.
    """
    good = np.isfinite(losses)
    steps, losses = steps[good], losses[good]
    size = max(1, math.ceil(len(steps) / points))
    parts = [losses[k : k + size] for k in range(0, len(losses), size)]
    found = [[_rounded(value) for value in np.quantile(part, QUANTILES)] for part in parts]
    ends = [int(steps[min(k + size, len(steps)) - 1]) for k in range(0, len(steps), size)]
    return {"step": ends, **{name: [one[k] for one in found] for k, name in enumerate(("low", "middle", "high"))}}


def thinned(steps: NDArray[np.float64], values: NDArray[np.float64], points: int) -> Mapping[str, list[Any]]:
    """Some of the values, the last among them, at their steps; (N,) each."""
    good = np.isfinite(values)
    steps, values = steps[good], values[good]
    size = max(1, math.ceil(len(steps) / points))
    some = slice((len(steps) - 1) % size if len(steps) else 0, None, size)
    return {"step": steps[some].astype(int).tolist(), "value": [_rounded(value) for value in values[some]]}


def series(held_out: list[LogLine]) -> dict[str, list[float | None]]:
    """Each noise level's losses, or else each measure's values."""
    if levels := by_level(held_out):
        return {f"t = {t:g}": [_rounded(value) for value in values] for t, values in levels.items()}
    names = [name for name in (held_out[-1] if held_out else {}) if name not in ("step", LEADS)]
    names = [name for name in names if not name.startswith("loss@")]
    return {
        name: [None if (value := line.get(name)) is None else _rounded(value) for line in held_out] for name in names
    }


def _rounded(value: float) -> float:
    return float(f"{float(value):.6g}")
