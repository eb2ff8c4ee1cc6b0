r"""The samplers that look at one step at a time. ``base`` has equations (1) to (3).

In the frame x / alpha the noise has standard deviation :math:`\varsigma = \sigma / \alpha`; the probability flow is

.. math:: \frac{d (x / \alpha)}{d \varsigma} = \hat\epsilon = \frac{x - \alpha \hat x_0}{\sigma}                  (4)

for every schedule (Karras et al., "EDM", 2022, section 3). Euler's method for it, times alpha_s,

.. math:: x_s = \alpha_s \left( \frac{x_t}{\alpha_t} + (\varsigma_s - \varsigma_t) \hat\epsilon \right)
              = \alpha_s \hat x_0 + \sigma_s \hat\epsilon,                                                        (5)

is (2) with :math:`\bar x_0 = \hat x_0`: Euler, DDIM at eta = 0 and first-order DPM-Solver++ are one method.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import torch
from torch import Tensor

from carrara.kinds import INFINITE
from carrara.noise import Schedule, Variance
from carrara.sample.base import Sampler, SampleStep, Step, Times, levels, walk
from carrara.shapes import Samples
from carrara.types import DenoiseFn, NoiseFn


@dataclass(frozen=True, kw_only=True)
class Ddpm(Sampler):
    """Ancestral sampling (Ho et al., "Denoising Diffusion Probabilistic Models", 2020, algorithm 2).

    Attributes:
        variance: ``beta_tilde`` is the posterior's variance, right if the data were one point; ``beta`` is the forward
            step's, right if the data had unit variance, and its last step adds none.
    """

    kind: Literal["ddpm"] = "ddpm"
    variance: Variance = "beta_tilde"

    def steps(
        self, denoise: DenoiseFn, x: Samples, times: Times, schedule: Schedule, noise: NoiseFn
    ) -> Iterator[SampleStep]:
        for step in walk(times, schedule):
            x0 = denoise(x, step.now(x))
            x = step.add(step.mean(x, x0, eta=1.0), self._std(step), noise)
            yield step.done(x, x0)

    def _std(self, step: Step) -> float:
        if self.variance == "beta_tilde":
            return step.std()
        return step.t.sigma * math.sqrt(1 - step.r**2) if step.s.t > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Ddim(Sampler):
    """Equation (3) (Song et al., "Denoising Diffusion Implicit Models", 2021).

    Attributes:
        eta: 0 is deterministic, and reversible; 1 is ``Ddpm`` with the variance beta_tilde.
    """

    kind: Literal["ddim"] = "ddim"
    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta goes from 0 (deterministic) to 1 (ancestral), got {self.eta}")

    def steps(
        self, denoise: DenoiseFn, x: Samples, times: Times, schedule: Schedule, noise: NoiseFn
    ) -> Iterator[SampleStep]:
        for step in walk(times, schedule):
            x0 = denoise(x, step.now(x))
            x = step.add(step.mean(x, x0, self.eta), step.std(self.eta), noise)
            yield step.done(x, x0)


@dataclass(frozen=True, kw_only=True)
class Euler(Sampler):
    """Equation (5): Euler's method in the frame x / alpha, which is DDIM at eta = 0."""

    kind: Literal["euler"] = "euler"

    def steps(
        self, denoise: DenoiseFn, x: Samples, times: Times, schedule: Schedule, noise: NoiseFn
    ) -> Iterator[SampleStep]:
        return Ddim(eta=0.0).steps(denoise, x, times, schedule, noise)


@dataclass(frozen=True, kw_only=True)
class EulerAncestral(Sampler):
    """Euler to a level below s, then fresh noise up to s, in the frame x / alpha.

    The noise's standard deviation there is eta s (1 - s^2 / t^2)^(1/2), with s and t for the two ratios sigma / alpha.
    As s / t is equation (1)'s r, this is DDIM with the same eta, under the name people look for.
    """

    kind: Literal["euler_a"] = "euler_a"
    eta: float = 1.0

    def __post_init__(self) -> None:
        Ddim(eta=self.eta)

    def steps(
        self, denoise: DenoiseFn, x: Samples, times: Times, schedule: Schedule, noise: NoiseFn
    ) -> Iterator[SampleStep]:
        return Ddim(eta=self.eta).steps(denoise, x, times, schedule, noise)


@dataclass(frozen=True, kw_only=True)
class Heun(Sampler):
    r"""Heun's second-order method for equation (4), with optional churn (Karras et al., 2022, algorithm 2).

    The corrected step averages the slopes at both ends. As :math:`\hat\epsilon` at the end of an Euler step differs
    from that at its start by :math:`\alpha_s (\hat x_0^t - \hat x_0^s) / \sigma_s`, it is

    .. math:: x_s = x_s^{Euler} + \tfrac12 \alpha_s (1 / r - 1) (\hat x_0^s - \hat x_0^t).                        (6)

    Two evaluations a step, but one where h is infinite. Ratios 1 / r much above 10 make (6) overshoot: use the Karras
    grid.

    Attributes:
        churn: S_churn, fresh noise per run; 0 is deterministic.
        churn_min, churn_max: the noise-to-signal ratios between which churn is on; ``inf`` has no upper end.
        noise_scale: S_noise, the fresh noise's standard deviation.
    """

    kind: Literal["heun"] = "heun"
    churn: float = 0.0
    churn_min: float = 0.0
    churn_max: Annotated[float, INFINITE] = field(default=math.inf, metadata={"unlimited": True})
    noise_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.churn < 0 or self.noise_scale < 0:
            raise ValueError(f"churn and noise_scale are not negative, got {self.churn} and {self.noise_scale}")
        if not self.churn_min <= self.churn_max:
            raise ValueError(f"churn_min is at most churn_max, got {self.churn_min} and {self.churn_max}")

    def steps(
        self, denoise: DenoiseFn, x: Samples, times: Times, schedule: Schedule, noise: NoiseFn
    ) -> Iterator[SampleStep]:
        for step in walk(times, schedule):
            x, step = self._churned(x, step, schedule, noise)
            x0 = denoise(x, step.now(x))
            x = step.mean(x, x0)
            if step.r > 0:
                x0_t, x0 = x0, denoise(x, x.new_tensor(step.s.t))
                x = x + 0.5 * step.s.alpha * (1 / step.r - 1) * (x0 - x0_t)
            yield step.done(x, x0)

    def _churned(self, x: Tensor, step: Step, schedule: Schedule, noise: NoiseFn) -> tuple[Tensor, Step]:
        """Moves up to a noisier level, at most to t = 1, by the forward process."""
        old, gamma = step.t, min(self.churn / step.total, math.sqrt(2) - 1)
        if gamma == 0 or not self.churn_min <= old.noise_to_signal <= self.churn_max or old.alpha == 0:
            return x, step
        wanted = torch.tensor([old.half_logsnr - math.log1p(gamma)], dtype=torch.float64)
        [new] = levels(schedule.time_of(wanted), schedule)
        scale = new.alpha / old.alpha
        std = math.sqrt(max(new.sigma**2 - (scale * old.sigma) ** 2, 0.0))
        return step.add(scale * x, self.noise_scale * std, noise), replace(step, t=new)
