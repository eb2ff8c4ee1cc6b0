r"""When does a model begin to learn its training pictures by heart? Small sets of pictures say it for a large one.

What is common to all pictures is learned in a time that hardly depends on how many there are; learning n pictures one
by one takes the longer the more there are (Bonnaire et al., "Why Diffusion Models Don't Memorize: The Role of Implicit
Dynamical Regularization in Training", 2025; Favero et al., "Bigger Isn't Always Memorizing: Early Stopping
Overparameterized Diffusion Models", 2025). The loss of the held-out pictures has a flat least value, which is hard to
place. What grows steadily is the gap between them and the training pictures, at the same times t and noise,

.. math:: G(k) = \max_t \big( 1 - L_{train}(t; k) / L_{held}(t; k) \big),                                          (1)

of which the time of the least noise has the most. Copying begins at the step tau where G passes ``GAP``: near where
the held-out loss is least, and before samples are copies. Around it, G rises in proportion to log k. So a straight line
through m measurements near the crossing, with slope a and residuals of variance s^2, says (inverse regression)

.. math:: \log \tau = \bar{x} + (GAP - \bar{G}) / a, \quad
          \operatorname{sd}^2 = (s / a)^2 \big( 1/m + (\log \tau - \bar{x})^2 / S_{xx} \big), \quad x = \log k.     (2)

From two subsets, n_1 < n_2,

.. math:: \tau(n) = \tau_2 (n / n_2)^b, \quad b = \log(\tau_2 / \tau_1) / \log(n_2 / n_1),                         (3)

with b brought into the bounds ``POWERS``. The errors of both onsets, through (3), give an interval. It holds neither
how trainings of other seeds differ, nor a law that is not one of powers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

GAP = 0.5
"""The gap of equation (1) at which copying begins."""
NEAR = 0.25
"""Measurements whose gap is within this of ``GAP`` make the line of equation (2)."""
FEWEST = 3
"""Measurements of a line."""
LEAST = 0.02
"""The least standard deviation of log tau: a few points may lie on a line by chance."""
POWERS = (1.0, 2.5)
"""Between these is b of equation (3)."""
SURE = 2.0
"""Standard deviations on each side of an interval."""


@dataclass(frozen=True, kw_only=True)
class Onset:
    """Where copying began.

    Attributes:
        step: tau.
        error: the standard deviation of log tau.
    """

    step: float
    error: float

    def __post_init__(self) -> None:
        if not (0 < self.step < math.inf and 0 <= self.error < math.inf):
            raise ValueError(f"an onset is a step above 0 with an error, and {self} is none")


@dataclass(frozen=True, kw_only=True)
class MemorisationTime:
    """What equation (3) says of n pictures, in steps.

    Attributes:
        step: tau(n).
        low, high: ``SURE`` standard deviations of its logarithm below and above it.
        power: b, within its bounds.
        bounded: whether the bounds have changed it.
    """

    step: float
    low: float
    high: float
    power: float
    bounded: bool


def memorisation_gap(training: Mapping[str, float], held_out: Mapping[str, float]) -> float | None:
    """Equation (1), from the losses at each time; None where there are none.

    Args:
        training, held_out: ``loss@t=...`` of the same times, as an objective measures it.
    """
    common = [(training[t], loss) for t, loss in held_out.items() if t.startswith("loss@") and t in training]
    gaps = [1 - low / high for low, high in common if high > 0]
    return max(gaps, default=None)


def onset(steps: Sequence[int], gaps: Sequence[float]) -> Onset | None:
    """Where the gap passes ``GAP``, by equation (2); None while it has not, or has been measured too rarely.

    Args:
        steps: rising, above 0; best spaced evenly in their logarithm.
        gaps: of equation (1), below 1.

    Raises:
        ValueError: the steps do not rise from above 0, the gaps are no numbers, or there are not as many.
    """
    if len(steps) != len(gaps) or any(b <= a for a, b in zip([0, *steps], steps, strict=False)):
        raise ValueError("an onset is found from steps that rise from above 0, and a gap for each")
    if not all(-math.inf < gap <= 1 for gap in gaps):
        raise ValueError("an onset is found from gaps that are numbers up to 1")
    after = next((k for k, gap in enumerate(gaps) if gap >= GAP), None)
    if after is None:
        return None
    first = next((k + 1 for k in range(after - 1, -1, -1) if gaps[k] < GAP - NEAR), 0)
    last = next((k for k in range(after, len(gaps)) if gaps[k] > GAP + NEAR), len(gaps))
    first = min(first, max(0, after - FEWEST + 1))
    line = [(math.log(steps[k]), gaps[k]) for k in range(first, max(last, after + 1))]
    return _crossing(line) if len(line) >= FEWEST else None


def _crossing(line: Sequence[tuple[float, float]]) -> Onset | None:
    """Equation (2); None where the line does not rise."""
    m = len(line)
    x, g = (sum(values) / m for values in zip(*line, strict=True))
    spread = sum((each - x) ** 2 for each, _ in line)
    slope = sum((each - x) * (gap - g) for each, gap in line) / spread
    if slope <= 0:
        return None
    where = x + (GAP - g) / slope
    variance = sum((gap - g - slope * (each - x)) ** 2 for each, gap in line) / (m - 2)
    error = math.sqrt(variance) / slope * math.sqrt(1 / m + (where - x) ** 2 / spread)
    return Onset(step=math.exp(where), error=max(LEAST, error))


def memorisation_time(small: tuple[int, Onset], large: tuple[int, Onset], count: int) -> MemorisationTime:
    """When memorisation of ``count`` pictures begins, by equation (3).

    Args:
        small, large: how many pictures two subsets have, and the onset of a training on each, alike but for these.
        count: of all pictures, at least as many as the larger subset's.

    Raises:
        ValueError: the subsets do not grow up to ``count``.
    """
    (n1, first), (n2, second) = small, large
    if not 0 < n1 < n2 <= count:
        raise ValueError(f"subsets grow up to the whole: {n1}, {n2} and {count} pictures do not")
    apart, beyond = math.log(n2 / n1), math.log(count / n2)
    raw = math.log(second.step / first.step) / apart
    power = min(max(raw, POWERS[0]), POWERS[1])
    step, lever = second.step * (count / n2) ** power, beyond / apart
    share = lever if power == raw else 0.0
    error = SURE * math.hypot((1 + share) * second.error, share * first.error)
    return MemorisationTime(
        step=step, low=step * math.exp(-error), high=step * math.exp(error), power=power, bounded=power != raw
    )
