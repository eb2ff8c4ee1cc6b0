r"""Noise schedules, what networks predict, and grids of times, in numpy.

The forward process is :math:`x_t = \alpha(t) x_0 + \sigma(t) \epsilon` with t from 0 (data) to 1 (noise), and the
denoiser is

.. math:: \hat x_0 = c_{skip} x_t + c_{out} F(c_{in} x_t, \lambda), \quad \lambda = \ln (\alpha / \sigma).       (1)

A discrete schedule is a table of alpha at t = k / T, with straight lines between. See ``carrara.noise``, whose numbers
these are; everything is computed in float64.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrara.errors import UserError, known

Numbers = NDArray[np.float64]
Coefficients = tuple[float, float, float]
"""c_skip, c_out and c_in of equation (1)."""
MAX_HALF_LOGSNR = 12.0


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """alpha(t) and sigma(t).

    Attributes:
        kind: ``table``, ``rectified_flow`` or ``ve``.
        alpha: (T + 1,) of a table.
        keys: what else the kind has.
    """

    kind: str
    alpha: Numbers
    keys: Mapping[str, float]

    def __call__(self, t: Numbers) -> tuple[Numbers, Numbers]:
        """alpha and sigma at times of any shape."""
        t = np.clip(np.asarray(t, np.float64), 0, 1)
        if self.kind == "table":
            place = t * (len(self.alpha) - 1)
            left = np.minimum(np.floor(place), len(self.alpha) - 2).astype(np.int64)
            low, high = self.alpha[left], self.alpha[left + 1]
            alpha = low + (place - left) * (high - low)
            return alpha, np.sqrt((1 - alpha) * (1 + alpha))
        if self.kind == "rectified_flow":
            shift = self.keys["shift"]
            scale = 1 + (shift - 1) * t
            return (1 - t) / scale, shift * t / scale
        rho = self.keys["rho"]
        low, high = self.keys["sigma_min"] ** (1 / rho), self.keys["sigma_max"] ** (1 / rho)
        return np.ones_like(t), (low + t * (high - low)) ** rho

    def half_logsnr(self, t: Numbers) -> Numbers:
        """lambda of equation (1), with its infinities."""
        alpha, sigma = self(t)
        with np.errstate(divide="ignore"):
            return np.log(alpha) - np.log(sigma)

    def time_of(self, half_logsnr: Numbers) -> Numbers:
        """The time of a half log-SNR, by bisection."""
        wanted = np.asarray(half_logsnr, np.float64)
        low, high = np.zeros_like(wanted), np.ones_like(wanted)
        for _ in range(60):
            middle = (low + high) / 2
            cleaner = self.half_logsnr(middle) > wanted
            low, high = np.where(cleaner, middle, low), np.where(cleaner, high, middle)
        return high


def _eps(a: float, s: float, data: float) -> Coefficients:
    return 1 / a, -s / a, 1 / math.hypot(a, s)


def _x0(a: float, s: float, data: float) -> Coefficients:
    return 0.0, 1.0, 1 / math.hypot(a, s)


def _v(a: float, s: float, data: float) -> Coefficients:
    norm = math.hypot(a, s)
    return a / norm**2, -s / norm, 1 / norm


def _flow(a: float, s: float, data: float) -> Coefficients:
    return 1 / (a + s), -s / (a + s), 1 / math.hypot(a, s)


def _velocity(a: float, s: float, data: float) -> Coefficients:
    return 1 / (a + s), -s / (a + s), 1.0


def _edm(a: float, s: float, data: float) -> Coefficients:
    std = math.hypot(a * data, s)
    return a * data**2 / std**2, s * data / std, 1 / std


PARAMETERIZATIONS: Mapping[str, Callable[[float, float, float], Coefficients]] = {
    "eps": _eps,
    "x0": _x0,
    "v": _v,
    "flow": _flow,
    "velocity": _velocity,
    "edm": _edm,
}
"""By kind: (alpha, sigma, the data's standard deviation) -> coefficients."""


def level_of(alpha: float, sigma: float, most: float = MAX_HALF_LOGSNR) -> float:
    """What the network is told: lambda, clamped, at most ``most``."""
    if alpha == 0 or sigma == 0:
        return -MAX_HALF_LOGSNR if alpha == 0 else most
    return min(max(math.log(alpha) - math.log(sigma), -MAX_HALF_LOGSNR), most)


def _ramp(steps: int) -> Numbers:
    """1 down to 0 in equal steps; from both ends, as torch makes it, so that ties round alike."""
    i = np.arange(steps + 1, dtype=np.float64)
    step = -1.0 / steps
    return np.where(i < (steps + 1) // 2, 1 + step * i, -step * (steps - i))


def _trailing(steps: int, schedule: Schedule, keys: Mapping[str, Any]) -> Numbers:
    return np.round(_ramp(steps) * keys["train_steps"]) / keys["train_steps"]


def _leading(steps: int, schedule: Schedule, keys: Mapping[str, Any]) -> Numbers:
    train_steps = int(keys["train_steps"])
    index = np.arange(steps - 1, -1, -1) * train_steps // steps + int(keys.get("offset") or 0)
    index = np.minimum(index, train_steps - 1)
    return np.append((index + 1) / train_steps, 0.0)


def _karras(steps: int, schedule: Schedule, keys: Mapping[str, Any]) -> Numbers:
    clean, noisy = np.exp(-schedule.half_logsnr(np.array([0.0, 1.0]))).tolist()
    rho, low, high = keys["rho"], max(clean, keys["sigma_min"]), min(noisy, keys["sigma_max"])
    reaches_data = clean > keys["sigma_min"] or math.isclose(clean, keys["sigma_min"])
    ramp = _ramp(steps if reaches_data else max(steps - 1, 1))
    sigma = (low ** (1 / rho) + ramp * (high ** (1 / rho) - low ** (1 / rho))) ** rho
    times = schedule.time_of(-np.log(sigma))
    if noisy <= keys["sigma_max"]:
        times[0] = 1.0
    return np.append(times[:steps], 0.0)


GRIDS: Mapping[str, Callable[[int, Schedule, Mapping[str, Any]], Numbers]] = {
    "uniform": lambda steps, schedule, keys: _ramp(steps),
    "trailing": _trailing,
    "leading": _leading,
    "quadratic": lambda steps, schedule, keys: _ramp(steps) ** 2,
    "karras": _karras,
}
"""By kind: (steps, schedule, the grid's keys) -> times. See ``carrara.sample.grids``."""
USUAL: Mapping[str, Mapping[str, float]] = {
    "trailing": {"train_steps": 1000},
    "leading": {"train_steps": 1000},
    "karras": {"rho": 7.0, "sigma_min": 0.002, "sigma_max": 80.0},
}
"""The keys of grids that a card does not name."""


def grid(kind: str, steps: int, schedule: Schedule, keys: Mapping[str, Any] | None = None) -> Numbers:
    """(steps + 1,) times from noise to data, decreasing to 0.

    Raises:
        UserError: there is no such grid, or it has no such number of steps.
    """
    kind = known("time grid", kind, GRIDS)
    if steps < 1:
        raise UserError(f"a sampler makes at least 1 step, got {steps}")
    times = GRIDS[kind](steps, schedule, {**USUAL.get(kind, {}), **(keys or {})})
    if not (np.diff(times) < 0).all():
        raise UserError(f"the grid '{kind}' has no {steps} different times here: ask for fewer steps")
    return times
