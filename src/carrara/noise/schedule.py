r"""Noise schedules: how much of the data is left at time t, and how much noise has come.

A schedule is the pair of functions in the Gaussian forward process

.. math:: q(x_t | x_0) = N(x_t; \alpha(t) x_0, \sigma(t)^2 I),  \qquad  x_t = \alpha x_0 + \sigma \epsilon      (1)

with t from 0 (data) to 1 (noise). The half log-SNR

.. math:: \lambda(t) = \ln (\alpha / \sigma)                                                                     (2)

strictly decreases; a network sees the time only through it. Discrete DDPM schedules are the points t = k / T of the
same axis, k = 1 ... T, where

.. math:: \bar\alpha_k = \prod_{i \le k} (1 - \beta_i), \quad \alpha = \sqrt{\bar\alpha_k}, \quad
          \sigma = \sqrt{1 - \bar\alpha_k}                                                                       (3)

(the array index of papers and of other libraries is i = k - 1), and t = 0 is the data itself. Between these points
alpha is interpolated linearly. All arithmetic is in float64, whatever the type of t.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from carrara.shapes import Scalars

MOST_STEPS = 1 << 20
"""More discrete steps are taken for a mistake."""


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """A pair alpha(t), sigma(t) whose ratio strictly decreases in t. The object is its own configuration."""

    @property
    def discrete_steps(self) -> int | None:
        """T of a discrete schedule."""
        return None

    def __call__(self, t: Scalars) -> tuple[Scalars, Scalars]:
        """Evaluates equation (1)'s coefficients.

        Args:
            t: times in [0, 1], any shape.

        Returns:
            alpha and sigma in the shape and type of ``t``, computed in float64.
        """
        alpha, sigma = self._evaluate(t.double())
        return alpha.to(t.dtype), sigma.to(t.dtype)

    @abstractmethod
    def _evaluate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and sigma in float64."""

    @property
    def own_steps(self) -> int | None:
        """How many steps it has by itself; None if any number of them."""
        return None

    def half_logsnr(self, t: Scalars) -> Scalars:
        """Equation (2): +inf where sigma is 0, -inf where alpha is 0."""
        alpha, sigma = self._evaluate(t.double())
        return (torch.log(alpha) - torch.log(sigma)).to(t.dtype)

    def time_of(self, half_logsnr: Scalars) -> Scalars:
        """Inverts equation (2) by bisection, to the last bit of float64.

        Args:
            half_logsnr: any shape; values beyond the schedule's ends give t = 0 or t = 1.
        """
        wanted = half_logsnr.double()
        low, high = torch.zeros_like(wanted), torch.ones_like(wanted)
        for _ in range(60):
            middle = (low + high) / 2
            cleaner = self.half_logsnr(middle) > wanted
            low, high = torch.where(cleaner, middle, low), torch.where(cleaner, high, middle)
        return high.to(half_logsnr.dtype)


@dataclass(frozen=True, kw_only=True)
class DiscreteSchedule(Schedule):
    """A variance-preserving schedule given by a table of betas, equation (3).

    Attributes:
        steps: T, the number of discrete steps.
        zero_terminal_snr: shifts and scales sqrt(abar) so that x_1 is pure noise (Lin et al., "Common Diffusion Noise
            Schedules and Sample Steps are Flawed", 2024, algorithm 1). Use it with v or x0, not eps: at alpha = 0 noise
            says nothing about the data.
    """

    steps: int = 1000
    zero_terminal_snr: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.steps <= MOST_STEPS:
            raise ValueError(f"a discrete schedule needs at least 2 steps, and at most {MOST_STEPS}, got {self.steps}")
        betas = self.betas()
        if not bool(((betas > 0) & (betas < 1)).all()):
            raise ValueError("every beta must lie strictly between 0 and 1: check the schedule's start and end")

    @property
    def discrete_steps(self) -> int:
        return self.steps

    @abstractmethod
    def betas(self) -> Tensor:
        """Returns the table beta_1 ... beta_T, ``(T,)`` float64, before the zero-terminal-SNR rescaling."""

    @property
    def own_steps(self) -> int:
        return self.steps

    def alphas_cumprod(self) -> Tensor:
        """Returns abar_1 ... abar_T, ``(T,)`` float64, as papers and other libraries index it."""
        return _alpha_table(self)[1:] ** 2

    def _evaluate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        table = _alpha_table(self).to(t.device)
        place = t.clamp(0, 1) * self.steps
        left = place.floor().clamp(max=self.steps - 1).long()
        alpha = torch.lerp(table[left], table[left + 1], place - left)
        return alpha, torch.sqrt((1 - alpha) * (1 + alpha))


