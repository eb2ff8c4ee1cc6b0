r"""The denoiser: a network, a schedule and a parameterization make an estimate of the data.

.. math:: \hat x_0(x_t, t, c) = c_{skip} x_t + c_{out} F(c_{in} x_t, \lambda(t), c)                              (1)

A network with a learned variance answers two numbers for each of the sample's, F and v; v places the reverse step's log
variance between those of beta (v = 1) and beta-tilde (v = -1) (Nichol and Dhariwal, "Improved Denoising Diffusion
Probabilistic Models", 2021, equation 15). Only the variational bound looks at it; see ``noise.bound``.

Where states are masked, see ``noise.absorbing``, the estimate is the probabilities of the states given what is seen.
What is seen is the estimate of itself.

A network may be told where a step ends, too. Then its estimate is the point that the step's mean velocity aims at, and
on a rectified flow one step of DDIM leads from t to r exactly (Geng et al., "Mean Flows for One-step Generative
Modeling", 2025):

.. math:: x_r = x_t - (t - r) u(x_t, t, r), \qquad \hat x_0 = x_t - t u(x_t, t, r).                            (2)
"""

import copy
import warnings
from dataclasses import replace
from functools import cache
from typing import final

import torch
import torch.autograd.forward_ad as forward
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from carrara.backbone import Backbone, BackboneConfig
from carrara.backbone.base import embedding
from carrara.noise import Coefficients, Parameterization, Schedule, Transition
from carrara.noise.absorbing import States, grouped, level_of_seen, seen_in
from carrara.shapes import PerSample, Samples, Scalars, expand
from carrara.types import Conditioning, DenoiseFn

MOST_SPANS = 16
"""Steps that a network which is told their ends draws in; with more, diffusion is as good."""
SPAN_FEATURES = 64
"""Sines and cosines of how long a step is."""
_TOLD = 0.5
"""Times are told in this unit of half log-SNRs, so that no sine turns faster than 16 radians from noise to data: what
is derived by time must not shake."""


class Denoiser(nn.Module):
    """Equation (1). The coefficients are computed in float64 and applied in float32, whatever the network's own.

    Args:
        backbone: F, or F and v, the latter with two answers.
        learned_variance: whether there is a v.

    Raises:
        ValueError: the parameterization cannot be read where the schedule has no signal left.
    """

    def __init__(
        self,
        backbone: Backbone,
        schedule: Schedule,
        parameterization: Parameterization,
        *,
        learned_variance: bool = False,
    ) -> None:
        super().__init__()
        end = schedule(torch.ones((), dtype=torch.float64))[0].item()
        if end == 0 and parameterization.needs_signal:
            raise ValueError(
                "eps cannot be trained on a schedule that ends in pure noise, where it says nothing about the data: "
                "choose the parameterization v, x0 or flow, or another schedule"
            )
        self.backbone = backbone
        self.schedule = schedule
        self.parameterization = parameterization
        self.learned_variance = learned_variance

    def coefficients(self, t: Scalars) -> Coefficients:
        """Equation (1)'s coefficients at times of any shape, in the type of ``t``."""
        return self.parameterization(*self.schedule(t))

    def output(self, x_t: Samples, coefficients: Coefficients, cond: Conditioning) -> Samples:
        """The network's own answer F (B, *S) in float32, for coefficients of shape () or (B,)."""
        return self.answers(x_t, coefficients, cond)[0]

    def answers(self, x_t: Samples, coefficients: Coefficients, cond: Conditioning) -> tuple[Samples, Samples | None]:
        """F, and v if there is one, (B, *S) each; see ``output``."""
        level = coefficients.noise_level.to(x_t).expand(len(x_t))
        answered = self.backbone(expand(coefficients.inp, x_t).to(x_t) * x_t, level, cond).float()
        if not self.learned_variance:
            return answered, None
        output, v = answered.chunk(2, dim=1)
        return output, v

    def forward(self, x_t: Samples, t: Scalars, cond: Conditioning) -> Samples:
        """Equation (1), in float32 for times of either precision.

        Args:
            x_t: (B, *S).
            t: () or (B,).
        """
        coefficients = self.coefficients(t)
        return coefficients.denoised(x_t, self.output(x_t, coefficients, cond)).float()

    def through(self, network: nn.Module) -> "Denoiser":
        """The same that asks ``network`` in the backbone's place."""
        made = copy.copy(self)
        made._modules = {**self._modules, "backbone": network}
        return made

    def in_steps(self, steps: int) -> "Denoiser":
        """The same, to be called on a uniform grid of so many steps."""
        return self

    def asked(self, cond: Conditioning, *, detached: bool = False) -> "Asked":
        """Both answers, for the variational bound."""
        return Asked(self, cond, detached)

    def bind(self, cond: Conditioning) -> DenoiseFn:
        """The function of (x_t, t) that samplers call."""

        def denoise(x_t: Tensor, t: Tensor) -> Tensor:
            return self(x_t, t, cond)

        return denoise


