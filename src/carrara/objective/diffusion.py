r"""The diffusion loss: noise a sample, ask the network what was done, weigh the error.

.. math:: L = E_{x_0, t, \epsilon} \; w(\lambda_t) \, \| F(c_{in} x_t, \lambda_t, c) - F^* \|^2 / \dim             (1)

With F* = eps and w = 1 this is L_simple (Ho et al., 2020, equation 14). A network with a learned variance descends the
variational bound, whose terms ``noise.bound`` has, or both (Nichol and Dhariwal, 2021, equation 16):

.. math:: L_{hybrid} = L + \lambda L_{vlb}, \quad \lambda = 0.001,                                                 (2)

where the gradient of the second part reaches the variance alone. L_vlb by itself is estimated at steps that are drawn
more often where its terms are large (section 3.3 there); here by the chain's own law, which needs no history.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from carrara.autoencoder import FirstStage
from carrara.conditioning import Conditioner, ImageCondition
from carrara.denoiser import Asked, Denoiser
from carrara.kinds import BY_KIND, SPELLED
from carrara.noise import (
    LEVELS,
    AnyTimes,
    AnyWeighting,
    Chain,
    TimeDistribution,
    UniformTimes,
    UnitWeighting,
    Weighting,
    add_noise,
    chain_times,
)
from carrara.objective.base import LossReport, Objective, ObjectiveSettings
from carrara.seeds import Draws
from carrara.shapes import Keep, PerSample, Samples, expand
from carrara.types import WEIGHT, Batch, Conditioning, Role

Loss = Literal["simple", "hybrid", "bound"]
"""What is descended."""
HYBRID = 0.001
"""Lambda of equation (2)."""
DATA_TERM = 0.3
"""How often the bound's last term is drawn, which says the data themselves: about its part of the whole."""
ROUNDING = 1e-3
"""Of a step's number k, computed from the time k / T in float32."""
VALIDATED = 8
"""Terms of the bound that are drawn for each held-out example."""
NOISE_LEVELS = 8
"""Held-out loss is measured at this many quantiles of the training times."""


@dataclass(frozen=True, kw_only=True)
class DiffusionSettings(ObjectiveSettings):
    """A denoiser learns.

    Attributes:
        times: where in time to train.
        weighting: how much each noise level counts.
        drop: probability that a condition is dropped, which guidance needs.
        loss: ``simple``; ``hybrid``, where the network also learns the reverse variance, from the variational bound; or
            the ``bound`` itself.
    """

    kind: Literal["diffusion"] = "diffusion"
    times: Annotated[AnyTimes, SPELLED, BY_KIND] = UniformTimes()
    weighting: Annotated[AnyWeighting, SPELLED, BY_KIND] = UnitWeighting()
    drop: float = 0.1
    loss: Loss = "simple"

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1:
            raise ValueError(f"drop is a probability, from 0 to 1, and is {self.drop}")

    @property
    def condition_drop(self) -> float:
        return self.drop


