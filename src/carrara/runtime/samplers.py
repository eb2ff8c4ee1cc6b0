r"""The samplers of ``carrara.sample`` in numpy. Between t and the earlier s, with :math:`h = \lambda_s - \lambda_t` and
:math:`r = e^{-h}`,

.. math:: x_s = k x_t + (\alpha_s - k \alpha_t) \bar x_0 + \eta \, \sigma_s \sqrt{1 - r^2} \, \epsilon, \qquad
          k = \frac{\sigma_s}{\sigma_t} \sqrt{1 - \eta^2 (1 - r^2)},                                              (1)

where samplers differ in the mean :math:`\bar x_0` of the denoiser's estimates over the step: the estimate itself (DDIM,
Song et al., 2021; DDPM at eta = 1, Ho et al., 2020), with the last one (DPM-Solver++(2M), Lu et al., 2022), with the
next one as well (UniPC, Zhao et al., 2023), or with the slope at the end (Heun's method, Karras et al., 2022).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrara.errors import known
from carrara.runtime.noise import Numbers, Schedule

State = NDArray[Any]
"""(B, C, H, W) float32."""
Denoise = Callable[[State, float], State]
"""(x_t (B, C, H, W), t) -> the estimate of the data."""
Noise = Callable[[int], State]
"""Step index -> fresh noise."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """One point of the grid."""

    t: float
    alpha: float
    sigma: float

    @property
    def half_logsnr(self) -> float:
        """lambda, with its infinities."""
        if self.alpha == 0:
            return -math.inf
        return math.log(self.alpha / self.sigma) if self.sigma > 0 else math.inf

    @property
    def noise_to_signal(self) -> float:
        """sigma / alpha."""
        return self.sigma / self.alpha if self.alpha > 0 else math.inf

    def eps(self, x: State, x0: State) -> State:
        """The noise in ``x``."""
        return (x - self.alpha * x0) / self.sigma if self.sigma > 0 else np.zeros_like(x)


@dataclass(frozen=True, kw_only=True)
class Step:
    """From level ``t`` down to level ``s``."""

    index: int
    total: int
    t: Level
    s: Level

    @property
    def h(self) -> float:
        """The way in half log-SNR."""
        return self.s.half_logsnr - self.t.half_logsnr

    @property
    def r(self) -> float:
        """exp(-h)."""
        below = self.s.alpha * self.t.sigma
        return self.t.alpha * self.s.sigma / below if below > 0 else math.inf

    def mean(self, x: State, x0: State, eta: float = 0.0) -> State:
        """Equation (1) without its noise."""
        k = self.s.sigma / self.t.sigma
        if eta > 0:
            k *= math.sqrt(1 - eta**2 + (eta * self.r) ** 2)
        return k * x + (self.s.alpha - k * self.t.alpha) * x0

    def std(self, eta: float = 1.0) -> float:
        """The standard deviation of equation (1)'s noise."""
        return eta * self.s.sigma * math.sqrt(1 - self.r**2) if eta > 0 else 0.0

    def add(self, mean: State, std: float, noise: Noise) -> State:
        """With this step's noise, if there is any."""
        return mean + std * noise(self.index) if std > 0 else mean


def level_at(t: float, schedule: Schedule) -> Level:
    """The schedule at a time."""
    alpha, sigma = schedule(np.array([t]))
    return Level(t=t, alpha=float(alpha[0]), sigma=float(sigma[0]))


def walk(times: Numbers, schedule: Schedule) -> Iterator[Step]:
    """The steps of a grid."""
    levels = [level_at(t, schedule) for t in times.tolist()]
    for index in range(len(levels) - 1):
        yield Step(index=index, total=len(levels) - 1, t=levels[index], s=levels[index + 1])


@dataclass(frozen=True, kw_only=True)
class Way:
    """What a sampler walks on: its states come out of ``steps`` one by one, the last one is the sample."""

    denoise: Denoise
    times: Numbers
    schedule: Schedule
    noise: Noise
    keys: Mapping[str, Any]


def ddpm(x: State, way: Way) -> Iterator[State]:
    """Ancestral sampling."""
    large = way.keys.get("variance", "beta_tilde") == "beta"
    for step in walk(way.times, way.schedule):
        mean = step.mean(x, way.denoise(x, step.t.t), eta=1.0)
        std = step.std() if not large else step.t.sigma * math.sqrt(1 - step.r**2) if step.s.t > 0 else 0.0
        x = step.add(mean, std, way.noise)
        yield x


def ddim(x: State, way: Way) -> Iterator[State]:
    """Equation (1) with the estimate as it is; deterministic unless ``eta`` is given."""
    eta = float(way.keys.get("eta", 0.0))
    for step in walk(way.times, way.schedule):
        x = step.add(step.mean(x, way.denoise(x, step.t.t), eta), step.std(eta), way.noise)
        yield x


def euler(x: State, way: Way) -> Iterator[State]:
    """Euler's method, which is DDIM at eta = 0."""
    return ddim(x, Way(denoise=way.denoise, times=way.times, schedule=way.schedule, noise=way.noise, keys={}))


def euler_ancestral(x: State, way: Way) -> Iterator[State]:
    """``ddim`` with eta = 1, under the name people look for."""
    keys = {"eta": way.keys.get("eta", 1.0)}
    return ddim(x, Way(denoise=way.denoise, times=way.times, schedule=way.schedule, noise=way.noise, keys=keys))


