"""Which of a run's models is the best so far, by what was measured on held-out data at its previews."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any, Literal

By = Literal["loss", "kid"]
Lines = Sequence[Mapping[str, Any]]
"""Of held_out.jsonl, in order: the objective's measures, and ``kid`` where that was asked for."""


def score(line: Mapping[str, Any], by: By) -> float:
    """How good a model is, higher is better.

    By ``kid`` it is the kernel distance; by ``loss`` what the objective measures: a VAE's bound, an autoencoder's PSNR,
    else the mean loss over the noise levels. What was no finite number is worse than anything.
    """
    if by == "kid":
        signed = [_negated(line["kid"])]
    elif (gain := next((name for name in ("elbo", "psnr") if name in line), None)) is not None:
        signed = [float("-inf") if line[gain] is None else line[gain]]
    else:
        signed = [_negated(value) for name, value in line.items() if name.startswith("loss@")]
    return mean(signed)


def best_of(lines: Lines, by: By) -> int:
    """The number of the best line, the first of those that are equally good."""
    return max(range(len(lines)), key=lambda k: score(lines[k], by))


def waited(lines: Lines, by: By) -> int:
    """How many previews have passed since the best one."""
    return len(lines) - 1 - best_of(lines, by) if lines else 0


def _negated(value: float | None) -> float:
    return float("-inf") if value is None else -value
