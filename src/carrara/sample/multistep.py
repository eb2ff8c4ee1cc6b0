r"""The samplers with a memory: second order and more at one evaluation a step. ``base`` has equations (1) to (3).

**Exponential integrators** look for the weighted mean of the denoiser's estimates in equation (2). In units of the
step, :math:`u = (\lambda - \lambda_t) / h`, the estimate now is :math:`\hat x_0(0) = m_0`, earlier ones are :math:`m_k`
at :math:`u_k < 0`. A polynomial through them has the mean

.. math:: \bar x_0 = m_0 + \sum_k \rho_k \frac{m_k - m_0}{u_k}, \qquad \sum_k \rho_k u_k^{j-1} = M_j, \quad
          j = 1 ... K,                                                                                            (4)

with the moments of the weight :math:`e^\lambda` over the step

.. math:: M_j = \frac{h}{1 - e^{-h}} \int_0^1 e^{-(1-u) h} u^j \, du = \frac{1}{1 - e^{-h}} - \frac{j}{h} M_{j-1},
          \quad M_0 = 1.                                                                                          (5)

For a single neighbour the literature takes :math:`\rho = \tfrac12`, the limit of M_1 as h goes to 0, which keeps the
order. Then K = 1 with the last estimate is DPM-Solver++(2M). UniPC repeats the step with the next evaluation, u = 1, as
one more neighbour: of order 2, it is DPM-Solver++(2M) with a corrector, at the same cost.

**Adams-Bashforth** integrates a polynomial through the last slopes in the frame x / alpha, where
:math:`d (x / \alpha) = \hat\epsilon \, d \varsigma` and :math:`\varsigma = \sigma / \alpha`:

.. math:: x_s = x_s^{Euler} + \alpha_s \sum_k c_k (\hat\epsilon_k - \hat\epsilon_t), \qquad
          c_k = \int_{\varsigma_t}^{\varsigma_s} \ell_k(\varsigma) \, d \varsigma                                 (6)

with Lagrange's polynomials :math:`\ell_k`.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from carrara.noise import Schedule
from carrara.sample.base import Sampler, SampleStep, Step, Times, walk
from carrara.shapes import Samples
from carrara.types import DenoiseFn, NoiseFn


class Prediction(NamedTuple):
    """What the denoiser said at one half log-SNR."""

    half_logsnr: float
    x0: Tensor


def exponential_moments(h: float, count: int) -> list[float]:
    """Equation (5): M_1 ... M_count."""
    found = [1.0]
    for j in range(1, count + 1):
        found.append(-1 / math.expm1(-h) - j / h * found[-1])
    return found[1:]


def neighbour_weights(u: Sequence[float], h: float) -> list[float]:
    """Equation (4)'s rho for neighbours at ``u``, in units of the step from the present."""
    if len(u) == 1:
        return [0.5]
    return np.linalg.solve(np.vander(u, increasing=True).T, exponential_moments(h, len(u))).tolist()


def average(step: Step, now: Prediction, others: Sequence[Prediction]) -> Tensor:
    """Equation (4): the mean of x0 over the step, from ``now`` and ``others``; ``now`` where h is infinite."""
    others = [m for m in others if math.isfinite(m.half_logsnr)]
    if math.isinf(step.h) or not others:
        return now.x0
    u = [(m.half_logsnr - now.half_logsnr) / step.h for m in others]
    terms = zip(neighbour_weights(u, step.h), u, others, strict=True)
    return now.x0 + sum(rho / u_k * (m.x0 - now.x0) for rho, u_k, m in terms)


@dataclass(frozen=True, kw_only=True)
class DpmPp(Sampler):
    """DPM-Solver++(2M) (Lu et al., "DPM-Solver++", 2022, algorithm 2). Second order."""

    kind: Literal["dpmpp"] = "dpmpp"

    def steps(
        self, denoise: DenoiseFn, x: Samples, times: Times, schedule: Schedule, noise: NoiseFn
    ) -> Iterator[SampleStep]:
        return _second_order(denoise, x, walk(times, schedule), noise, eta=0.0)


