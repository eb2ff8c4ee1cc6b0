r"""What data cost: the variational bound of a chain of reverse steps (Ho et al., "DDPM", 2020, sections 2 and 3).

With x_k for x at the times t_1 < ... < t_T of a chain, each step back is the posterior of ``process``, equation (2), at
the denoiser's estimate of x_0, with a variance v of its own. A sample then costs at most, in nats,

.. math:: -\ln p(x_0) \le E_q \Big[ L_T + \sum_{k=2}^T L_{k-1} + L_0 \Big]                                         (1)

where the rate L_T + ... + L_1 is what the noised samples say about the data, and the distortion L_0 is what is left to
say. The prior is what data of unit variance become, N(0, (alpha^2 + sigma^2) I), which is N(0, I) where variance is
preserved: with the noise's share :math:`\nu = \sigma^2 / (\alpha^2 + \sigma^2)` at t_T, per dimension,

.. math:: L_T = \tfrac12 [ (1 - \nu) x_0^2 + \nu - 1 - \ln \nu ].                                                  (2)

For an error e of the estimate, and s and t for t_{k-1} and t_k, each step costs the divergence of two Gaussians,

.. math:: L_{k-1} = \tfrac12 \left[ \ln (v / \tilde\beta) + \tilde\beta / v - 1
          + (\alpha_s \sigma_{ts}^2 / \sigma_t^2)^2 e^2 / v \right]                                                (3)

and what is left is a density, or the probability of one of 256 levels in [-1, 1], whose bins have the width w = 2 / 255
and are open at the ends (equation 13 of the paper; F is the standard law's distribution function):

.. math:: L_0 = \tfrac12 [ \ln 2 \pi v + e^2 / v ]  \quad \text{or} \quad
          L_0 = -\ln [ F((x_0 + w / 2 - \hat x_0) / \sqrt v) - F((x_0 - w / 2 - \hat x_0) / \sqrt v) ].            (4)

The terms differ by many orders of magnitude. A few of them, drawn at random, estimate the sum without bias,

.. math:: \sum_k L_{k-1} = E \Big[ \tfrac1K \sum_{j=1}^K L_{k_j - 1} / p(k_j) \Big],                                (5)

and hardly with noise, if the k_j come from K equal parts of a p that is large where terms are.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.errors import UserError
from carrara.noise.process import Transition, Variance, add_noise, transition
from carrara.noise.schedule import Schedule
from carrara.shapes import Indices, PerSample, Samples, Scalars, expand
from carrara.types import DenoiseFn, NoiseFn

LEVELS = 256
NATS_OF_LEVELS = math.log((LEVELS - 1) / 2)
"""What one of 256 levels in [-1, 1] costs more than a density there, per dimension: ln 127.5."""
CONTINUOUS_STEPS = 1000
"""Steps of a chain on a schedule that has none of its own."""

ReverseVariance = Variance | Callable[[Tensor, Tensor, Transition], Tensor]
"""A reverse step's variance v: by name, or a function of x_t (B, *S), t and the step, whose numbers multiply x_t."""


def bits_per_dim(nats: Scalars, dimensions: int, *, density: bool = False) -> Scalars:
    """Converts the cost of a whole sample to bits per dimension.

    Args:
        density: the cost is that of a density of pixels in [-1, 1], and one of 256 levels costs log2(127.5) more.
    """
    return (nats / dimensions + (NATS_OF_LEVELS if density else 0.0)) / math.log(2)


def prior_kl(schedule: Schedule, second_moment: float = 1.0) -> float:
    """Equation (2) at t = 1: nats per dimension by which x_1 is not noise yet. E x0^2 of the data is ``second_moment``.

    A schedule that leaks more than 1e-4 has too few steps, or too small betas, for samples to start from pure noise.
    """
    square = torch.tensor(second_moment, dtype=torch.float64)
    return _to_prior(*schedule(torch.ones_like(square)), square).item()


def bound_term(schedule: Schedule, s: Scalars, t: Scalars, mse: Scalars, variance: Variance | Tensor) -> Scalars:
    """Equation (3): one term of the bound, in nats per dimension.

    Args:
        s, t: where the step ends and begins, s < t.
        mse: the mean of e^2, the squared error of the x0 estimate at time ``t``.
        variance: v.
    """
    step = transition(schedule, s, t)
    return _divergence(step, mse, step.reverse_variance(variance) if isinstance(variance, str) else variance)


def _to_prior(alpha: Tensor, sigma: Tensor, square: Tensor) -> Tensor:
    """Equation (2) from x0^2."""
    noise = sigma**2 / (alpha**2 + sigma**2)
    return 0.5 * ((1 - noise) * square + noise - 1 - torch.log(noise))


def _divergence(step: Transition, square: Tensor, v: Tensor) -> Tensor:
    """Equation (3) from e^2."""
    tilde = step.posterior_variance
    return 0.5 * (torch.log(v / tilde) + tilde / v - 1 + step.from_x0**2 * square / v)


