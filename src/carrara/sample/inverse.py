r"""Inverse problems: what was the picture of which y is a blurred, shrunken or colourless measurement?

.. math:: y = A x_0 + s \epsilon.                                                                                 (1)

Samples of p(x0 | y) are those of the denoiser of ``sample.tilt``, equation (2), with the likelihood of y given x_t. An
unconditional model that was never trained for the task is enough. If x0 given x_t were Gaussian around the denoiser's
estimate, with the covariance :math:`r_t^2 I`, this likelihood were

.. math:: p(y | x_t) = N(y; A \hat x_0(x_t), S_t), \qquad S_t = r_t^2 A A^\top + s^2 I,                            (2)

which is **PiGDM**, pseudoinverse guidance (Song et al., "Pseudoinverse-Guided Diffusion Models for Inverse Problems",
2023). For Gaussian data of standard deviation d the covariance is indeed of this form,

.. math:: r_t^2 = \frac{d^2 \sigma^2}{\alpha^2 d^2 + \sigma^2},                                                  (3)

and the samples are exact whatever A; the paper has d = 1. Where latents diffuse, ``sample.decoded`` does the same with
the decoder in it.

**DPS**, diffusion posterior sampling (Chung et al.,
"Diffusion Posterior Sampling for General Noisy Inverse Problems", 2023), needs no more of A than its gradient. It
descends :math:`|y - A \hat x_0|^2`, divided by :math:`|y - A \hat x_0|` in the paper, with a step size of the sampler.
An estimate knows no sampler. Here S_t is a number that is measured: the mean square of the m values of the residual, of
which (2) expects the trace of S_t,

.. math:: S_t = \max(|y - A \hat x_0|^2 / m, \; s^2) / w,                                                        (4)

with a weight w. In both, the gradient of log p(y | x_t) goes back through the network to x_t, which costs twice as much
as its estimate alone; with DPS also where latents diffuse, through the decoder, which stands between them and A.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from carrara.noise import Schedule
from carrara.pixels import Pictures
from carrara.sample.decoded import reconciled
from carrara.sample.operators import Measured, Measurement
from carrara.sample.tilt import tweedie
from carrara.shapes import Samples, expand
from carrara.types import DenoiseFn

SURE = 2 / 255 / 12**0.5
"""The standard deviation of rounding to 8 bits, of values in [-1, 1]: no measurement is taken to be more exact."""


@dataclass(frozen=True, kw_only=True)
class MeasurementLikelihood(ABC):
    """How sure the measurement of an estimate is: S_t."""

    kind: str

    @abstractmethod
    def weighed(self, residual: Measured, measure: Measurement, alpha: float, sigma: float, s2: float) -> Measured:
        """S_t^-1 (y - A x0)."""


@dataclass(frozen=True, kw_only=True)
class PiGdm(MeasurementLikelihood):
    """Equation (2), with (3).

    Attributes:
        spread: d, the standard deviation of the pictures' values, whatever diffuses.
    """

    kind: Literal["pigdm"] = "pigdm"
    spread: float = 0.5

    def __post_init__(self) -> None:
        if not self.spread > 0:
            raise ValueError(f"the data's standard deviation is positive, got {self.spread}")

    def weighed(self, residual: Measured, measure: Measurement, alpha: float, sigma: float, s2: float) -> Measured:
        d2, alpha2, sigma2 = self.spread**2, alpha**2, sigma**2
        return measure.solve(residual, d2 * sigma2 / (alpha2 * d2 + sigma2), s2)


@dataclass(frozen=True, kw_only=True)
class Dps(MeasurementLikelihood):
    """Equation (4).

    Attributes:
        weight: w.
    """

    kind: Literal["dps"] = "dps"
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"the weight of a measurement is positive, got {self.weight}")

    def weighed(self, residual: Measured, measure: Measurement, alpha: float, sigma: float, s2: float) -> Measured:
        measured = expand(residual.square().flatten(1).mean(1), residual)
        return self.weight * residual / measured.clamp(min=s2)


AnyLikelihood = PiGdm | Dps
"""The tagged union that requests hold."""


def measured(
    denoise: DenoiseFn,
    y: Measured,
    measure: Measurement,
    schedule: Schedule,
    *,
    likelihood: MeasurementLikelihood,
    noise: float = 0.0,
    decode: Callable[[Tensor], Pictures] | None = None,
) -> DenoiseFn:
    """The denoiser of the data of which ``y`` is a measurement.

    Args:
        denoise: of any model of pictures or latents; it must be differentiable, so clip the result, not this.
        y: (1 or B, C', H', W').
        measure: A.
        noise: s; at least ``SURE`` is taken.
        decode: whitened latents to pictures, differentiable; None where pictures diffuse.
    """
    s2 = max(noise, SURE) ** 2
    if decode is not None and isinstance(likelihood, PiGdm):
        return reconciled(denoise, y, measure, schedule, decode=decode, spread=likelihood.spread, s2=s2)

    def given(x_t: Samples, t: Tensor) -> Samples:
        alpha, sigma = (value.item() for value in schedule(t))
        with torch.enable_grad():
            x = x_t.detach().requires_grad_()
            x0 = denoise(x, t)
            seen = measure(x0 if decode is None else decode(x0))
            weighed = likelihood.weighed((y - seen).detach(), measure, alpha, sigma, s2)
            (gradient,) = torch.autograd.grad((seen * weighed).sum(), x)
        return tweedie(x0.detach(), gradient, t, schedule)

    return given
