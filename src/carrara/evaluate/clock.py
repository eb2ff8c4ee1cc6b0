r"""When does a model begin to learn its training pictures by heart? Small sets of pictures say it for a large one.

What is common to all pictures is learned in a time that hardly depends on how many there are; learning n pictures one
by one takes the longer the more there are (Bonnaire et al., "Why Diffusion Models Don't Memorize: The Role of Implicit
Dynamical Regularization in Training", 2025; Favero et al., "Bigger Isn't Always Memorizing: Early Stopping
Overparameterized Diffusion Models", 2025). The second begins where the loss on held-out pictures, of the same times and
noise at each measurement, is least: step tau. From two subsets, n_1 < n_2,

.. math:: \tau(n) = \tau_2 (n / n_2)^b, \quad b = \log(\tau_2 / \tau_1) / \log(n_2 / n_1),                         (1)

with b brought into the bounds ``POWERS``. The least measurement says tau to within its neighbours alone, so equation
(1) with the ends of both brackets gives an interval. It holds what the spacing of measurements leaves open, and not how
trainings of other seeds differ.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

RISE = 0.02
"""The least loss is the beginning of memorisation where a later one is greater by this part of it."""
POWERS = (0.5, 1.5)
"""Between these is b of equation (1)."""


@dataclass(frozen=True, kw_only=True)
class Onset:
    """Where a held-out loss began to rise.

    Attributes:
        step: of the least loss.
        low, high: the measurements beside it, between which the loss was least.
    """

    step: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.step <= self.high or self.step == 0:
            raise ValueError(f"an onset lies above 0 and in its bracket, and {self} does not")


@dataclass(frozen=True, kw_only=True)
class MemorisationTime:
    """What equation (1) says of n pictures, in steps.

    Attributes:
        step: tau(n).
        low, high: the least and the greatest that the brackets of both onsets allow.
        power: b, within its bounds.
        bounded: whether the bounds have changed it.
    """

    step: float
    low: float
    high: float
    power: float
    bounded: bool


def onset(steps: Sequence[int], losses: Sequence[float]) -> Onset | None:
    """Where a held-out loss is least, if it rises by ``RISE`` afterwards; None while it does not.

    Args:
        steps: rising, above 0.
        losses: on held-out pictures, with the same times and noise at each step; above 0.

    Raises:
        ValueError: the steps do not rise from above 0, the losses are no numbers above 0, or there are not as many.
    """
    if len(steps) != len(losses) or any(b <= a for a, b in zip([0, *steps], steps, strict=False)):
        raise ValueError("an onset is found from steps that rise from above 0, and a loss for each")
    if not all(0 < loss < math.inf for loss in losses):
        raise ValueError("an onset is found from losses that are numbers above 0")
    if not losses:
        return None
    k = min(range(len(losses)), key=losses.__getitem__)
    if max(losses[k:]) < (1 + RISE) * losses[k]:
        return None
    return Onset(step=float(steps[k]), low=float(steps[k - 1] if k else 0), high=float(steps[k + 1]))


def memorisation_time(small: tuple[int, Onset], large: tuple[int, Onset], count: int) -> MemorisationTime:
    """When memorisation of ``count`` pictures begins, by equation (1).

    Args:
        small, large: how many pictures two subsets have, and the onset of a training on each, alike but for these.
        count: of all pictures, at least as many as the larger subset's.

    Raises:
        ValueError: the subsets do not grow up to ``count``.
    """
    (n1, first), (n2, second) = small, large
    if not 0 < n1 < n2 <= count:
        raise ValueError(f"subsets grow up to the whole: {n1}, {n2} and {count} pictures do not")
    step, raw = _extrapolated(first.step, second.step, n1, n2, count)
    ends = [
        _extrapolated(t1, t2, n1, n2, count)[0]
        for t1, t2 in product((first.low, first.high), (second.low, second.high))
    ]
    power = _bounded(raw)
    return MemorisationTime(step=step, low=min(ends), high=max(ends), power=power, bounded=power != raw)


def _extrapolated(t1: float, t2: float, n1: int, n2: int, count: int) -> tuple[float, float]:
    """tau(n) of equation (1), and b before it is bounded."""
    if t2 == 0:
        return 0.0, POWERS[0]
    raw = math.inf if t1 == 0 else math.log(t2 / t1) / math.log(n2 / n1)
    return t2 * (count / n2) ** _bounded(raw), raw


def _bounded(power: float) -> float:
    return min(max(power, POWERS[0]), POWERS[1])