def level_log_probability(
    x: Samples,
    mean: Samples,
    scale: Tensor,
    *,
    law: Literal["gaussian", "laplace"] = "gaussian",
    levels: int = LEVELS,
) -> Samples:
    """Equation (4): the log-probability of each value's level, in float64, accurate however far the mean is.

    Args:
        x: data in [-1, 1], rounded to the nearest of ``levels`` equally spaced values.
        mean: the law's.
        scale: the Gaussian's standard deviation, or the Laplace law's mean absolute deviation; broadcasts.
    """
    log_cdf = torch.special.log_ndtr if law == "gaussian" else _laplace_log_cdf
    k = torch.round((x.double() + 1) * ((levels - 1) / 2)).clamp(0, levels - 1)
    off = k * (2 / (levels - 1)) - 1 - mean.double()
    high, low = ((off + edge) / scale.double() for edge in (1 / (levels - 1), -1 / (levels - 1)))
    above = high + low > 0  # both tails are alike, and in the lower one the difference does not cancel
    near, far = torch.where(above, -low, high), torch.where(above, -high, low)
    log_near = log_cdf(near)
    inside = log_near + torch.log(-torch.expm1(log_cdf(far) - log_near))
    return torch.where(k == 0, log_cdf(high), torch.where(k == levels - 1, log_cdf(-low), inside))


def _laplace_log_cdf(z: Tensor) -> Tensor:
    return torch.where(z < 0, z - math.log(2), torch.log1p(-0.5 * torch.exp(-z.abs())))


def chain_times(schedule: Schedule, steps: int | None = None) -> Float[Tensor, "T"]:
    """The times t_1 ... t_T = 1 of a chain, in float64.

    Args:
        steps: T; None is all of a discrete schedule's, and 1000 of a continuous one. Fewer than all are spread evenly.

    Raises:
        UserError: fewer than two steps, or more than the schedule has.
    """
    own = schedule.discrete_steps
    count = steps or own or CONTINUOUS_STEPS
    if count < 2 or (own and count > own):
        most = f" and, as the schedule has no more, at most {own}" if own else ""
        raise UserError(f"a chain has at least 2 steps{most}, not {count}: choose another number of steps")
    t = torch.linspace(0, 1, count + 1, dtype=torch.float64)[1:]
    return torch.round(t * own) / own if own else t


