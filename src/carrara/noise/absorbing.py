r"""Absorbing diffusion: states in the place of numbers, and a mask in the place of noise.

A sample has N values, channels times places, each in one of K states. A state is written one-hot, so that states
(C, \*N) are an array (C K, \*N) of C groups. In the forward process each value is masked, all zeros, by itself,

.. math:: q(x_t^i = x_0^i) = \alpha(t), \qquad q(x_t^i = 0) = 1 - \alpha(t)                                       (1)

(Austin et al., "Structured Denoising Diffusion Models in Discrete State-Spaces", 2021, the absorbing state). What is
seen never changes. Backwards, from t to an earlier s, a masked value is revealed with the probability

.. math:: \frac{\alpha_s - \alpha_t}{1 - \alpha_t},                                                              (2)

and its state is drawn from the estimate of :math:`p(x_0^i | x_t)`. With continuous time the evidence bound is

.. math:: -\ln p(x_0) \le \int_0^1 \frac{-\alpha'(t)}{1 - \alpha(t)} \,
          E \sum_{i \text{ masked}} -\ln p(x_0^i | x_t) \, dt                                                    (3)

(Shi et al., "Simplified and Generalized Masked Diffusion for Discrete Data", 2024; Sahoo et al., "Simple and Effective
Masked Diffusion Language Models", 2024). Given how many values are masked, every set of so many is as likely, and
:math:`p(x_0^i | x_t)` is a function of what is seen, whatever the time (Ou et al., "Your Absorbing Discrete Diffusion
Secretly Models the Conditional Distributions of Clean Data", 2025). So the estimates here are functions of x_t alone,
and time can be integrated out of (3): n of N values are masked with a binomial probability, and

.. math:: \int_0^1 \frac{1}{1 - \alpha} \binom{N}{n} (1 - \alpha)^n \alpha^{N - n} \, d\alpha = \frac{1}{n}

gives the bound of order-agnostic models (Uria et al., "A Deep and Tractable Density Estimator", 2014; Hoogeboom et al.,
"Autoregressive Diffusion Models", 2022), for any schedule from alpha = 1 to alpha = 0,

.. math:: -\ln p(x_0) \le N \, E_{n \sim U\{1 .. N\}} \, E_{|M| = n} \,
          \frac{1}{n} \sum_{i \in M} -\ln p(x_0^i | x_{\text{not } M}).                                          (4)

It is the mean over all orders of what the values cost that are revealed one by one, and exact where the estimates are.
A draw of (4) has no weight 1 / (1 - alpha), which is large near the data, and so varies less than one of (3).
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from carrara.noise.schedule import Schedule
from carrara.shapes import PerSample

LogProbabilities = Callable[[Tensor], Tensor]
"""``x_t (B, C K, *N) -> ln p(x0 | x_t) (B, C K, *N)``, normalised over each group of K."""
States = Float[Tensor, "B CK *N"]
"""One-hot states, zeros where they are masked; or their probabilities."""
Values = Bool[Tensor, "B C *N"]
"""Something about each value."""
TOLERANCE = 1e-6
"""Of alpha and sigma, which add up to 1."""


def masks(schedule: Schedule) -> bool:
    """Whether alpha and sigma are the probabilities of equation (1): they add up to 1, and alpha ends at 0."""
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    alpha, sigma = schedule(t)
    return bool(((alpha + sigma - 1).abs() < TOLERANCE).all()) and alpha[-1].item() < TOLERANCE


def one_hot(states: Int[Tensor, "B C *N"], count: int) -> States:
    """States (B, C, *N) of ``count`` as float32 (B, C K, *N)."""
    made = torch.zeros(*states.shape[:2], count, *states.shape[2:], device=states.device)
    return made.scatter_(2, states[:, :, None], 1.0).flatten(1, 2)


def grouped(z: States, channels: int) -> Tensor:
    """(B, C K, *N) as (B, C, K, *N)."""
    return z.unflatten(1, (channels, -1))


def channels_of(z: States) -> int:
    """C of one-hot states or of probabilities (B, C K, *N): the numbers of a group add up to 1, so those of a place add
    up to C."""
    channels = round(z[0].flatten(1)[:, 0].double().sum().item())
    assert channels > 0 and z.shape[1] % channels == 0, "these are no probabilities of states"
    return channels


def seen_in(x_t: States, channels: int) -> Values:
    """Which values are not masked."""
    return grouped(x_t, channels).sum(2) > 0


def masked_except(z: States, seen: Values) -> States:
    """The states (B, C K, *N) where they are ``seen``, and masks elsewhere."""
    return (grouped(z, seen.shape[1]) * seen[:, :, None]).flatten(1, 2)


def chosen(u: Float[Tensor, "B C *N"], count: Int[Tensor, "B"]) -> Values:
    """So many values of each sample, by the order of uniform numbers (B, C, *N)."""
    ranks = u.flatten(1).argsort(stable=True, dim=1).argsort(dim=1)
    return (ranks < count[:, None]).reshape(u.shape)


def level_of_seen(seen: Values) -> PerSample:
    """What a network is told in the place of the half log-SNR ln(alpha / sigma): the same of the share of values that
    are seen, with half a value more on either side, (B,)."""
    share = seen.flatten(1).float()
    there = share.sum(1)
    return torch.log((there + 0.5) / (share.shape[1] - there + 0.5))


def order_cost(
    estimate: LogProbabilities, z: States, channels: int, u: PerSample, order: Float[Tensor, "B C *N"]
) -> PerSample:
    """An unbiased estimate of equation (4) in nats, (B,), differentiable.

    Args:
        z: (B, C K, *N) the data, one-hot.
        u: in (0, 1), which says n: uniform, or any numbers that are spread so.
        order: (B, C, *N) uniform, which says what is masked.
    """
    total = order[0].numel()
    count = (u.double() * total).long().clamp(max=total - 1) + 1
    hidden = chosen(order, count)
    log_p = grouped(estimate(masked_except(z, ~hidden)), channels)
    own = log_p.gather(2, grouped(z, channels).argmax(2, keepdim=True))[:, :, 0]
    nats = -torch.where(hidden, own, 0.0).flatten(1).double().sum(1)
    return nats * total / count
