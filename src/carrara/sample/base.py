r"""From noise to data: what a sampler is, and the step that every sampler is made of.

A sampler walks down a grid of times from noise to data. Between t and the earlier s < t, with the half log-SNR
:math:`\lambda = \ln(\alpha / \sigma)`, write

.. math:: h = \lambda_s - \lambda_t > 0, \qquad
          r = e^{-h} = \frac{\alpha_t \sigma_s}{\alpha_s \sigma_t} \in [0, 1).                                    (1)

The probability flow (Song et al., "Score-Based Generative Modeling through SDEs", 2021) is solved by

.. math:: x_s = \frac{\sigma_s}{\sigma_t} x_t + \alpha_s (1 - r) \bar x_0,                                        (2)

exactly, if :math:`\bar x_0` is the mean of the denoiser's :math:`\hat x_0` over the step, weighted by :math:`e^\lambda`
(Lu et al., "DPM-Solver++", 2022, equation 8): samplers differ in how they estimate it. The same step with fresh noise,

.. math:: x_s = k x_t + (\alpha_s - k \alpha_t) \bar x_0 + \eta \, \sigma_s \sqrt{1 - r^2} \, \epsilon, \qquad
          k = \frac{\sigma_s}{\sigma_t} \sqrt{1 - \eta^2 (1 - r^2)},                                              (3)

keeps the marginal law for every :math:`\eta` in [0, 1] (Song et al., "DDIM", 2021, equation 12). It is (2) at
:math:`\eta = 0` and a draw from the posterior :math:`q(x_s | x_t, x_0 = \bar x_0)` at :math:`\eta = 1`.

From alpha = 0 (pure noise) and to sigma = 0 (data) h is infinite and r exactly 0: (2) and (3) stay finite, and what
compares h with another step's is first order there. With s > t equation (2) goes up, from data to noise; at sigma = 0
the expected noise is 0, which leaves :math:`x_s = (\alpha_s / \alpha_t) x_t`.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.noise import Schedule, add_noise
from carrara.sample.guidance import Method, Rule
from carrara.seeds import Draws
from carrara.shapes import Samples
from carrara.types import DenoiseFn, NoiseFn

Times = Float[Tensor, "N"]
"""A grid of n + 1 times, float64: decreasing, or increasing for a deterministic sampler that encodes."""


@dataclass(frozen=True, kw_only=True)
class SampleStep:
    """Where a sampler is.

    Attributes:
        index: the step just made, 0 ... total - 1.
        total: how many steps there will be.
        t: the time that ``x`` has now; 0 after the last step.
        x: ``(B, *S)``, the state.
        x0: ``(B, *S)``, the denoiser's last estimate: the preview.
    """

    index: int
    total: int
    t: float
    x: Samples
    x0: Samples


@dataclass(frozen=True, kw_only=True)
class Sampler(ABC):
    """A way from noise to data. Frozen and stateless: memory of earlier steps lives in the generator that ``steps`` is,
    so that one object serves any number of requests at once.

    Attributes:
        masks: whether it comes from masks, for models of levels, and not from Gaussian noise.
    """

    kind: str
    masks: ClassVar[bool] = False

    def initial(self, draws: Draws, shape: Sequence[int], schedule: Schedule, t: float = 1.0) -> Tensor:
        """The state (B, *shape) from which sampling begins at time ``t``: sigma(t) eps, float32."""
        return initial(draws, shape, schedule, t)

    def noised(self, draws: Draws, z: Samples, schedule: Schedule, t: Tensor) -> Samples:
        """Data (B, *S) as the forward process leaves them at a time ()."""
        eps = draws.normal("initial noise", *z.shape[1:])
        return add_noise(z, eps, *(value.float() for value in schedule(t)))

    def rule(self, method: Method, schedule: Schedule) -> Rule:
        """How a method of guidance acts on what this sampler is given; errors where it does not."""
        return method.rule(schedule)

    @abstractmethod
    def steps(
        self, denoise: DenoiseFn, x: Samples, times: Times, schedule: Schedule, noise: NoiseFn
    ) -> Iterator[SampleStep]:
        """Goes down the grid, one ``SampleStep`` per interval; the last one holds the sample.

        Args:
            denoise: ``(x_t, t ()) -> E[x0 | x_t]``, called about once a step, by Heun twice.
            x: the state at ``times[0]``, usually ``initial(...)``. Arithmetic is in its type and on its device.
            times: where the steps begin and end, usually from a ``TimeGrid``.
            noise: step index -> fresh noise like ``x``; deterministic samplers never call it.
        """


@dataclass(frozen=True, kw_only=True)
class Level:
    """One point of the grid: alpha and sigma at time t."""

    t: float
    alpha: float
    sigma: float

    @property
    def half_logsnr(self) -> float:
        if self.alpha == 0:
            return -math.inf
        return math.log(self.alpha / self.sigma) if self.sigma > 0 else math.inf

    @property
    def noise_to_signal(self) -> float:
        """sigma / alpha: the sigma of the frame x / alpha, in which EDM and k-diffusion write their samplers."""
        return self.sigma / self.alpha if self.alpha > 0 else math.inf

    def eps(self, x: Tensor, x0: Tensor) -> Tensor:
        """The noise in ``x``, if ``x0`` is its data; expected to be 0 in clean data."""
        return (x - self.alpha * x0) / self.sigma if self.sigma > 0 else torch.zeros_like(x)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One interval of the grid, from level ``t`` down to level ``s``: the scalars of equations (1) to (3)."""

    index: int
    total: int
    t: Level
    s: Level

    @property
    def h(self) -> float:
        return self.s.half_logsnr - self.t.half_logsnr

    @property
    def r(self) -> float:
        below = self.s.alpha * self.t.sigma
        return self.t.alpha * self.s.sigma / below if below > 0 else math.inf

    def now(self, x: Tensor) -> Tensor:
        """The time t as the denoiser takes it, like ``x``."""
        return x.new_tensor(self.t.t)

    def mean(self, x: Tensor, x0: Tensor, eta: float = 0.0) -> Tensor:
        """Equation (3) without its noise; equation (2) by default."""
        if self.t.sigma == 0:
            return self.s.alpha / self.t.alpha * x
        k = self.s.sigma / self.t.sigma
        if eta > 0:
            k *= math.sqrt(1 - eta**2 + (eta * self.r) ** 2)
        return k * x + (self.s.alpha - k * self.t.alpha) * x0

    def std(self, eta: float = 1.0) -> float:
        """The standard deviation of equation (3)'s noise: 0 if s is clean data."""
        return eta * self.s.sigma * math.sqrt(1 - self.r**2) if eta > 0 else 0.0

    def add(self, mean: Tensor, std: float, noise: NoiseFn) -> Tensor:
        """Adds this step's noise, which is not even drawn if there is none to add."""
        return mean + std * noise(self.index) if std > 0 else mean

    def done(self, x: Tensor, x0: Tensor) -> SampleStep:
        """What the sampler reports when it has arrived at level s."""
        return SampleStep(index=self.index, total=self.total, t=self.s.t, x=x, x0=x0)