@cache
def _alpha_table(schedule: DiscreteSchedule) -> Tensor:
    """``(T + 1,)`` float64: alpha at k = 0 ... T."""
    alpha = torch.exp(0.5 * torch.cumsum(torch.log1p(-schedule.betas()), 0))
    if schedule.zero_terminal_snr:
        alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    return torch.cat([torch.ones(1, dtype=torch.float64), alpha])


@dataclass(frozen=True, kw_only=True)
class Linear(DiscreteSchedule):
    """Betas in equal steps (Ho et al., "Denoising Diffusion Probabilistic Models", 2020, section 4)."""

    kind: Literal["linear"] = "linear"
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def betas(self) -> Tensor:
        return torch.linspace(self.beta_start, self.beta_end, self.steps, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class ScaledLinear(DiscreteSchedule):
    """Square roots of the betas in equal steps: latent diffusion's and Stable Diffusion's (Rombach et al., 2022)."""

    kind: Literal["scaled_linear"] = "scaled_linear"
    beta_start: float = 0.00085
    beta_end: float = 0.012

    def betas(self) -> Tensor:
        ends = math.sqrt(self.beta_start), math.sqrt(self.beta_end)
        return torch.linspace(*ends, self.steps, dtype=torch.float64) ** 2


@dataclass(frozen=True, kw_only=True)
class FunctionSchedule(DiscreteSchedule):
    """A discrete schedule whose abar follows a function of t: beta_k = 1 - abar(k / T) / abar((k - 1) / T).

    Attributes:
        max_beta: the ceiling of beta, which keeps the last steps from a division by zero.
    """

    max_beta: float = 0.999

    @abstractmethod
    def abar(self, t: Tensor) -> Tensor:
        """The wanted abar, decreasing on [0, 1], up to a constant factor."""

    def betas(self) -> Tensor:
        abar = self.abar(torch.linspace(0, 1, self.steps + 1, dtype=torch.float64))
        return (1 - abar[1:] / abar[:-1]).clamp(max=self.max_beta)


@dataclass(frozen=True, kw_only=True)
class Cosine(FunctionSchedule):
    """abar = cos^2 of a quarter turn (Nichol and Dhariwal, "Improved DDPM", 2021, equation 17)."""

    kind: Literal["cosine"] = "cosine"
    s: float = 0.008

    def abar(self, t: Tensor) -> Tensor:
        return torch.cos((t + self.s) / (1 + self.s) * math.pi / 2) ** 2


@dataclass(frozen=True, kw_only=True)
class Sigmoid(FunctionSchedule):
    """abar = a rescaled sigmoid (Jabri et al., "Scalable Adaptive Computation", 2022; Chen, "On the Importance of Noise
    Scheduling for Diffusion Models", 2023): smaller ``tau`` spends longer at both ends."""

    kind: Literal["sigmoid"] = "sigmoid"
    start: float = -3.0
    end: float = 3.0
    tau: float = 1.0

    def abar(self, t: Tensor) -> Tensor:
        ends = torch.sigmoid(torch.tensor([self.start, self.end], dtype=torch.float64) / self.tau)
        now = torch.sigmoid((t * (self.end - self.start) + self.start) / self.tau)
        return (ends[1] - now) / (ends[1] - ends[0])


@dataclass(frozen=True, kw_only=True)
class RectifiedFlow(Schedule):
    """The straight line x_t = (1 - t) x_0 + t eps (Liu et al., 2022; Lipman et al., "Flow Matching", 2023).

    Attributes:
        shift: moves time towards noise for large pictures, t -> shift t / (1 + (shift - 1) t) (Esser et al., "Scaling
            Rectified Flow Transformers", 2024, equation 23). It adds ln(shift) to the noise's half log-SNR.
    """

    kind: Literal["rectified_flow"] = "rectified_flow"
    shift: float = 1.0

    def __post_init__(self) -> None:
        if not self.shift > 0:
            raise ValueError(f"the flow's shift must be positive, got {self.shift}")

    def _evaluate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        t = t.clamp(0, 1)
        scale = 1 + (self.shift - 1) * t
        return (1 - t) / scale, self.shift * t / scale


@dataclass(frozen=True, kw_only=True)
class VarianceExploding(Schedule):
    """alpha = 1 and sigma from ``sigma_min`` to ``sigma_max`` (Song et al., 2021), spaced as in Karras et al. ("EDM",
    2022, equation 5): sigma^(1/rho) is linear in t."""

    kind: Literal["ve"] = "ve"
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise ValueError(f"need 0 < sigma_min < sigma_max, got {self.sigma_min} and {self.sigma_max}")
        if not self.rho > 0:
            raise ValueError(f"rho must be above 0, got {self.rho}")

    def _evaluate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return torch.ones_like(t), (low + t.clamp(0, 1) * (high - low)) ** self.rho


AnySchedule = Linear | ScaledLinear | Cosine | Sigmoid | RectifiedFlow | VarianceExploding
"""The tagged union that recipes and saved models hold."""
