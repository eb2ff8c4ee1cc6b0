"""Which of a run's models is the best so far, by what was measured on held-out data at its previews.

``best/`` itself says of which step it is. Since then no line of held_out.jsonl was better, so a new one has only that
line to beat: nothing else need be remembered, and another measure begins anew.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, Literal

By = Literal["loss", "kid"]
Lines = Sequence[Mapping[str, Any]]
"""Of held_out.jsonl, in order: the objective's measures, and ``kid`` where that was asked for."""
BETTER = {"elbo": 1, "psnr": 1, "perceptual": -1, "bound": -1}
"""The one number of a model that has one, by preference: 1 where higher is better, -1 where lower is."""


def score(line: Mapping[str, Any], by: By) -> float:
    """How good a model is, higher is better; what was not measured, or no finite number, is worse than anything.

    By ``kid`` it is the kernel distance; by ``loss`` what the objective measures: a bound, an autoencoder's PSNR, else
    the mean loss over the noise levels.
    """
    if by == "kid":
        return _signed(line.get("kid"), -1)
    for name, sign in BETTER.items():
        if name in line:
            return _signed(line[name], sign)
    losses = [_signed(value, -1) for name, value in line.items() if name.startswith("loss@")]
    return mean(losses) if losses else float("-inf")


def kept(folder: Path) -> int | None:
    """The step of a run's ``best/``; None if there is none."""
    config = folder / "best" / "config.json"
    return int(json.loads(config.read_bytes())["about"]["step"]) if config.is_file() else None


def is_better(lines: Lines, step: int | None, by: By) -> bool:
    """Whether the last line is better than that of the kept step, or there is no such line."""
    before = next((line for line in lines[:-1] if line["step"] == step), None)
    return before is None or score(lines[-1], by) > score(before, by)


def waited(lines: Lines, step: int | None) -> int:
    """How many previews have passed since the kept step."""
    return sum(line["step"] > step for line in lines) if step is not None else 0


def _signed(value: float | None, sign: int) -> float:
    return float("-inf") if value is None else sign * value
