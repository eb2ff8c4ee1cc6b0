r"""What a network predicts, as four coefficients instead of an ``if``.

Every usual prediction target F is an affine reading of the same denoiser,

.. math:: \hat x_0 = c_{skip} x_t + c_{out} F(c_{in} x_t, \lambda),                                              (1)

so that training F towards

.. math:: F^* = (x_0 - c_{skip} x_t) / c_{out} = a x_0 + b \epsilon, \quad
          a = (1 - c_{skip} \alpha) / c_{out}, \quad b = - c_{skip} \sigma / c_{out}                             (2)

trains the denoiser, and :math:`\|F - F^*\|^2 = \|\hat x_0 - x_0\|^2 / c_{out}^2`.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from torch import Tensor

from carrara.kinds import UNSAID
from carrara.shapes import Samples, Scalars, expand

MAX_HALF_LOGSNR = 12.0
"""Networks see half log-SNRs within +-12; beyond, sigma or alpha is below 1e-5 and its value carries no information."""


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """Equation (1)'s coefficients and the noise level that the network sees, each in the shape of alpha.

    Attributes:
        skip, out, inp: c_skip, c_out and c_in.
        noise_level: half log-SNR, clamped to +-MAX_HALF_LOGSNR.
        clean, noise: a and b of equation (2), which make the training target.
    """

    skip: Scalars
    out: Scalars
    inp: Scalars
    noise_level: Scalars
    clean: Scalars
    noise: Scalars

    def target(self, x0: Samples, eps: Samples) -> Samples:
        """What F should have said, equation (2), from the data and the noise: no cancellation at small sigma."""
        return expand(self.clean, x0) * x0 + expand(self.noise, eps) * eps

    def denoised(self, x_t: Samples, output: Samples) -> Samples:
        """Equation (1): the estimate of x0 from the network's output."""
        return expand(self.skip, x_t) * x_t + expand(self.out, x_t) * output


@dataclass(frozen=True, kw_only=True)
class Parameterization(ABC):
    """Turns alpha and sigma into coefficients. The object is its own configuration."""

    needs_signal = False
    """True if c_out diverges where alpha is 0, so that the schedule must not end in pure noise."""

    def __call__(self, alpha: Scalars, sigma: Scalars) -> Coefficients:
        """Computes the coefficients in float64 and returns them in the type of ``alpha``; shapes are kept."""
        a, s = alpha.double(), sigma.double()
        skip, out, inp, clean, noise = (c.to(alpha.dtype) for c in self._coefficients(a, s))
        level = (torch.log(a) - torch.log(s)).clamp(-MAX_HALF_LOGSNR, self.most).to(alpha.dtype)
        return Coefficients(skip=skip, out=out, inp=inp, noise_level=level, clean=clean, noise=noise)

    @property
    def most(self) -> float:
        """The largest half log-SNR that the network is told."""
        return MAX_HALF_LOGSNR

    @abstractmethod
    def _coefficients(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """c_skip, c_out, c_in, and the target's a and b."""


@dataclass(frozen=True, kw_only=True)
class Eps(Parameterization):
    """F is the noise (Ho et al., 2020, equation 11): x0 = (x_t - sigma F) / alpha."""

    kind: Literal["eps"] = "eps"
    needs_signal = True

    def _coefficients(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        one = torch.ones_like(alpha)
        inp = 1 / torch.sqrt(alpha**2 + sigma**2)
        return 1 / alpha, -sigma / alpha, inp, torch.zeros_like(one), one


@dataclass(frozen=True, kw_only=True)
class X0(Parameterization):
    """F is the data.

    Attributes:
        told: the largest half log-SNR that the network is told. Where training times are drawn that are hardly ever
            nearer to the data, it would have to guess there what the level means, and errs by more than the noise:
            told less, it takes such a state for a noisy one that happens to be clean. None is no limit.
    """

    kind: Literal["x0"] = "x0"
    told: Annotated[float | None, UNSAID] = field(default=None, repr=False)  # as digests were

    def __post_init__(self) -> None:
        if self.told is not None and not -MAX_HALF_LOGSNR < self.told <= MAX_HALF_LOGSNR:
            raise ValueError(f"a network is told half log-SNRs within {MAX_HALF_LOGSNR:g}, and told is {self.told}")

    @property
    def most(self) -> float:
        return MAX_HALF_LOGSNR if self.told is None else self.told

    def _coefficients(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        one, zero = torch.ones_like(alpha), torch.zeros_like(alpha)
        return zero, one, 1 / torch.sqrt(alpha**2 + sigma**2), one, zero


@dataclass(frozen=True, kw_only=True)
class V(Parameterization):
    """F is v = (alpha eps - sigma x0) / sqrt(alpha^2 + sigma^2) (Salimans and Ho, "Progressive Distillation", 2022,
    appendix D): the velocity on the circle, for schedules that preserve variance or not."""

    kind: Literal["v"] = "v"

    def _coefficients(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        norm = torch.sqrt(alpha**2 + sigma**2)
        return alpha / norm**2, -sigma / norm, 1 / norm, -sigma / norm, alpha / norm


@dataclass(frozen=True, kw_only=True)
class Flow(Parameterization):
    """F is eps - x0 (Lipman et al., 2023; Liu et al., 2022): x0 = (x_t - sigma F) / (alpha + sigma)."""

    kind: Literal["flow"] = "flow"

    def _coefficients(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        total, one = alpha + sigma, torch.ones_like(alpha)
        return 1 / total, -sigma / total, 1 / torch.sqrt(alpha**2 + sigma**2), -one, one


@dataclass(frozen=True, kw_only=True)
class Velocity(Parameterization):
    """``Flow`` of a network that sees x_t as it is, c_in = 1 (Ma et al., "SiT", 2024)."""

    kind: Literal["velocity"] = "velocity"

    def _coefficients(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        total, one = alpha + sigma, torch.ones_like(alpha)
        return 1 / total, -sigma / total, one, -one, one


@dataclass(frozen=True, kw_only=True)
class Edm(Parameterization):
    """Unit-variance input and target at every noise level (Karras et al., "EDM", 2022, table 1), written for any alpha.

    Attributes:
        sigma_data: the data's standard deviation.
    """

    kind: Literal["edm"] = "edm"
    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not (self.sigma_data > 0 and math.isfinite(self.sigma_data)):
            raise ValueError(f"sigma_data must be positive, got {self.sigma_data}")

    def _coefficients(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        std = torch.sqrt((alpha * self.sigma_data) ** 2 + sigma**2)
        skip, out = alpha * self.sigma_data**2 / std**2, sigma * self.sigma_data / std
        return skip, out, 1 / std, sigma / (self.sigma_data * std), -alpha * self.sigma_data / std


AnyParameterization = Eps | X0 | V | Flow | Velocity | Edm
"""The tagged union that recipes and saved models hold."""
