"""Which of a run's models is the best so far, by what was measured on held-out data at its previews.

``best/`` itself says of which step it is. Since then no line of held_out.jsonl was better, so a new one has only that
line to beat: nothing else need be remembered, and another measure begins anew.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from carrara.store.runs import is_sound, step_of

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
    """The step of a run's ``best/``; None if there is none, or if it is damaged."""
    return step_of(folder / "best") if is_sound(folder / "best") else None


def is_better(lines: Lines, step: int | None, by: By) -> bool:
    """Whether the last line is better than what stood before it, or nothing did.

    Args:
        step: that of ``best/``.
    """
    if step == lines[-1]["step"]:
        return True  # it was, when this step was done before
    standing = winner(lines[:-1], step, by)
    before = next((line for line in lines[:-1] if line["step"] == standing), None)
    return before is None or score(lines[-1], by) > score(before, by)


def winner(lines: Lines, step: int | None, by: By) -> int | None:
    """The step of the best model up to the last line; None if there is none.

    Args:
        step: that of ``best/``. If a training was killed, that may be a step that is to come again: then the lines
            alone say which one stood before it.
    """
    if step is None or not lines or step <= lines[-1]["step"]:
        return step
    return max(lines, key=lambda line: score(line, by))["step"]


def waited(lines: Lines, step: int | None, by: By) -> int:
    """How many previews have passed since the best one."""
    best = winner(lines, step, by)
    return sum(line["step"] > best for line in lines) if best is not None else 0


def _signed(value: float | None, sign: int) -> float:
    return float("-inf") if value is None else sign * value