def heun(x: State, way: Way) -> Iterator[State]:
    """Two estimates a step, and the mean of their slopes; with fresh noise where ``churn`` is given."""
    for step in walk(way.times, way.schedule):
        x, step = _churned(x, step, way)
        before = way.denoise(x, step.t.t)
        x = step.mean(x, before)
        if step.r > 0:
            x = x + 0.5 * step.s.alpha * (1 / step.r - 1) * (way.denoise(x, step.s.t) - before)
        yield x


def _churned(x: State, step: Step, way: Way) -> tuple[State, Step]:
    old, gamma = step.t, min(float(way.keys.get("churn", 0.0)) / step.total, math.sqrt(2) - 1)
    low, high = float(way.keys.get("churn_min", 0.0)), float(way.keys.get("churn_max") or math.inf)
    if gamma == 0 or not low <= old.noise_to_signal <= high or old.alpha == 0:
        return x, step
    t = float(way.schedule.time_of(np.array([old.half_logsnr - math.log1p(gamma)]))[0])
    new = level_at(t, way.schedule)
    scale = new.alpha / old.alpha
    std = math.sqrt(max(new.sigma**2 - (scale * old.sigma) ** 2, 0.0)) * float(way.keys.get("noise_scale", 1.0))
    return step.add(scale * x, std, way.noise), Step(index=step.index, total=step.total, t=new, s=step.s)


Prediction = tuple[float, State]
"""A half log-SNR, and the estimate there."""


def average(step: Step, now: Prediction, others: Sequence[Prediction]) -> State:
    """The mean of the estimates over the step, from the present one and others; see ``carrara.sample.multistep``."""
    others = [one for one in others if math.isfinite(one[0])]
    if math.isinf(step.h) or not others:
        return now[1]
    u = [(level - now[0]) / step.h for level, _ in others]
    found = now[1]
    for rho, at, (_, x0) in zip(_weights(u, step.h), u, others, strict=True):
        found = found + rho / at * (x0 - now[1])
    return found


def _weights(u: Sequence[float], h: float) -> list[float]:
    if len(u) == 1:
        return [0.5]
    moments = [1.0]
    for j in range(1, len(u) + 1):
        moments.append(-1 / math.expm1(-h) - j / h * moments[-1])
    return np.linalg.solve(np.vander(u, increasing=True).T, moments[1:]).tolist()


def dpmpp(x: State, way: Way, eta: float = 0.0) -> Iterator[State]:
    """DPM-Solver++(2M), and its stochastic form at eta = 1."""
    before: list[Prediction] = []
    for step in walk(way.times, way.schedule):
        now = step.t.half_logsnr, way.denoise(x, step.t.t)
        x = step.add(step.mean(x, average(step, now, before), eta), step.std(eta), way.noise)
        before = [now]
        yield x


def dpmpp_sde(x: State, way: Way) -> Iterator[State]:
    """SDE-DPM-Solver++(2M)."""
    return dpmpp(x, way, eta=1.0)


def unipc(x: State, way: Way) -> Iterator[State]:
    """UniPC with the variant B_2, of order 1 to 3."""
    order, before, now = int(way.keys.get("order", 2)), list[Prediction](), None
    for step in walk(way.times, way.schedule):
        now = now or (step.t.half_logsnr, way.denoise(x, step.t.t))
        begun, x = x, step.mean(x, average(step, now, before))
        ahead = None
        if math.isfinite(step.h):
            ahead = step.s.half_logsnr, way.denoise(x, step.s.t)
            x = step.mean(begun, average(step, now, [*before, ahead]))
        yield x
        before, now = [now, *before][: order - 1], ahead


def lms(x: State, way: Way) -> Iterator[State]:
    """The linear multistep method of Adams and Bashforth in the frame x / alpha, of order 1 to 4."""
    order = int(way.keys.get("order", 4))
    places, slopes = list[float](), list[State]()
    for step in walk(way.times, way.schedule):
        x0 = way.denoise(x, step.t.t)
        if step.t.alpha > 0:
            places, slopes = [step.t.noise_to_signal, *places][:order], [step.t.eps(x, x0), *slopes][:order]
        x = step.mean(x, x0)
        if step.s.alpha > 0:
            end = step.s.noise_to_signal
            for k in range(1, len(places)):
                x = x + step.s.alpha * _integral(k, places, end) * (slopes[k] - slopes[0])
        yield x


def _integral(k: int, places: Sequence[float], end: float) -> float:
    half, middle = (end - places[0]) / 2, (end + places[0]) / 2
    others = [p for j, p in enumerate(places) if j != k]
    points = (middle - half / math.sqrt(3), middle + half / math.sqrt(3))
    return half * sum(math.prod((at - p) / (places[k] - p) for p in others) for at in points)


SAMPLERS: Mapping[str, Callable[[State, Way], Iterator[State]]] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "euler": euler,
    "euler_a": euler_ancestral,
    "heun": heun,
    "dpmpp": dpmpp,
    "dpmpp_sde": dpmpp_sde,
    "unipc": unipc,
    "lms": lms,
}
"""By the names that Carrara has for them."""


def steps(name: str, x: State, way: Way) -> Iterator[State]:
    """The states of a sampler by its name.

    Raises:
        UserError: there is no such sampler.
    """
    return SAMPLERS[known("sampler", name, SAMPLERS)](x, way)
