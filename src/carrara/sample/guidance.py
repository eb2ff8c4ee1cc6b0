r"""Wrappers of a denoiser: each takes ``DenoiseFn`` and returns ``DenoiseFn``, so that they compose.

Guidance extrapolates from an estimate that knows less to one that knows more,

.. math:: \hat x_0 = \hat x_0^{null} + w (\hat x_0^{cond} - \hat x_0^{null}).                                     (1)

w = 1 is off. In classifier-free guidance (Ho and Salimans, 2022) the null is told nothing; the paper's own w is ours
minus 1. A negative prompt is a null that is told what to avoid. Autoguidance (Karras et al., "Guiding a Diffusion Model
with a Bad Version of Itself", 2024) takes a weaker model that is told the same, so it needs no condition at all.

The result is no density's denoiser in general: between Gaussians of equal variance it is that of
N(mu_null + w (mu_cond - mu_null), s^2), but with unequal ones the flow ends with the standard deviation
s_cond^w s_null^(1 - w). A large w makes estimates larger than any picture, which all that follows repairs.

**APG**, adaptive projected guidance (Sadat et al., "Eliminating Oversaturation and Artifacts of High Guidance Scales in
Diffusion Models", 2025, algorithm 1). Of the difference, or of its running sum over the times t of the sampling,

.. math:: D_t = \hat x_0^{cond} - \hat x_0^{null} + \beta D_{t'}, \qquad t' > t \text{ the time before,}          (2)

the part parallel to the conditional estimate does little but raise the contrast. With at most a length r,

.. math:: \hat x_0 = \hat x_0^{cond} + (w - 1) \min(1, r / |D_t|) (D_t^\perp + \eta D_t^\parallel).               (3)

**CFG-Zero*** (Fan et al., "CFG-Zero*: Improved Classifier-Free Guidance for Flow Matching Models", 2025, equations 7 to
10) guides velocities. Whatever the schedule, :math:`x_t / (\alpha + \sigma) = (1 - \tau) x_0 + \tau \epsilon` with
:math:`\tau = \sigma / (\alpha + \sigma)` is a state of the straight flow, whose velocity is estimated by

.. math:: u = \hat\epsilon - \hat x_0 = (x_t - (\alpha + \sigma) \hat x_0) / \sigma.                              (4)

The null velocity is first scaled by the s that brings it nearest to the conditional one,

.. math:: u = s u^{null} + w (u^{cond} - s u^{null}), \qquad
          s = \langle u^{cond}, u^{null} \rangle / |u^{null}|^2.                                                  (5)

Put into (4), this is (1) with another null. With the estimate b whose velocity is 0,

.. math:: \hat x_0^{null} \to b + s (\hat x_0^{null} - b), \qquad b = x_t / (\alpha + \sigma), \qquad
          s = \frac{\langle b - \hat x_0^{cond}, b - \hat x_0^{null} \rangle}{|b - \hat x_0^{null}|^2}.           (6)

At the first times, where an estimate is worse than none, the velocity is 0: the estimate is b, and the state waits.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from carrara.noise import Schedule
from carrara.shapes import PerSample, Samples, expand
from carrara.types import DenoiseFn

Rule = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]
"""``(x_t, t, cond, null, w) -> x0``: what becomes of the estimates ``cond`` and ``null`` (B, *S) at a scale w."""

Both = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""``(x_t, t) -> cond, null``: two estimates at once."""


def extrapolate(x: Samples, t: Tensor, cond: Samples, null: Samples, w: float) -> Samples:
    """Equation (1)."""
    return null + w * (cond - null)


