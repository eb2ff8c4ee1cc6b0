r"""When does a model begin to learn its training pictures by heart? Small sets of pictures say it for a large one.

What is common to all pictures is learned in a time that hardly depends on how many there are; learning n pictures one
by one takes the longer the more there are (Bonnaire et al., "Why Diffusion Models Don't Memorize: The Role of Implicit
Dynamical Regularization in Training", 2025; Favero et al., "Bigger Isn't Always Memorizing: Early Stopping
Overparameterized Diffusion Models", 2025). The loss of the held-out pictures has a flat least value, which is hard to
place. What grows steadily is the gap between them and the training pictures, at the same times t and noise,

.. math:: G(k) = \max_t \big( 1 - L_{train}(t; k) / L_{held}(t; k) \big),                                          (1)

of which the time of the least noise has the most. Copying begins at the step tau where G passes ``GAP``: near where
the held-out loss is least, and before samples are copies. G rises about in proportion to log k, so where it passes a
level c is read from a straight line through the m measurements near it, with slope a and residuals of variance s^2
(inverse regression):

.. math:: \log \tau_c = \bar{x} + (c - \bar{G}) / a, \quad
          \operatorname{sd}^2 = (s / a)^2 \big( 1/m + (\log \tau_c - \bar{x})^2 / S_{xx} \big), \quad x = \log k.  (2)

The common part takes k_0 steps, whatever n is, and what comes after it takes the longer the more pictures there are,

.. math:: \tau_c(n) = k_0 + T_c n^b.                                                                               (3)

So the times of two subsets, n_1 < n_2, at all ``LEVELS`` c lie on a line, and give R, k_0 and the time of n pictures:

.. math:: \tau_c(n_2) = k_0 + R (\tau_c(n_1) - k_0), \quad R = (n_2 / n_1)^b, \quad
          \tau(n) = k_0 + (\tau(n_2) - k_0) (n / n_2)^b.                                                           (4)

Both coordinates have errors, so R is the quotient of their standard deviations over c (the reduced major axis). In
theory, of gradient descent at a small rate, b is 1; measured at usual rates it is nearer to 2
(benchmarks/results/memorisation.md). It is brought into the bounds ``POWERS``. Leaving out one level after the other
(the jackknife, of as many independent levels as there are sets of ``SHARED``) says how far the curves follow the law,
and with the error of tau(n_2) gives an interval. It holds neither how trainings of other seeds or on other pictures
differ, nor another law.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, pstdev

GAP = 0.5
"""The gap of equation (1) at which copying begins."""
LEVELS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, GAP)
"""The levels of equation (4)."""
NEAR = 0.1
"""Measurements whose gap is within this of a level make the line of equation (2)."""
SHARED = 5
"""Levels that are read from the same measurements: those within ``NEAR`` of one, and itself."""
FEWEST = 3
"""Measurements of a line, and levels that two curves have passed, at least."""
LEAST = 0.02
"""The least standard deviation of a logarithm: a few points may lie on a line by chance."""
POWERS = (1.0, 2.5)
"""Between these is b of equation (4)."""
SURE = 2.0
"""Standard deviations on each side of an interval."""


@dataclass(frozen=True, kw_only=True)
class GapCurve:
    """How the gap rose in a training.

    Attributes:
        examples: n.
        steps: rising, above 0; best spaced evenly in their logarithm.
        gaps: of equation (1), up to 1.
    """

    examples: int
    steps: Sequence[float]
    gaps: Sequence[float]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip([0, *self.steps], self.steps, strict=False))
        if self.examples < 1 or len(self.steps) != len(self.gaps) or not rising:
            raise ValueError("a curve has 1 example or more, steps that rise from above 0, and a gap for each")
        if not all(-math.inf < gap <= 1 for gap in self.gaps):
            raise ValueError("the gaps of a curve are numbers up to 1")


@dataclass(frozen=True, kw_only=True)
class Onset:
    """Where a gap passed a level.

    Attributes:
        step: tau.
        error: the standard deviation of log tau.
    """

    step: float
    error: float


@dataclass(frozen=True, kw_only=True)
class MemorisationTime:
    """What equation (4) says of n pictures, in steps.

    Attributes:
        step: tau(n).
        low, high: ``SURE`` standard deviations of its logarithm below and above it.
        common: k_0, 0 or more.
        power: b, within its bounds.
        bounded: whether the bounds have changed it.
    """

    step: float
    low: float
    high: float
    common: float
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


def onset(curve: GapCurve, level: float = GAP) -> Onset | None:
    """Where the gap passes a level, by equation (2); None while it has not, or has been measured too rarely."""
    gaps = curve.gaps
    after = next((k for k, gap in enumerate(gaps) if gap >= level), None)
    if after is None:
        return None
    first = next((k + 1 for k in range(after - 1, -1, -1) if gaps[k] < level - NEAR), 0)
    last = next((k for k in range(after, len(gaps)) if gaps[k] > level + NEAR), len(gaps))
    first = min(first, max(0, after - FEWEST + 1))
    last = min(len(gaps), max(last, first + FEWEST))
    line = [(math.log(curve.steps[k]), gaps[k]) for k in range(first, max(last, after + 1))]
    return _crossing(line, level) if len(line) >= FEWEST else None


def _crossing(line: Sequence[tuple[float, float]], level: float) -> Onset | None:
    """Equation (2); None where the line does not rise."""
    m = len(line)
    x, g = (mean(values) for values in zip(*line, strict=True))
    spread = sum((each - x) ** 2 for each, _ in line)
    slope = sum((each - x) * (gap - g) for each, gap in line) / spread
    if slope <= 0:
        return None
    where = x + (level - g) / slope
    variance = sum((gap - g - slope * (each - x)) ** 2 for each, gap in line) / (m - 2)
    error = math.sqrt(variance) / slope * math.sqrt(1 / m + (where - x) ** 2 / spread)
    return Onset(step=math.exp(where), error=max(LEAST, error))


def memorisation_time(small: GapCurve, large: GapCurve, count: int) -> MemorisationTime | None:
    """When memorisation of ``count`` pictures begins, by equation (4); None while the larger subset's has not begun, or
    the curves have too few levels in common.

    Args:
        small, large: trainings on two subsets, alike but for these.
        count: of all pictures, at least as many as the larger subset's.

    Raises:
        ValueError: the subsets do not grow up to ``count``.
    """
    if not small.examples < large.examples <= count:
        raise ValueError(f"subsets grow: {small.examples}, {large.examples} and {count} pictures do not")
    begun = onset(large)
    both = [(onset(small, level), onset(large, level)) for level in LEVELS]
    pairs = [(first.step, second.step) for first, second in both if first and second]
    if begun is None or len(pairs) < FEWEST:
        return None
    apart, beyond = math.log(large.examples / small.examples), math.log(count / large.examples)
    ratios = tuple(math.exp(power * apart) for power in POWERS)

    def time(used: Sequence[tuple[float, float]]) -> tuple[float, float, float, bool]:
        """tau(n), k_0, b, and whether this was bounded."""
        ratio, common, bounded = _line(used, ratios)
        power = math.log(ratio) / apart
        return common + (begun.step - common) * math.exp(power * beyond), common, power, bounded

    step, common, power, bounded = time(pairs)
    without = [math.log(time(pairs[:k] + pairs[k + 1 :])[0]) for k in range(len(pairs))] if len(pairs) > FEWEST else []
    scatter = math.sqrt((len(without) - 1) * SHARED) * pstdev(without) if without else 0.0
    error = SURE * math.hypot(begun.error, max(LEAST, scatter))
    return MemorisationTime(
        step=step,
        low=step * math.exp(-error),
        high=step * math.exp(error),
        common=common,
        power=power,
        bounded=bounded,
    )


def _line(pairs: Sequence[tuple[float, float]], ratios: tuple[float, ...]) -> tuple[float, float, bool]:
    """R, k_0 and whether R had to be brought between the ``ratios``, from the times of two subsets at each level."""
    first, second = (list(times) for times in zip(*pairs, strict=True))
    raw = pstdev(second) / max(pstdev(first), 1e-9)
    ratio = min(max(raw, ratios[0]), ratios[1])
    common = max(0.0, (ratio * mean(first) - mean(second)) / (ratio - 1))
    return ratio, min(common, *first, *second), ratio != raw
