"""Which of a run's models is the best so far, by what was measured on held-out data at its previews.

Each line of held_out.jsonl says as ``best`` which step led when it was written, itself included. So the lines alone
decide: a new one has only the leading one to beat, and another measure begins anew. What ``best/`` holds decides
nothing: after a kill it may be of a step that is yet to be made again.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from carrara.errors import UserError
from carrara.store.runs import step_of

By = Literal["loss", "kid"]
Lines = Sequence[Mapping[str, Any]]
"""Of held_out.jsonl, in order: the objective's measures, and ``kid`` where that was asked for."""
LEADS = "best"
"""What a line says of the step that leads."""
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
    """The step of a run's ``best/``; None if there is none, or it cannot be read."""
    with suppress(UserError):
        return step_of(folder / "best")
    return None


def leader(lines: Lines, folder: Path) -> int | None:
    """The step of the best line of a run; None if none leads, because nobody has asked for the best yet.

    Lines of an earlier version do not say it: there, that of ``best/`` leads.
    """
    if lines and LEADS in lines[-1]:
        return None if (leads := lines[-1][LEADS]) is None else int(leads)
    step = kept(folder)
    return step if any(line["step"] == step for line in lines) else None


def is_better(line: Mapping[str, Any], lines: Lines, step: int | None, by: By) -> bool:
    """Whether a new line is better than the leading step's among the ``lines`` before it; any number is, if none
    leads."""
    leading = (score(before, by) for before in lines if before["step"] == step)
    return score(line, by) > next(leading, float("-inf"))


def waited(lines: Lines, step: int | None) -> int:
    """How many previews have passed since the leading step."""
    return sum(line["step"] > step for line in lines) if step is not None else 0


def _signed(value: float | None, sign: int) -> float:
    return float("-inf") if value is None else sign * value