class DiffusionObjective(Objective):
    """Equation (1) or (2) for any first stage, condition, network, schedule and parameterization.

    Args:
        first_stage: frozen; with ``Identity`` this is diffusion in pixels.
        conditioner, denoiser: trained.
        times: where in time to train.
        weighting: how much each noise level counts.
        image: what the network sees of the pictures beside its input; None is nothing.
        drop: probability that a sample's condition is dropped, so that the model can be guided; with an image it is the
            probability that the words are, and also that all is.
        loss: equation (1), (2), or the variational bound in nats per dimension; the last two for a learned variance.
        encoded: batches hold raw latents, from a cache, in the place of pixels.
        missing: whether values of pixels may be NaN, which nobody knows: they are as if they were 0, the middle of the
            range, and equation (1) is the mean over the others; nothing, where there are none. Of the simple loss.
    """

    def __init__(
        self,
        *,
        first_stage: FirstStage,
        conditioner: Conditioner,
        denoiser: Denoiser,
        times: TimeDistribution,
        weighting: Weighting,
        image: ImageCondition | None = None,
        drop: float = 0.1,
        loss: Loss = "simple",
        encoded: bool = False,
        missing: bool = False,
    ) -> None:
        super().__init__()
        assert not missing or (loss == "simple" and not first_stage.learned and not encoded)
        assert denoiser.learned_variance == (loss != "simple") and (image is None or not encoded)
        if not 0 <= drop <= 1:
            raise ValueError(f"drop is a probability, got {drop}")
        self.first_stage = first_stage.requires_grad_(False)
        self.conditioner = conditioner
        self.denoiser = denoiser
        self.image = image
        self.times, self.weighting, self.drop, self.loss, self.encoded = times, weighting, drop, loss, encoded
        self.missing = missing

    def train(self, mode: bool = True) -> "DiffusionObjective":
        """As any module's, but the first stage stays frozen."""
        super().train(mode)
        self.first_stage.eval()
        return self

    def roles(self) -> Mapping[Role, Iterable[nn.Parameter]]:
        own = (*self.conditioner.parameters(), *self.denoiser.parameters())
        return {"main": [one for one in own if one.requires_grad]}

    def forward(self, batch: Batch, role: Role, draws: Draws) -> LossReport:
        report, weight = self._report(batch, draws), batch.columns.get(WEIGHT)
        return report if weight is None else replace(report, per_sample=report.per_sample * weight[:, 0])

    def _report(self, batch: Batch, draws: Draws) -> LossReport:
        keep = draws.uniform("condition dropout") >= self.drop
        x0 = self._latents(batch, draws)
        cond = self._told(batch, x0, draws, keep)
        t = self.times(draws.uniform("time"), self.denoiser.schedule)
        if self.loss == "simple":
            return LossReport(per_sample=self._loss(x0, cond, t, draws, self._known(batch)))
        if self.loss == "bound":
            return LossReport(per_sample=self._bound(x0, cond, draws))
        return self._hybrid(x0, cond, t, draws)

    @torch.no_grad()
    def validate(self, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """The loss at the middle of each of ``NOISE_LEVELS`` equal parts of the training times, ``loss@t=...``; or the
        ``bound``, where that is what is descended, without its prior, in nats per dimension."""
        x0 = self._latents(batch, None)
        cond = self._told(batch, x0, draws)
        if self.loss == "bound":
            draws_of = (draws.at(k) for k in range(VALIDATED))
            return {"bound": torch.stack([self._bound(x0, cond, each) for each in draws_of]).mean(0)}
        middles = (torch.arange(NOISE_LEVELS, device=x0.device) + 0.5) / NOISE_LEVELS
        levels = self.times(middles, self.denoiser.schedule)
        return {
            f"loss@t={t.item():.3f}": self._loss(x0, cond, t.expand(len(x0)), draws.at(k), self._known(batch))
            for k, t in enumerate(levels)
        }

    def _latents(self, batch: Batch, draws: Draws | None) -> Tensor:
        with torch.no_grad():
            x = batch.x.nan_to_num(0, torch.inf, -torch.inf) if self.missing else batch.x
            raw = x if self.encoded else self.first_stage.encode_raw(x)
            return self.first_stage.latents(raw, draws)

    def _known(self, batch: Batch) -> Tensor | None:
        """Where values are known, (B, *S); None = everywhere."""
        return ~batch.x.isnan() if self.missing else None

    def _told(self, batch: Batch, x0: Samples, draws: Draws, keep: Keep | None = None) -> Conditioning:
        """What the network is told: where the image is dropped, nothing is; words are also dropped alone (``keep``)."""
        if self.image is None:
            return self.conditioner(batch.columns, keep)
        assert self.first_stage.factor is not None
        image = self.image.drawn(batch, self.first_stage.factor, draws, self._encoded)
        if keep is not None:
            seen = draws.uniform("image dropout") >= self.drop
            keep, image = keep & seen, image * expand(seen.float(), image)
        return replace(self.conditioner(batch.columns, keep), image=image)

    def _encoded(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.first_stage.latents(self.first_stage.encode_raw(x), None)

    def _loss(
        self, x0: Samples, cond: Conditioning, t: PerSample, draws: Draws, known: Tensor | None = None
    ) -> PerSample:
        """Equation (1) for each sample, (B,)."""
        alpha, sigma = self.denoiser.schedule(t)
        coefficients = self.denoiser.parameterization(alpha, sigma)
        eps = draws.normal("noise", *x0.shape[1:])
        return self._error(
            self.denoiser.output(add_noise(x0, eps, alpha, sigma), coefficients, cond), x0, eps, t, known
        )

    def _error(
        self, output: Samples, x0: Samples, eps: Samples, t: PerSample, known: Tensor | None = None
    ) -> PerSample:
        schedule = self.denoiser.schedule
        coefficients = self.denoiser.parameterization(*schedule(t))
        square = (output - coefficients.target(x0, eps)).square().flatten(1)
        error = square.mean(1) if known is None else _mean_where(known.flatten(1), square)
        return error * self.weighting(schedule.half_logsnr(t), coefficients.out)

    def _hybrid(self, x0: Samples, cond: Conditioning, t: PerSample, draws: Draws) -> LossReport:
        """Equation (2); times between two steps of the chain become the later one."""
        asked = self.denoiser.asked(cond, detached=True)
        chain, eps = self._chain(asked, x0), draws.normal("noise", *x0.shape[1:])
        steps = len(chain.times)
        k = torch.ceil(t.double() * steps - ROUNDING).long().clamp(1, steps)
        bound = steps * chain.cost(asked.denoise, x0, k, eps) / x0[0].numel()
        simple = self._error(asked.output, x0, eps, (k / steps).to(t.dtype))
        return LossReport(
            per_sample=simple + HYBRID * bound.float(), logs={"simple": simple.detach(), "bound": bound.detach()}
        )

    def _bound(self, x0: Samples, cond: Conditioning, draws: Draws) -> PerSample:
        """An unbiased estimate of the bound but for its prior, which has no parameters: nats per dimension, (B,)."""
        asked = self.denoiser.asked(cond)
        chain, eps = self._chain(asked, x0), draws.normal("noise", *x0.shape[1:])
        k, p = (chosen[:, 0] for chosen in chain.choose(draws.uniform("time")[:, None]))
        data = draws.uniform("data term") < DATA_TERM
        k, p = torch.where(data, 1, k), torch.where(data, DATA_TERM, (1 - DATA_TERM) * p)
        return (chain.cost(asked.denoise, x0, k, eps) / (p * x0[0].numel())).float()

    def _chain(self, asked: Asked, x0: Samples) -> Chain:
        """All steps of the schedule; what diffuses are levels if they are pixels, else they have a density."""
        levels = LEVELS if not self.first_stage.learned and x0.ndim == 4 else None
        schedule = self.denoiser.schedule
        return Chain(schedule=schedule, times=chain_times(schedule), variance=asked.variance, levels=levels)


def _mean_where(known: Tensor, values: Tensor) -> PerSample:
    """The mean over those of (B, D) that are known; 0 where none are."""
    return (values * known).sum(1) / known.sum(1).clamp(min=1)