@dataclass(frozen=True)
class Bound:
    """Equation (1), one draw of the noise, for each sample in nats.

    Attributes:
        prior: (B,) L_T.
        terms: (B, T) L_0 to L_{T-1}; of a chain that was sampled, unbiased estimates, most of them 0.
        mse: (B,) the squared error per dimension of the x0 estimate at t_1.
    """

    prior: PerSample
    terms: Float[Tensor, "B T"]
    mse: PerSample

    @property
    def rate(self) -> PerSample:
        """L_1 + ... + L_T: what the noised samples say about the data."""
        return self.prior + self.terms[:, 1:].sum(1)

    @property
    def distortion(self) -> PerSample:
        """L_0: what is left to say about the data."""
        return self.terms[:, 0]

    @property
    def total(self) -> PerSample:
        """The bound."""
        return self.rate + self.distortion

    @property
    def rmse(self) -> PerSample:
        """The distortion as the error of pixels, in 0..255 (section 4.3 of the paper)."""
        return 127.5 * self.mse.sqrt()


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """A chain of reverse steps. With gradients, its terms can be trained on.

    Attributes:
        schedule: what the denoiser was trained for.
        times: (T,) t_1 ... t_T, float64 on the CPU, increasing; see ``chain_times``.
        variance: v of equation (3). In (4) ``beta`` is sigma^2 at t_1, and ``beta_tilde`` that of the step before,
            because the last one's is 0.
        levels: of the data in [-1, 1]; None is a density.

    Raises:
        ValueError: the times are no chain.
    """

    schedule: Schedule
    times: Float[Tensor, "T"]
    variance: ReverseVariance = "beta"
    levels: int | None = LEVELS

    def __post_init__(self) -> None:
        if len(self.times) < 2 or not bool((self.times.diff() > 0).all()) or self.times[0] <= 0:
            raise ValueError("a chain has two times or more, each later than the one before, and the first above 0")

    def prior(self, x0: Samples) -> PerSample:
        """L_T, equation (2), in nats."""
        alpha, sigma = (numbers[-1].to(x0.device) for numbers in self._coefficients)
        return _summed(_to_prior(alpha, sigma, x0.double().square()))

    def term(self, denoise: DenoiseFn, x0: Samples, k: int | Indices, eps: Samples) -> PerSample:
        """L_{k-1}, equation (3), in nats.

        Args:
            k: from 2 to T, one for all samples or one for each.
            eps: the noise in x_k.
        """
        estimate, step, v = self._look(denoise, x0, k, eps)
        return _summed(_divergence(step, (estimate - x0.double()).square(), v))

    def decoder(self, denoise: DenoiseFn, x0: Samples, eps: Samples) -> tuple[PerSample, PerSample]:
        """L_0, equation (4), in nats, and the mean of e^2.

        Args:
            eps: the noise in x_1.
        """
        estimate, _, v = self._look(denoise, x0, 1, eps)
        return self._left(x0, estimate, v), (estimate - x0.double()).square().flatten(1).mean(1)

    def cost(self, denoise: DenoiseFn, x0: Samples, k: Indices, eps: Samples) -> PerSample:
        """L_{k-1} for each sample's own k, from 1 on: ``term`` or ``decoder`` in one evaluation."""
        estimate, step, v = self._look(denoise, x0, k, eps)
        later = _summed(_divergence(step, (estimate - x0.double()).square(), v))
        return torch.where(k == 1, self._left(x0, estimate, v), later)

    def choose(self, u: Float[Tensor, "B K"]) -> tuple[Tensor, Tensor]:
        """Steps k_j (B, K) from 2 to T, and their p(k_j), from uniform numbers: equation (5).

        Half of p is uniform; the other half is as the terms would be if the data were Gaussian, of unit variance.
        """
        p = self._choice.to(u.device)
        place = (torch.arange(u.shape[1], device=u.device) + u.double()) / u.shape[1]
        index = torch.searchsorted(p.cumsum(0), place).clamp(max=len(p) - 1)
        return index + 2, p[index]

    def _left(self, x0: Samples, estimate: Samples, v: Tensor) -> PerSample:
        """Equation (4)."""
        if self.levels is None:
            return _summed(0.5 * (torch.log(2 * math.pi * v) + (estimate - x0.double()).square() / v))
        return -_summed(level_log_probability(x0, estimate, v.sqrt(), levels=self.levels))

    def _look(
        self, denoise: DenoiseFn, x0: Samples, k: int | Indices, eps: Samples
    ) -> tuple[Tensor, Transition, Tensor]:
        """The estimate of x0 at t_k, in float64, and the step from there with its v."""

        def now(numbers: Tensor) -> Tensor:
            return numbers.to(x0.device)[k - 1]

        alpha, sigma = (now(numbers).to(x0.dtype) for numbers in self._coefficients)
        x_t, t = add_noise(x0, eps, alpha, sigma), now(self.times)
        step = self._steps.map(lambda numbers: expand(now(numbers), x0))
        kind = self.variance
        v = kind(x_t, t, step).double() if callable(kind) else step.reverse_variance(kind)
        return denoise(x_t, t).double(), step, v

    @cached_property
    def _coefficients(self) -> tuple[Tensor, Tensor]:
        return self.schedule(self.times)

    @cached_property
    def _steps(self) -> Transition:
        """The step down from each time; the first one ends at clean data."""
        later = transition(self.schedule, self.times[:-1], self.times[1:])
        alpha, sigma = (numbers[0] for numbers in self._coefficients)
        first = Transition(
            scale=alpha,
            variance=sigma**2,
            from_x_t=torch.zeros_like(alpha),
            from_x0=torch.ones_like(alpha),
            posterior_variance=later.posterior_variance[0],
        )
        return Transition(
            **{f.name: torch.cat([getattr(first, f.name)[None], getattr(later, f.name)]) for f in fields(first)}
        )

    @cached_property
    def _choice(self) -> Tensor:
        """p(k) for k from 2 to T."""
        alpha, sigma = self._coefficients
        v = self._steps.reverse_variance("beta" if callable(self.variance) else self.variance)
        expected = _divergence(self._steps, sigma**2 / (alpha**2 + sigma**2), v)[1:].clamp(min=0)
        return 0.5 * (expected / expected.sum() + 1 / len(expected))


def _summed(nats: Tensor) -> PerSample:
    return nats.flatten(1).sum(1)


@torch.no_grad()
def variational_bound(chain: Chain, denoise: DenoiseFn, x0: Samples, noise: NoiseFn) -> Bound:
    """Equation (1), term by term: T evaluations, in memory for one.

    Args:
        x0: (B, *S).
        noise: k -> the noise in x_k.
    """
    first, mse = chain.decoder(denoise, x0, noise(1))
    later = [chain.term(denoise, x0, k, noise(k)) for k in range(2, len(chain.times) + 1)]
    return Bound(chain.prior(x0), torch.stack([first, *later], dim=1), mse)


@torch.no_grad()
def estimated_bound(chain: Chain, denoise: DenoiseFn, x0: Samples, noise: NoiseFn, u: Float[Tensor, "B K"]) -> Bound:
    """Equation (1) by K + 1 evaluations: without bias, by equation (5). L_T and L_0 are as in ``variational_bound``.

    Args:
        x0: (B, *S).
        noise: j -> the noise of the j-th evaluation; the first one is that of L_0.
        u: uniform in (0, 1).
    """
    first, mse = chain.decoder(denoise, x0, noise(1))
    terms = first.new_zeros(len(x0), len(chain.times))
    terms[:, 0] = first
    for j, (k, p) in enumerate(zip(*(chosen.unbind(1) for chosen in chain.choose(u)), strict=True), start=2):
        nats = chain.term(denoise, x0, k, noise(j)) / (u.shape[1] * p)
        terms.scatter_add_(1, k[:, None] - 1, nats[:, None])
    return Bound(chain.prior(x0), terms, mse)
