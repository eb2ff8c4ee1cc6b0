r"""At which times to train: distributions of t, given by their quantile functions.

A distribution maps u, uniform in (0, 1), to a time; so training times are a function of the counter-based draws.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch

from carrara.noise.schedule import Schedule
from carrara.shapes import PerSample


@dataclass(frozen=True, kw_only=True)
class TimeDistribution(ABC):
    """Where training looks. The object is its own configuration."""

    @abstractmethod
    def __call__(self, u: PerSample, schedule: Schedule) -> PerSample:
        """Maps ``u`` (B,), uniform in (0, 1), to times (B,) in (0, 1]."""


@dataclass(frozen=True, kw_only=True)
class UniformTimes(TimeDistribution):
    """Uniform in t: over the points k / T, k = 1 ... T, of a discrete schedule (Ho et al., 2020, algorithm 1), over the
    interval otherwise."""

    kind: Literal["uniform"] = "uniform"

    def __call__(self, u: PerSample, schedule: Schedule) -> PerSample:
        steps = schedule.discrete_steps
        return u if steps is None else (torch.floor(u * steps) + 1).clamp(max=steps) / steps


@dataclass(frozen=True, kw_only=True)
class LogitNormalTimes(TimeDistribution):
    """logit(t) ~ N(mean, std^2): more of the middle, where flows learn most (Esser et al., 2024, section 3.1)."""

    kind: Literal["logit_normal"] = "logit_normal"
    mean: float = 0.0
    std: float = 1.0

    def __call__(self, u: PerSample, schedule: Schedule) -> PerSample:
        return torch.sigmoid(self.mean + self.std * torch.special.ndtri(u))


@dataclass(frozen=True, kw_only=True)
class LogNormalTimes(TimeDistribution):
    """ln(sigma / alpha) ~ N(mean, std^2), whatever the schedule (Karras et al., "EDM", 2022, table 1)."""

    kind: Literal["log_normal"] = "log_normal"
    mean: float = -1.2
    std: float = 1.2

    def __call__(self, u: PerSample, schedule: Schedule) -> PerSample:
        return schedule.time_of(-(self.mean + self.std * torch.special.ndtri(u)))


AnyTimes = UniformTimes | LogitNormalTimes | LogNormalTimes
"""The tagged union that recipes hold."""
