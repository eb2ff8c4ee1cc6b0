r"""Mean flow: a network learns where a step of any length leads, without a teacher.

On the rectified flow x_t = (1 - t) x_0 + t eps the mean velocity between r and t <= 1,

.. math:: u(x_t, t, r) = \frac{1}{t - r} \int_r^t v(x_s, s) \, ds,                                               (1)

along the flow, takes a state from t to r at once: ``denoiser``, equation (2). Derived by t it obeys an identity without
an integral (Geng et al., "Mean Flows for One-step Generative Modeling", 2025, equation 6),

.. math:: v(x_t, t) = u + (t - r) \frac{du}{dt}, \qquad \frac{du}{dt} = v \cdot \partial_x u + \partial_t u.     (2)

Its right side, with the network's own v = u(x_t, t, t) as the direction of the derivative and without a gradient
through this, is a function of x_t that is learned as a flow's velocity is (Geng et al., "Improved Mean Flows: On the
Challenges of Fastforward Generative Models", 2025, equations 12 and 13):

.. math:: L = E \; w \, \Big\| u + (t - r) \operatorname{sg} \frac{du}{dt} - (\epsilon - x_0) \Big\|^2 / \dim,
          \qquad w = \operatorname{sg} (\|\cdot\|^2 / \dim + \delta)^{-p}.                                       (3)

The target is the data's alone, and at r = t this is plain flow matching. Guidance with scale g is learned with it, and
costs nothing in sampling: where a condition is told, the target is

.. math:: g (\epsilon - x_0) + (1 - g) \operatorname{sg} u(x_t, t, t, \text{nothing}).                           (4)
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Literal

import torch
from torch import Tensor

from carrara.autoencoder import FirstStage
from carrara.conditioning import Conditioner
from carrara.denoiser import SpanDenoiser
from carrara.errors import UserError
from carrara.kinds import BY_KIND, SPELLED
from carrara.noise import AnyTimes, LogitNormalTimes, UnitWeighting
from carrara.objective.base import LossReport, ObjectiveSettings
from carrara.objective.diffusion import NOISE_LEVELS, DiffusionObjective
from carrara.seeds import Draws
from carrara.shapes import Keep, PerSample, Samples, expand
from carrara.types import Batch, Conditioning

EARLIEST = 0.05
"""No step of a grid of ``denoiser.MOST_SPANS`` begins nearer to the data than this, so none is trained there."""
DELTA = 1e-3
"""Of equation (3)."""


@dataclass(frozen=True, kw_only=True)
class MeanFlowSettings(ObjectiveSettings):
    """A network learns where steps lead, from data.

    Attributes:
        times: of which the two ends of a step are drawn.
        part: of the samples that learn a step; the others learn the flow, r = t.
        power: p of equation (3); 0 counts all samples alike, 1 by the logarithm of their errors.
        drop: probability that a condition is dropped.
        guidance: g of equation (4); 1 is none.
    """

    kind: Literal["mean_flow"] = "mean_flow"
    times: Annotated[AnyTimes, SPELLED, BY_KIND] = LogitNormalTimes()
    part: float = 0.5
    power: float = 1.0
    drop: float = 0.1
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1 or not 0 <= self.part <= 1:
            raise ValueError(f"drop and part lie between 0 and 1, and are {self.drop} and {self.part}")
        if not 0 <= self.power <= 1:
            raise ValueError(f"power goes from 0 to 1, and is {self.power}")
        if self.guidance < 0:
            raise ValueError(f"guidance is 0 or more, and 1 is none: it is {self.guidance}")

    @property
    def condition_drop(self) -> float:
        return self.drop


class MeanFlowObjective(DiffusionObjective):
    """Equation (3) for any first stage, condition and network; ``DiffusionObjective`` has what else is needed.

    Args:
        settings: of the loss.
        first_stage, conditioner, denoiser, encoded, missing: as of ``DiffusionObjective``.
    """

    denoiser: SpanDenoiser

    def __init__(
        self,
        *,
        first_stage: FirstStage,
        conditioner: Conditioner,
        denoiser: SpanDenoiser,
        settings: MeanFlowSettings,
        encoded: bool = False,
        missing: bool = False,
    ) -> None:
        super().__init__(
            first_stage=first_stage,
            conditioner=conditioner,
            denoiser=denoiser,
            times=settings.times,
            weighting=UnitWeighting(),
            drop=settings.drop,
            encoded=encoded,
            missing=missing,
        )
        self.settings = settings

    def prepare(self, *, recomputed: bool = False, compiled: bool = False) -> None:
        if compiled:
            raise UserError("mean_flow derives the network by time, which a compiled one does not: leave train.compile")
        super().prepare(recomputed=recomputed)

    def _report(self, batch: Batch, draws: Draws) -> LossReport:
        keep = draws.uniform("condition dropout") >= self.drop
        x0 = self._latents(batch, draws)
        cond = self._told(batch, x0, draws, keep)
        t, r = self.span(draws)
        x_t, v = self._noised(x0, t, draws)
        u = self.denoiser.velocity(x_t, t, r, cond)  # first: under autocast later calls share its weights
        wanted = self._guided(x_t, t, v, keep, self._told(batch, x0, draws, torch.zeros_like(keep)))
        error = self._square(u + self._bend(x_t, t, r, cond) - wanted, batch)
        weight = (error.detach() + DELTA) ** -self.settings.power
        return LossReport(per_sample=weight * error, logs={"error": error.detach()})

    @torch.no_grad()
    def validate(self, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """``loss@t=...`` of the flow at the middle of each of ``NOISE_LEVELS`` equal parts of the training times, and
        ``whole@t=...`` of the steps from there to the data; without weight or guidance."""
        x0 = self._latents(batch, None)
        cond = self._told(batch, x0, draws)
        middles = (torch.arange(NOISE_LEVELS, device=x0.device) + 0.5) / NOISE_LEVELS
        losses: dict[str, Tensor] = {}
        for k, level in enumerate(self.times(middles, self.denoiser.schedule)):
            t = level.double().clamp(min=EARLIEST).expand(len(x0))
            x_t, v = self._noised(x0, t, draws.at(k))
            for name, r in (("loss", t), ("whole", torch.zeros_like(t))):
                u = self.denoiser.velocity(x_t, t, r, cond) + self._bend(x_t, t, r, cond)
                losses[f"{name}@t={level.item():.3f}"] = self._square(u - v, batch)
        return losses

    def span(self, draws: Draws) -> tuple[PerSample, PerSample]:
        """The two ends of each sample's step, t and r <= t, (B,) float64."""
        ends = [self.times(draws.uniform(what), self.denoiser.schedule).double() for what in ("time", "until")]
        steps = draws.uniform("a step") < self.settings.part
        t = torch.where(steps, torch.maximum(*ends), ends[0]).clamp(min=EARLIEST)
        return t, torch.where(steps, torch.minimum(*ends), t)

    def _noised(self, x0: Samples, t: PerSample, draws: Draws) -> tuple[Samples, Samples]:
        """x_t, and the velocity that leads there."""
        eps = draws.normal("noise", *x0.shape[1:])
        v = eps - x0
        return x0 + expand(t, x0).to(x0) * v, v

    @torch.no_grad()
    def _bend(self, x_t: Samples, t: PerSample, r: PerSample, cond: Conditioning) -> Samples:
        """The second part of equation (2); 0 where r = t, of which no derivative is computed."""
        bend, rows = torch.zeros_like(x_t), (t > r).nonzero()[:, 0]
        if len(rows):
            x_t, t, r, cond = x_t[rows], t[rows], r[rows], _rows(cond, rows)
            along = self.denoiser.velocity(x_t, t, t, cond)
            rate = self.denoiser.velocity_rate(x_t, t, r, cond, along)
            bend[rows] = expand(t - r, x_t).to(rate) * rate
        return bend

    @torch.no_grad()
    def _guided(self, x_t: Samples, t: PerSample, v: Samples, keep: Keep, null: Conditioning) -> Samples:
        """Equation (4) where ``keep``, else v."""
        g = self.settings.guidance
        if g == 1:
            return v
        led = g * v + (1 - g) * self.denoiser.velocity(x_t, t, t, null)
        return torch.where(expand(keep.float(), v) > 0, led, v)

    def _square(self, error: Samples, batch: Batch) -> PerSample:
        """The mean square of each sample's known values, (B,)."""
        known, square = self._known(batch), error.square().flatten(1)
        if known is None:
            return square.mean(1)
        return (square * known.flatten(1)).sum(1) / known.flatten(1).sum(1).clamp(min=1)


def _rows(cond: Conditioning, rows: Tensor) -> Conditioning:
    """The condition of some of the samples, in float32."""
    said = {f.name: value[rows] for f in fields(cond) if (value := getattr(cond, f.name)) is not None}
    return Conditioning(**{name: v.float() if v.is_floating_point() else v for name, v in said.items()})
