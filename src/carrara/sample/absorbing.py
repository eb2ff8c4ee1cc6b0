r"""From masks to states: the reverse process of ``noise.absorbing``.

From t to s a masked value is revealed with the probability of equation (2) there, in a state drawn from the estimate
p. Both are drawn by one race of exponential clocks: with Gumbel numbers g,

.. math:: k = \arg\max_j (\ln p_j + g_j), \qquad M = \max_j (\ln p_j + g_j),                                       (1)

k has the law p, and M is again a Gumbel number that says nothing about k. So the value is revealed where
:math:`e^{-e^{-M}}`, which is uniform, is below the probability. Gumbel numbers come from a sampler's normal ones,
:math:`g = -\ln(-\ln \Phi(\epsilon))`. Values that are revealed within one step do not know of each other: the fewer in
a step, the more exact.

What was revealed early knew little, and stays. With remasking (Wang et al., "Remasking Discrete Diffusion Models with
Inference-Time Scaling", 2025) a value that is seen is masked again with the probability

.. math:: \rho_t = \min(\rho, \, (1 - \alpha_s) / \alpha_t),                                                    (2)

and a masked one revealed with :math:`(\alpha_s - (1 - \rho_t) \alpha_t) / (1 - \alpha_t)`, so that the share of what is
seen is alpha as before, and an exact estimate draws from the same law.

Guidance is by products, which stay probabilities (Schiff et al., "Simple Guidance Mechanisms for Discrete Diffusion
Models", 2025):

.. math:: p \propto p_{null} \, (p_{cond} / p_{null})^w.                                                          (3)

What is known of a sample is seen from the beginning. As estimates depend on what is seen alone, the rest is then drawn
from the conditional law: inpainting is sampling, and no more than that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from carrara.errors import UserError
from carrara.noise import Schedule
from carrara.noise.absorbing import States, channels_of, grouped, masked_except, seen_in
from carrara.sample.base import Sampler, SampleStep, Times, walk
from carrara.sample.guidance import Method, Rule
from carrara.seeds import Draws
from carrara.shapes import Samples
from carrara.types import DenoiseFn, NoiseFn

LEAST = 1e-30
"""Probabilities are at least that in equation (3), where they are divided."""


@dataclass(frozen=True, kw_only=True)
class Absorbing(Sampler):
    """Reveals masked values, equation (1): for models of levels.

    Attributes:
        remask: rho of equation (2). With more of it each value is drawn several times, ever closer to the end, which
            mends what did not fit, and takes more steps.
    """

    kind: Literal["absorbing"] = "absorbing"
    remask: float = 0.0
    masks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.remask <= 1:
            raise ValueError(f"remask is a probability, from 0 to 1, and is {self.remask}")

    def initial(self, draws: Draws, shape: Sequence[int], schedule: Schedule, t: float = 1.0) -> Tensor:
        """All masked, whatever the time."""
        return torch.zeros(len(draws.samples), *shape, device=draws.samples.device)

    def noised(self, draws: Draws, z: Samples, schedule: Schedule, t: Tensor) -> Samples:
        channels, alpha = channels_of(z), schedule(t)[0].item()
        return masked_except(z, draws.uniform("initial masks", channels, *z.shape[2:]) < alpha)

    def rule(self, method: Method, schedule: Schedule) -> Rule:
        if method.kind != "cfg":
            raise UserError(f"guidance of levels is a product of probabilities, which '{method.kind}' is not: take cfg")
        return product

    def steps(
        self, denoise: DenoiseFn, x: Samples, times: Times, schedule: Schedule, noise: NoiseFn
    ) -> Iterator[SampleStep]:
        return _walked(denoise, x, times, schedule, noise, self.remask, torch.tensor(True, device=x.device))


@dataclass(frozen=True, kw_only=True)
class Unmasking:
    """Inpainting by a model of levels: what is known is seen from the beginning.

    Attributes:
        remask: of ``Absorbing``, for what is new.
    """

    remask: float = 0.0

    def steps(
        self,
        denoise: DenoiseFn,
        x: Samples,
        times: Times,
        schedule: Schedule,
        noise: NoiseFn,
        *,
        known: Samples,
        new: Bool[Tensor, "..."],
    ) -> Iterator[SampleStep]:
        """Arguments as of ``inpainting.Repaint``."""
        return _walked(denoise, torch.where(new, x, known), times, schedule, noise, self.remask, new)


def product(x: Samples, t: Tensor, cond: Samples, null: Samples, w: float) -> Samples:
    """Equation (3), a ``Rule`` of guidance."""
    channels = channels_of(cond)
    ours, theirs = (grouped(p, channels).clamp(min=LEAST).log() for p in (cond, null))
    return torch.softmax(theirs + w * (ours - theirs), dim=2).flatten(1, 2)


def revealed(x: States, x0: States, share: float, eps: States, remask: float = 0.0) -> States:
    """The state after a step, equation (1).

    Args:
        x: (B, C K, *N) one-hot, or zeros where it is masked.
        x0: p. What is negative counts as 0, and each group is brought to the sum 1.
        share: the probability with which a masked value is revealed; 1 reveals all.
        eps: standard normal numbers.
        remask: the probability with which a seen value is masked.
    """
    channels = channels_of(x0)
    states, drawn, seen = grouped(x, channels), grouped(eps, channels), seen_in(x, channels)[:, :, None]
    best, k = (_probabilities(grouped(x0, channels)).log() + _gumbel(drawn)).max(2, keepdim=True)
    now = torch.exp(-torch.exp(-best)) < share if share < 1 else torch.ones_like(k, dtype=torch.bool)
    after = torch.where(now & ~seen, torch.zeros_like(states).scatter(2, k, 1.0), states)
    if remask > 0:
        after = torch.where(seen & (torch.special.ndtr(drawn[:, :, :1].double()) < remask), 0.0, after)
    return after.flatten(1, 2)


def _walked(
    denoise: DenoiseFn,
    x: States,
    times: Times,
    schedule: Schedule,
    noise: NoiseFn,
    remask: float,
    new: Bool[Tensor, "..."],
) -> Iterator[SampleStep]:
    """Down the grid by equation (2); what is not ``new`` stays as it is."""
    for step in walk(times, schedule):
        x0, before = denoise(x, step.now(x)), step.t.alpha
        again = min(remask, (1 - step.s.alpha) / before) if before > 0 else 0.0
        share = (step.s.alpha - (1 - again) * before) / (1 - before)
        x = torch.where(new, revealed(x, x0, share, noise(step.index), again), x)
        yield step.done(x, x0)


def _probabilities(p: Tensor) -> Tensor:
    """(B, C, K, *N) in float64; all alike where nothing is left."""
    p = p.double().clamp(min=0)
    total = p.sum(2, keepdim=True)
    return torch.where(total > 0, p / total, 1 / p.shape[2])


def _gumbel(eps: Tensor) -> Tensor:
    return -torch.log(-torch.special.log_ndtr(eps.double()))