@final
class AbsorbingDenoiser(Denoiser):
    """The probabilities of masked states. The network sees x_t and, beside it, a channel for each group that is 1 where
    it is masked; it is told how much is seen, and not the time, so estimates are functions of x_t alone.

    Args:
        backbone: answers logits.
        channels: C, the groups of states.
    """

    def __init__(
        self, backbone: Backbone, schedule: Schedule, parameterization: Parameterization, *, channels: int
    ) -> None:
        super().__init__(backbone, schedule, parameterization)
        self.channels = channels

    def log_probabilities(self, x_t: States, cond: Conditioning) -> States:
        """ln p(x0 | x_t) of each value as if it was masked, (B, C K, *N) float32, normalised over each group."""
        seen = seen_in(x_t, self.channels)
        beside = (~seen).to(x_t)
        image = beside if cond.image is None else torch.cat([cond.image, beside], dim=1)
        logits = self.backbone(x_t, level_of_seen(seen).to(x_t), replace(cond, image=image)).float()
        return torch.log_softmax(grouped(logits, self.channels), dim=2).flatten(1, 2)

    def forward(self, x_t: Samples, t: Scalars, cond: Conditioning) -> Samples:
        seen = seen_in(x_t, self.channels)[:, :, None]
        p = grouped(self.log_probabilities(x_t, cond).exp(), self.channels)
        return torch.where(seen, grouped(x_t, self.channels).float(), p).flatten(1, 2)


@cache
def _derivable() -> None:
    """Has torch load its rules for tangents, which warns of what torch itself uses, once."""
    with warnings.catch_warnings(), forward.dual_level():
        warnings.simplefilter("ignore", DeprecationWarning)
        forward.make_dual(torch.zeros(1), torch.zeros(1))


class SpanDenoiser(Denoiser):
    """Equation (2), for a rectified flow. The parameterization is of the point aimed at, whatever r.

    The network is told t, and not the half log-SNR, whose slope is infinite at both ends; and t - r by an embedding of
    its own, which is added to the condition's vector and begins as 0.

    Args:
        width: of ``Conditioning.vector``.
        steps: as of ``in_steps``, until others are wanted.
    """

    def __init__(
        self, backbone: Backbone, schedule: Schedule, parameterization: Parameterization, *, width: int, steps: int
    ) -> None:
        super().__init__(backbone, schedule, parameterization)
        self.span = embedding(SPAN_FEATURES, width, None)
        for parameter in self.span.layers[-1].parameters():
            nn.init.zeros_(parameter)
        self.steps = steps

    def in_steps(self, steps: int) -> "SpanDenoiser":
        made = copy.copy(self)
        made.steps = steps
        return made

    def forward(self, x_t: Samples, t: Scalars, cond: Conditioning) -> Samples:
        """x0 of equation (2) for the step of the grid that begins at ``t``."""
        times = t.double().expand(len(x_t))
        u = self.velocity(x_t, times, (times - 1 / self.steps).clamp(min=0), cond)
        return (x_t - expand(times, x_t).to(x_t) * u).float()

    def velocity(self, x_t: Samples, t: PerSample, r: PerSample, cond: Conditioning) -> Samples:
        """u (B, *S) in float32; at r = t that of the flow itself. Times are not 0."""
        t, r = t.double(), r.double()
        c = self.coefficients(t)
        span = self.span((_TOLD * (t - r)).to(x_t))
        told = replace(cond, vector=span if cond.vector is None else cond.vector + span)
        answered = self.backbone(expand(c.inp, x_t).to(x_t) * x_t, (_TOLD * (0.5 - t)).to(x_t), told).float()
        return (expand((1 - c.skip) / t, x_t).to(x_t) * x_t - expand(c.out / t, x_t).to(x_t) * answered).float()

    @torch.no_grad()
    def velocity_rate(self, x_t: Samples, t: PerSample, r: PerSample, cond: Conditioning, along: Samples) -> Samples:
        """du / dt (B, *S) where x_t moves with the velocity ``along``, and r stays; by forward differentiation.

        In float32, whatever autocast says, and so is ``cond``: torch's group norm has tangents in no other type than
        its weights', and a derivative by time is rounded more than what it is of.
        """
        _derivable()
        with torch.autocast(x_t.device.type, enabled=False), forward.dual_level(), sdpa_kernel(SDPBackend.MATH):
            x_moving, t_moving = forward.make_dual(x_t, along.to(x_t)), forward.make_dual(t, torch.ones_like(t))
            tangent = forward.unpack_dual(self.velocity(x_moving, t_moving, r, cond)).tangent
        assert tangent is not None
        return tangent


