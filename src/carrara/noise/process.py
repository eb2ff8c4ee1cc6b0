r"""The forward process, in closed form and step by step, and its exact reversal.

For s < t the process is Markov with transition

.. math:: q(x_t | x_s) = N(\alpha_{ts} x_s, \sigma_{ts}^2 I), \quad \alpha_{ts} = \alpha_t / \alpha_s, \quad
          \sigma_{ts}^2 = \sigma_t^2 - \alpha_{ts}^2 \sigma_s^2                                                   (1)

and, the data being known, the posterior

.. math:: q(x_s | x_t, x_0) = N\left( \frac{\alpha_{ts} \sigma_s^2}{\sigma_t^2} x_t
          + \frac{\alpha_s \sigma_{ts}^2}{\sigma_t^2} x_0, \; \tilde\beta I \right), \quad
          \tilde\beta = \sigma_{ts}^2 \sigma_s^2 / \sigma_t^2.                                                    (2)

For adjacent steps of a discrete schedule sigma_ts^2 is beta, and (2) is Ho et al. (2020), equations 6 and 7. What the
reversal costs in nats is in ``bound``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Literal

from torch import Tensor

from carrara.noise.schedule import Schedule
from carrara.shapes import Samples, Scalars, expand
from carrara.types import NoiseFn

Variance = Literal["beta", "beta_tilde"]
"""The reverse step's variance: the forward step's sigma_ts^2 (right for unit-variance data), or the posterior's."""


def add_noise(x0: Samples, eps: Samples, alpha: Scalars, sigma: Scalars) -> Samples:
    """The closed form: x_t = alpha x0 + sigma eps, for one alpha and sigma or one per sample."""
    return expand(alpha, x0) * x0 + expand(sigma, eps) * eps


@dataclass(frozen=True, kw_only=True)
class Transition:
    """Equations (1) and (2) between two times; each number in the shape of the times.

    Attributes:
        scale, variance: alpha_ts and sigma_ts^2.
        from_x_t, from_x0: the posterior mean's coefficients of x_t and x0.
        posterior_variance: beta-tilde.
    """

    scale: Tensor
    variance: Tensor
    from_x_t: Tensor
    from_x0: Tensor
    posterior_variance: Tensor

    def reverse_variance(self, kind: Variance) -> Tensor:
        """The variance that an ancestral step adds."""
        return self.variance if kind == "beta" else self.posterior_variance

    def map(self, of: Callable[[Tensor], Tensor]) -> "Transition":
        """The same with each number changed: other shapes, or some of the times."""
        return Transition(**{f.name: of(getattr(self, f.name)) for f in fields(self)})


def transition(schedule: Schedule, s: Scalars, t: Scalars) -> Transition:
    """The step from ``s`` to the later ``t`` and back, in float64; shapes broadcast.

    Raises:
        ValueError: some ``s`` is not before its ``t``.
    """
    if not bool((s < t).all()):
        raise ValueError("a transition goes from s to a later t")
    alpha_s, sigma_s = schedule(s.double())
    alpha_t, sigma_t = schedule(t.double())
    scale = alpha_t / alpha_s
    variance = sigma_t**2 - (scale * sigma_s) ** 2
    return Transition(
        scale=scale,
        variance=variance,
        from_x_t=scale * sigma_s**2 / sigma_t**2,
        from_x0=alpha_s * variance / sigma_t**2,
        posterior_variance=variance * sigma_s**2 / sigma_t**2,
    )


def noising(x0: Samples, times: Tensor, schedule: Schedule, noise: NoiseFn) -> Iterator[Samples]:
    """Noises step by step, as the Markov chain of equation (1) does.

    Args:
        x0: ``(B, *S)`` data.
        times: ``(n + 1,)`` float64, increasing.
        noise: fresh noise for step k.

    Yields:
        x at ``times[0]`` (by the closed form), ``times[1]``, ..., n + 1 arrays ``(B, *S)``.
    """
    x = add_noise(x0, noise(0), *schedule(times[0].to(x0.dtype)))
    yield x
    for k, (s, t) in enumerate(pairwise(times), start=1):
        step = transition(schedule, s, t)
        x = step.scale.to(x.dtype) * x + step.variance.sqrt().to(x.dtype) * noise(k)
        yield x
