"""What can go wrong with the numbers of a training: how it is told, and what is advised.

A step without a finite loss or gradient changes nothing. A run in which that does not end, or whose weights explode,
goes back to its last good checkpoint and on with half the learning rate; if that does not help, it ends with a report.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from carrara.errors import UserError
from carrara.train.settings import TrainSettings

Names = Callable[[Sequence[int]], Sequence[str]]
"""What to call the examples at these positions of the training, of whatever rank."""

PATIENCE = 20
"""So many steps in a row may have no finite loss or gradient."""
EXPLODED = 10.0
"""Weights may have this many times the norm of their average. One update moves a weight by about the learning rate, and
the average is seldom older than a twentieth of the run: weights that learn stay below 2."""
SMALLEST = 0.1
"""The root mean square that an average is taken to have at least: weights that begin at zero have far to go."""
HALVINGS = 3
"""So often a run goes back and on with half the learning rate."""
TRUST = 100
"""After another learning rate a run must do well for so many steps before what it makes is something to go back to."""
NAMED = 5
"""So many examples are named in a sentence."""
ROWS = 10
"""So many rows of skipped steps are told by a process."""
_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED", "bad_alloc")
_LOST = ("Connection closed by peer", "Connection reset by peer")


@dataclass(frozen=True, kw_only=True)
class Incident:
    """Something went wrong, and something was done about it.

    Attributes:
        step: at which.
        text: what, in a sentence.
        back: the step that the run went back to, from which it goes on; None if it did not.
    """

    step: int
    text: str
    back: int | None = None


class Diverged(UserError):
    """A training that cannot go on from where it is.

    Attributes:
        step: the last one.
        cause: what happened there, in words.
        positions: of the samples that it happened to.
    """

    def __init__(self, step: int, cause: str, positions: Sequence[int], settings: TrainSettings) -> None:
        super().__init__(
            f"{cause}: lower train.lr (it is {settings.lr:g}) or set train.precision=float32, and run again"
        )
        self.step, self.cause, self.positions = step, cause, positions


def nameless(positions: Sequence[int]) -> list[str]:
    """Where nobody knows what the examples are called."""
    return []


def has_exploded(growth: float) -> bool:
    """Whether weights are useless that have ``growth`` times the norm of their average."""
    return not growth <= EXPLODED


def check_sound(checkpoint: Path, growth: float) -> None:
    """Refuses to go back to weights that had exploded before.

    Raises:
        UserError: they had.
    """
    if has_exploded(growth):
        raise UserError(
            f"the training diverged, and the weights of its last checkpoint {checkpoint} had exploded before: move "
            "that folder away, and the same command goes on from the one before it, or from the beginning"
        )


def not_finite(steps: int, step: int) -> str:
    """Why a run cannot go on after so many steps that changed nothing, up to ``step``."""
    return f"the loss or its gradient was not a finite number in the last {steps} steps, up to step {step}"


def exploded(growth: float, step: int) -> str:
    """Why a run cannot go on with the weights that ``step`` made."""
    if not math.isfinite(growth):
        return f"step {step} made weights that are no finite numbers"
    return f"step {step} made the weights explode, to {growth:.2g} times the norm of their average"


def skipped(step: int, examples: str, *, last: bool) -> Incident:
    """The first of some steps that changed nothing, and whether it is the last one that is told."""
    more = "; more of such steps are told in log.jsonl alone" if last else ""
    text = f"its loss or gradient was not a finite number, so the step was skipped and changed nothing{examples}{more}"
    return Incident(step=step, text=text)


def parted(step: int, accumulate: int) -> Incident:
    """A step did not fit into memory, and was made again in smaller parts."""
    text = (
        f"the memory was too small for this step, so it was made again, and all others are made, in {accumulate} parts "
        f"one after the other, with the same result: train.accumulate={accumulate} does so from the start"
    )
    return Incident(step=step, text=text)


def went_back(found: Diverged, step: int, lr: float, examples: str) -> Incident:
    """The run went back to ``step``, and goes on with the learning rate ``lr``."""
    text = f"{found.cause}{examples}; the run goes back to step {step}, and on with half the learning rate, {lr:g}"
    return Incident(step=found.step, text=text, back=step)


def gave_up(history: Sequence[str], step: int, settings: TrainSettings) -> UserError:
    """The report of a run that going back did not help: what happened, and what to do.

    Args:
        history: what happened each time that this process saw.
        step: that the run is at now: its last good one.
    """
    return UserError(
        f"the training diverged, also with 1/{2**HALVINGS} of the learning rate {settings.lr:g}: {'; '.join(history)}. "
        f"The run is at step {step} again, with the weights that it had there: run the same command with "
        f"train.lr={advised(settings):g}, which goes on from there"
    )


def learned_nothing(steps: int, examples: str) -> UserError:
    """The report of a run whose every step was skipped."""
    return UserError(
        f"nothing was learned: the loss or its gradient was not a finite number in any of the {steps} steps, so no "
        f"model is written{examples}. A smaller learning rate cannot help, because the weights are still the first "
        "ones: look at the numbers in the recipe's objective and model, or at these examples, and begin a new run"
    )


def advised(settings: TrainSettings) -> float:
    """A learning rate that is far below one that did not work, and usual at most; of one digit."""
    return float(f"{min(settings.lr / 100, TrainSettings.lr):.0e}")


def listed(names: Sequence[str], count: int) -> str:
    """Examples to look at, as the end of a clause: the first of ``count`` by name."""
    if not names:
        return ""
    shown = ", ".join(f"'{name}'" for name in dict.fromkeys(names[:NAMED]))
    more = f" and {count - NAMED} more" if count > NAMED else ""
    return f" (look at {shown}{more})"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch, its libraries or Python had too little memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _MEMORY)


def too_large(settings: TrainSettings, ranks: int) -> UserError:
    """The report of a step for which there is too little memory, and that cannot be made in smaller parts."""
    if ranks > 1:
        return UserError(
            f"the memory of one of {ranks} processes is too small for its share of a step, and it cannot part that "
            f"alone: start all of them again with train.accumulate={2 * settings.accumulate}"
        )
    recompute = "" if settings.recompute else ", or set train.recompute=true"
    return UserError(
        f"the memory is too small for a step with one sample at a time: take smaller samples or a smaller network "
        f"(data.size, model.backbone){recompute}"
    )


def explanation(error: BaseException) -> str | None:
    """What an error means that ends a training from outside, and what to do; None if it is another one."""
    if is_out_of_memory(error):
        return (
            f"there is too little memory for this training ({_first_line(error)}): the checkpoints are whole; set "
            "train.accumulate higher or data.size smaller, or end other programs, and run the same command"
        )
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _LOST):
        return (
            "another process of this training has ended, and says why: the checkpoints are whole; start all of them "
            "again to go on from the last one"
        )
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:200]