def build_denoiser(
    network: BackboneConfig,
    shape: tuple[int, ...],
    schedule: Schedule,
    parameterization: Parameterization,
    *,
    beside: int = 0,
    learned_variance: bool = False,
    groups: int | None = None,
    spans: int | None = None,
) -> Denoiser:
    """Makes the denoiser of latents of ``shape``.

    Args:
        beside: channels of what the network sees beside its input.
        groups: of states, if these are masked; None where numbers are noised.
        spans: in how many steps it usually draws, if it is told where they end.

    Raises:
        ValueError: the parts do not fit together.
    """
    if groups is not None:
        backbone = network.build(shape, image_channels=beside + groups)
        return AbsorbingDenoiser(backbone, schedule, parameterization, channels=groups)
    backbone = network.build(shape, image_channels=beside, answers=1 + learned_variance)
    if spans is not None:
        if network.steps is not None:
            raise ValueError("a network that is told the number of a step cannot be told where it ends: leave it out")
        return SpanDenoiser(backbone, schedule, parameterization, width=network.vector_width, steps=spans)
    if network.steps is not None:
        backbone.place_steps(_levels(network.steps, schedule, parameterization))
    return Denoiser(backbone, schedule, parameterization, learned_variance=learned_variance)


def _levels(steps: int, schedule: Schedule, parameterization: Parameterization) -> Tensor:
    """The half log-SNRs of the steps 1 ... T, (T,).

    Raises:
        ValueError: the schedule has another number of steps.
    """
    if schedule.discrete_steps not in (None, steps):
        raise ValueError(f"the network is told {steps} steps, and the schedule has {schedule.discrete_steps}")
    t = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    return parameterization(*schedule(t)).noise_level


@final
class Asked:
    """A network with a learned variance, asked once for each x_t, whichever of its answers is wanted first.

    Args:
        detached: no gradient flows through the estimate of the data.

    Attributes:
        output: F of the last x_t, (B, *S).
    """

    output: Samples

    def __init__(self, denoiser: Denoiser, cond: Conditioning, detached: bool) -> None:
        assert denoiser.learned_variance
        self._denoiser, self._cond, self._detached = denoiser, cond, detached
        self._about: Tensor | None = None

    def denoise(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Equation (1)."""
        self._ask(x_t, t)
        return self._x0

    def variance(self, x_t: Tensor, t: Tensor, step: Transition) -> Tensor:
        """The reverse step's, in float64: see ``noise.bound``."""
        self._ask(x_t, t)
        return torch.exp(torch.lerp(step.posterior_variance.log(), step.variance.log(), (self._v.double() + 1) / 2))

    def _ask(self, x_t: Tensor, t: Tensor) -> None:
        if self._about is x_t:
            return
        coefficients = self._denoiser.coefficients(t)
        self.output, v = self._denoiser.answers(x_t, coefficients, self._cond)
        assert v is not None
        x0 = coefficients.denoised(x_t, self.output).float()
        self._about, self._v, self._x0 = x_t, v, x0.detach() if self._detached else x0
