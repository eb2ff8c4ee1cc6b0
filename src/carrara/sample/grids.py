r"""At which times a sampler stops: n steps are n + 1 times from noise, t = 1, to data, t = 0.

A grid whose times are a network's own training steps k / T matters for networks that never saw any other; the others
suit networks trained in continuous time. Where a schedule ends in pure noise or in clean data, sigma / alpha is
infinite or 0.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from torch import Tensor

from carrara.errors import UserError
from carrara.kinds import UNSAID
from carrara.noise import Schedule
from carrara.sample.base import Times

MOST_TRAIN_STEPS = 1 << 20
"""More discrete steps of a training are taken for a mistake."""


@dataclass(frozen=True, kw_only=True)
class TimeGrid(ABC):
    """Where a sampler stops on its way. The object is its own configuration."""

    kind: str

    def __call__(self, steps: int, schedule: Schedule) -> Times:
        """Returns ``(steps + 1,)`` float64 on the CPU, strictly decreasing, the last one 0.

        Raises:
            UserError: ``steps`` is less than 1, or more than this grid has times.
        """
        if steps < 1:
            raise UserError(f"a sampler makes at least 1 step, got steps={steps}.")
        times = self._times(steps, schedule)
        if not bool((times.diff() < 0).all()):
            raise UserError(f"the grid '{self.kind}' has no {steps} different times here: ask for fewer steps.")
        return times

    @abstractmethod
    def _times(self, steps: int, schedule: Schedule) -> Tensor:
        """The times; if some repeat, the caller refuses them."""


def _ramp(steps: int) -> Tensor:
    """1 down to 0 in equal steps, ``(steps + 1,)``."""
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Uniform(TimeGrid):
    """t = 1 - i / n."""

    kind: Literal["uniform"] = "uniform"

    def _times(self, steps: int, schedule: Schedule) -> Tensor:
        return _ramp(steps)


@dataclass(frozen=True, kw_only=True)
class Trailing(TimeGrid):
    """Training steps nearest to ``Uniform``: begins at T, the noisiest (Lin et al., "Common Diffusion Noise Schedules
    and Sample Steps are Flawed", 2024, table 2).

    Attributes:
        train_steps: T.
    """

    kind: Literal["trailing"] = "trailing"
    train_steps: int = 1000

    def __post_init__(self) -> None:
        _check_train_steps(self.train_steps)

    def _times(self, steps: int, schedule: Schedule) -> Tensor:
        return torch.round(_ramp(steps) * self.train_steps) / self.train_steps


@dataclass(frozen=True, kw_only=True)
class Leading(TimeGrid):
    """Training steps with the indices 0, T/n, 2T/n, ... (Song et al., "DDIM", 2021, section 4.2), and then the data.
    It never visits the noisiest step: few steps begin well below t = 1. For comparison with older results.

    Attributes:
        train_steps: T.
        offset: is added to the indices, as Stable Diffusion's samplers do; None is 0.
    """

    kind: Literal["leading"] = "leading"
    train_steps: int = 1000
    offset: Annotated[int | None, UNSAID] = field(default=None, repr=False)  # as digests were

    def __post_init__(self) -> None:
        _check_train_steps(self.train_steps)
        if not 0 <= (self.offset or 0) < self.train_steps:
            raise ValueError(f"an offset is less than the {self.train_steps} steps, got {self.offset}")

    def _times(self, steps: int, schedule: Schedule) -> Tensor:
        index = torch.arange(steps - 1, -1, -1) * self.train_steps // steps + (self.offset or 0)
        index = index.clamp(max=self.train_steps - 1)
        return torch.cat([(index + 1).double() / self.train_steps, torch.zeros(1, dtype=torch.float64)])


@dataclass(frozen=True, kw_only=True)
class Quadratic(TimeGrid):
    """t = (1 - i / n)^2: most steps near the data (Song et al., "DDIM", 2021, appendix D.2, stretched to t = 1)."""

    kind: Literal["quadratic"] = "quadratic"

    def _times(self, steps: int, schedule: Schedule) -> Tensor:
        return _ramp(steps) ** 2


@dataclass(frozen=True, kw_only=True)
class Karras(TimeGrid):
    """Equal steps of (sigma / alpha)^(1 / rho) between the schedule's ends (Karras et al., "EDM", 2022, equation 5).

    An end beyond ``sigma_min`` or ``sigma_max`` is replaced by it: at the noisy end the grid begins there, at a t below
    1; at the clean end one last step leads from there to t = 0.

    Attributes:
        rho: 7 for pictures; larger spends more steps near the data.
        sigma_min, sigma_max: limits of sigma / alpha. Give a discrete network its own first level as ``sigma_min``.
    """

    kind: Literal["karras"] = "karras"
    rho: float = 7.0
    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        if not (self.rho > 0 and 0 < self.sigma_min < self.sigma_max < math.inf):
            raise ValueError("need rho > 0 and 0 < sigma_min < sigma_max")

    def _times(self, steps: int, schedule: Schedule) -> Tensor:
        clean, noisy = torch.exp(-schedule.half_logsnr(torch.tensor([0.0, 1.0], dtype=torch.float64))).tolist()
        low, high = max(clean, self.sigma_min), min(noisy, self.sigma_max)
        reaches_data = clean > self.sigma_min or math.isclose(clean, self.sigma_min)
        ramp = _ramp(steps if reaches_data else max(steps - 1, 1))
        sigma = (low ** (1 / self.rho) + ramp * (high ** (1 / self.rho) - low ** (1 / self.rho))) ** self.rho
        times = schedule.time_of(-torch.log(sigma))
        if noisy <= self.sigma_max:
            times[0] = 1.0
        return torch.cat([times[:steps], torch.zeros(1, dtype=torch.float64)])


AnyGrid = Uniform | Trailing | Leading | Quadratic | Karras
"""The tagged union that recipes and commands hold."""


def _check_train_steps(steps: int) -> None:
    if not 1 <= steps <= MOST_TRAIN_STEPS:
        raise ValueError(f"a training has 1 to {MOST_TRAIN_STEPS} discrete steps, got {steps}")