@dataclass(frozen=True, kw_only=True)
class DpmPpSde(Sampler):
    """SDE-DPM-Solver++(2M) (Lu et al., 2022): ``DpmPp`` for equation (3) at eta = 1."""

    kind: Literal["dpmpp_sde"] = "dpmpp_sde"

    def steps(
        self, denoise: DenoiseFn, x: Samples, times: Times, schedule: Schedule, noise: NoiseFn
    ) -> Iterator[SampleStep]:
        return _second_order(denoise, x, walk(times, schedule), noise, eta=1.0)


def _second_order(
    denoise: DenoiseFn, x: Samples, steps: Iterable[Step], noise: NoiseFn, *, eta: float
) -> Iterator[SampleStep]:
    before: list[Prediction] = []
    for step in steps:
        now = Prediction(step.t.half_logsnr, denoise(x, step.now(x)))
        x = step.add(step.mean(x, average(step, now, before), eta), step.std(eta), noise)
        before = [now]
        yield step.done(x, now.x0)


@dataclass(frozen=True, kw_only=True)
class UniPC(Sampler):
    """The predictor and corrector of Zhao et al. ("UniPC", 2023, variant B_2), predicting the data.

    The evaluation that corrects a step begins the next one, so n steps take n evaluations where the last step is to
    clean data and is not corrected, and n + 1 where it is.

    Attributes:
        order: p, 1 to 3; the corrector raises the order of convergence to p + 1.
    """

    kind: Literal["unipc"] = "unipc"
    order: int = 2

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3):
            raise ValueError(f"UniPC has order 1, 2 or 3, got {self.order}")

    def steps(
        self, denoise: DenoiseFn, x: Samples, times: Times, schedule: Schedule, noise: NoiseFn
    ) -> Iterator[SampleStep]:
        before: list[Prediction] = []
        now: Prediction | None = None
        for step in walk(times, schedule):
            now = now or Prediction(step.t.half_logsnr, denoise(x, step.now(x)))
            begun, x = x, step.mean(x, average(step, now, before))
            ahead = None
            if math.isfinite(step.h):
                ahead = Prediction(step.s.half_logsnr, denoise(x, x.new_tensor(step.s.t)))
                x = step.mean(begun, average(step, now, [*before, ahead]))
            yield step.done(x, (ahead or now).x0)
            before, now = [now, *before][: self.order - 1], ahead


@dataclass(frozen=True, kw_only=True)
class Lms(Sampler):
    """The linear multistep method (Adams and Bashforth) of equation (6), as k-diffusion offers it.

    Attributes:
        order: the most slopes it looks at, 1 to 4; it starts with Euler's step.
    """

    kind: Literal["lms"] = "lms"
    order: int = 4

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3, 4):
            raise ValueError(f"the linear multistep method has order 1 to 4, got {self.order}")

    def steps(
        self, denoise: DenoiseFn, x: Samples, times: Times, schedule: Schedule, noise: NoiseFn
    ) -> Iterator[SampleStep]:
        places: list[float] = []
        slopes: list[Tensor] = []
        for step in walk(times, schedule):
            x0 = denoise(x, step.now(x))
            if step.t.alpha > 0:
                places = [step.t.noise_to_signal, *places][: self.order]
                slopes = [step.t.eps(x, x0), *slopes][: self.order]
            x = step.mean(x, x0)
            if step.s.alpha > 0:
                x = x + step.s.alpha * curvature(places, slopes, step.s.noise_to_signal)
            yield step.done(x, x0)


def curvature(places: Sequence[float], slopes: Sequence[Tensor], end: float) -> Tensor | float:
    """Equation (6)'s sum; 0 if the present slope is the only one."""
    terms = (lagrange_integral(k, places, end) * (slopes[k] - slopes[0]) for k in range(1, len(places)))
    return sum(terms, start=0.0)


def lagrange_integral(k: int, places: Sequence[float], end: float) -> float:
    """Equation (6)'s c_k, from ``places[0]`` to ``end``: Gauss's two points are exact up to the cubic of four
    places."""
    half, middle = (end - places[0]) / 2, (end + places[0]) / 2
    others = [p for j, p in enumerate(places) if j != k]
    points = (middle - half / math.sqrt(3), middle + half / math.sqrt(3))
    return half * sum(math.prod((at - p) / (places[k] - p) for p in others) for at in points)