def initial(draws: Draws, shape: Sequence[int], schedule: Schedule, t: float = 1.0) -> Tensor:
    """Returns ``(B, *shape)`` float32: sigma(t) eps, the state from which sampling begins at time ``t``."""
    _, sigma = schedule(torch.tensor(t, dtype=torch.float64))
    return sigma.item() * draws.normal("initial noise", *shape)


def levels(times: Times, schedule: Schedule) -> list[Level]:
    """The schedule at each time, evaluated in float64."""
    times = times.double().cpu()
    alpha, sigma = schedule(times)
    rows = zip(times.tolist(), alpha.tolist(), sigma.tolist(), strict=True)
    return [Level(t=t, alpha=a, sigma=s) for t, a, s in rows]


def walk(times: Times, schedule: Schedule) -> Iterator[Step]:
    """The steps of a grid."""
    difference = times.diff()
    assert len(times) > 1 and bool((difference < 0).all() or (difference > 0).all()), "a grid is monotone"
    for index, (t, s) in enumerate(pairwise(levels(times, schedule))):
        yield Step(index=index, total=len(times) - 1, t=t, s=s)


def last(steps: Iterator[SampleStep]) -> SampleStep:
    """Runs a sampler to its end."""
    return deque(steps, maxlen=1).pop()