def guide(
    cond: DenoiseFn,
    null: DenoiseFn,
    scale: float,
    *,
    rule: Rule = extrapolate,
    interval: tuple[float, float] = (0.0, 1.0),
    rescale: float = 0.0,
    both: Both | None = None,
) -> DenoiseFn:
    """Guides one denoiser away from another.

    Args:
        cond: with the condition, or the better model.
        null: without it, or with one to be avoided, or the weaker model; never called at ``scale`` 1.
        scale: w; 1 is off, whatever the rule.
        rule: how, from ``Method.rule``; equation (1) by default.
        interval: the times [low, high] of guidance; outside only ``cond`` counts (Kynkäänniemi et al., "Applying
            Guidance in a Limited Interval", 2024).
        rescale: how far, from 0 to 1, to bring each sample's standard deviation back to the conditional estimate's (Lin
            et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2024, equations 15 and 16).
        both: ``cond`` and ``null`` at once, where that is cheaper than one after the other.

    Raises:
        ValueError: ``interval`` or ``rescale`` is out of range.
    """
    low, high = interval
    if not 0 <= low <= high <= 1:
        raise ValueError(f"the guidance interval lies in [0, 1], low before high, got {interval}")
    if not 0 <= rescale <= 1:
        raise ValueError(f"rescale goes from 0 to 1, got {rescale}")
    if scale == 1:
        return cond

    def guided(x: Samples, t: Tensor) -> Samples:
        time = expand(t, x)
        inside = (low <= time) & (time <= high)
        if not inside.any():
            return cond(x, t)
        with_condition, without = (cond(x, t), null(x, t)) if both is None else both(x, t)
        x0 = rule(x, t, with_condition, without, scale)
        if rescale:
            x0 = torch.lerp(x0, x0 * expand(_ratio(_std(with_condition), _std(x0)), x0), rescale)
        return torch.where(inside, x0, with_condition)

    return guided


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A way to guide, by name."""

    kind: str

    @abstractmethod
    def rule(self, schedule: Schedule) -> Rule:
        """The rule for one sampling on ``schedule``; what it remembers of the way is its own."""


@dataclass(frozen=True, kw_only=True)
class Cfg(Method):
    """Equation (1) as it is."""

    kind: Literal["cfg"] = "cfg"

    def rule(self, schedule: Schedule) -> Rule:
        return extrapolate


@dataclass(frozen=True, kw_only=True)
class Apg(Method):
    """Equation (3).

    Attributes:
        eta: the share of the parallel part that stays; 1 is ``cfg``.
        limit: r, as a root mean square, so that it means the same at any size: the paper's r is ours times the root of
            the number of values in a sample. None is no limit.
        momentum: beta of equation (2), -0.5 in much of the paper; 0 remembers nothing.
    """

    kind: Literal["apg"] = "apg"
    eta: float = 0.0
    limit: float | None = None
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta goes from 0 (orthogonal) to 1 (cfg), got {self.eta}")
        if self.limit is not None and not self.limit > 0:
            raise ValueError(f"the limit of guidance is positive, got {self.limit}")
        if not -1 < self.momentum < 1:
            raise ValueError(f"the momentum of guidance lies between -1 and 1, got {self.momentum}")

    def rule(self, schedule: Schedule) -> Rule:
        running_sum = _RunningSum(self.momentum)

        def projected(x: Samples, t: Tensor, cond: Samples, null: Samples, w: float) -> Samples:
            d = running_sum(t, cond - null)
            parallel = expand(_ratio(_dot(d, cond), _dot(cond, cond)), d) * cond
            short = d - (1 - self.eta) * parallel
            if self.limit is not None:
                short = short * expand((self.limit / _dot(d, d).sqrt()).clamp(max=1), d)
            return cond + (w - 1) * short

        return projected


class _RunningSum:
    """Equation (2) over the calls of one sampling, which know the time but not the step.

    D_t is made from the latest call at a noisier time. So it does not matter that Heun's method asks twice at a time;
    and where time goes back up, by fresh noise or for another sampling, what was remembered below it is forgotten. Two
    calls are enough to remember: the last one, and the one before it for when the last is asked for again.
    """

    def __init__(self, beta: float) -> None:
        self.beta = beta
        self.calls: deque[tuple[float, Tensor]] = deque(maxlen=2)

    def __call__(self, t: Tensor, difference: Samples) -> Samples:
        if self.beta == 0:
            return difference
        assert t.ndim == 0, "the samples of one sampling are at the same time"
        while self.calls and self.calls[-1][0] <= t.item():
            self.calls.pop()
        d = difference + self.beta * self.calls[-1][1] if self.calls else difference
        self.calls.append((t.item(), d))
        return d


@dataclass(frozen=True, kw_only=True)
class CfgZero(Method):
    """Equation (6).

    Attributes:
        zero_init: the share of time, from noise on, in which the velocity is 0; 0 is off.
    """

    kind: Literal["cfg_zero"] = "cfg_zero"
    zero_init: float = 0.04

    def __post_init__(self) -> None:
        if not 0 <= self.zero_init < 1:
            raise ValueError(f"zero_init is a share of time, from 0 to below 1, got {self.zero_init}")

    def rule(self, schedule: Schedule) -> Rule:
        def rescaled(x: Samples, t: Tensor, cond: Samples, null: Samples, w: float) -> Samples:
            alpha, sigma = schedule(t)
            b = x / expand(alpha + sigma, x).to(x)
            s = _ratio(_dot(b - cond, b - null), _dot(b - null, b - null))
            x0 = extrapolate(x, t, cond, torch.lerp(b, null, expand(s, x)), w)
            return torch.where(expand(t, x) > 1 - self.zero_init, b, x0)

        return rescaled


AnyMethod = Cfg | Apg | CfgZero
"""The tagged union that recipes and commands hold."""


def _dot(a: Samples, b: Samples) -> PerSample:
    """The mean of a b over each sample."""
    return (a * b).flatten(1).mean(1)


def _std(x: Samples) -> PerSample:
    """Each sample's standard deviation."""
    return x.flatten(1).std(dim=1, correction=0)


def _ratio(above: PerSample, below: PerSample) -> PerSample:
    """above / below; 1 where ``below`` is 0 and what it would multiply is 0, too."""
    return torch.where(below > 0, above / below, 1.0)


def dynamic_threshold(denoise: DenoiseFn, percentile: float = 0.995) -> DenoiseFn:
    """Shrinks each sample whose values leave [-1, 1] until only the share above ``percentile`` is clipped (Saharia et
    al., "Imagen", 2022, section 2.3).

    Args:
        percentile: in (0, 1], of the absolute values, by nearest rank.

    Raises:
        ValueError: ``percentile`` is out of range.
    """
    if not 0 < percentile <= 1:
        raise ValueError(f"percentile lies in (0, 1], got {percentile}")

    def thresholded(x: Samples, t: Tensor) -> Samples:
        x0 = denoise(x, t)
        size = x0.abs().flatten(1)
        limit = size.kthvalue(math.ceil(percentile * size.shape[1]), dim=1).values.clamp(min=1)
        limit = expand(limit, x0)
        return torch.clamp(x0, -limit, limit) / limit

    return thresholded


def clip(denoise: DenoiseFn) -> DenoiseFn:
    """Clips estimates to [-1, 1], where pixels lie; not for latents (Ho et al., 2020)."""
    return lambda x, t: denoise(x, t).clamp(-1, 1)
