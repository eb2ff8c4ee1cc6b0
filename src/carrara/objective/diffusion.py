r"""The diffusion loss: noise a sample, ask the network what was done, weigh the error.

.. math:: L = E_{x_0, t, \epsilon} \; w(\lambda_t) \, \| F(c_{in} x_t, \lambda_t, c) - F^* \|^2 / \dim             (1)

With F* = eps and w = 1 this is L_simple (Ho et al., 2020, equation 14).
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from carrara.autoencoder import FirstStage
from carrara.conditioning import Conditioner
from carrara.denoiser import Denoiser
from carrara.noise import TimeDistribution, Weighting, add_noise
from carrara.objective.base import LossReport, Objective
from carrara.seeds import Draws
from carrara.shapes import PerSample, Samples
from carrara.types import Batch, Conditioning, Role

NOISE_LEVELS = 8
"""Held-out loss is measured at this many quantiles of the training times."""


class DiffusionObjective(Objective):
    """Equation (1) for any first stage, condition, network, schedule and parameterization.

    Args:
        first_stage: frozen; with ``Identity`` this is diffusion in pixels.
        conditioner, denoiser: trained.
        times: where in time to train.
        weighting: how much each noise level counts.
        drop: probability that a sample's condition is dropped, so that the model can be guided.
        encoded: batches hold raw latents, from a cache, in the place of pixels.
    """

    def __init__(
        self,
        *,
        first_stage: FirstStage,
        conditioner: Conditioner,
        denoiser: Denoiser,
        times: TimeDistribution,
        weighting: Weighting,
        drop: float = 0.1,
        encoded: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= drop <= 1:
            raise ValueError(f"drop is a probability, got {drop}")
        self.first_stage = first_stage.requires_grad_(False)
        self.conditioner = conditioner
        self.denoiser = denoiser
        self.times, self.weighting, self.drop, self.encoded = times, weighting, drop, encoded

    def train(self, mode: bool = True) -> "DiffusionObjective":
        """As any module's, but the first stage stays frozen."""
        super().train(mode)
        self.first_stage.eval()
        return self

    def roles(self) -> Mapping[Role, Iterable[nn.Parameter]]:
        return {"main": [*self.conditioner.parameters(), *self.denoiser.parameters()]}

    def forward(self, batch: Batch, role: Role, draws: Draws) -> LossReport:
        keep = draws.uniform("condition dropout") >= self.drop
        t = self.times(draws.uniform("time"), self.denoiser.schedule)
        loss = self._loss(self._latents(batch, draws), self.conditioner(batch.columns, keep), t, draws)
        return LossReport(per_sample=loss)

    @torch.no_grad()
    def validate(self, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """The loss at the middle of each of ``NOISE_LEVELS`` equal parts of the training times: ``loss@t=...``."""
        x0, cond = self._latents(batch, None), self.conditioner(batch.columns)
        middles = (torch.arange(NOISE_LEVELS, device=x0.device) + 0.5) / NOISE_LEVELS
        levels = self.times(middles, self.denoiser.schedule)
        return {
            f"loss@t={t.item():.3f}": self._loss(x0, cond, t.expand(len(x0)), draws.at(k)) for k, t in enumerate(levels)
        }

    def _latents(self, batch: Batch, draws: Draws | None) -> Tensor:
        with torch.no_grad():
            raw = batch.x if self.encoded else self.first_stage.encode_raw(batch.x)
            return self.first_stage.latents(raw, draws)

    def _loss(self, x0: Samples, cond: Conditioning, t: PerSample, draws: Draws) -> PerSample:
        """Equation (1) for each sample, (B,)."""
        schedule = self.denoiser.schedule
        alpha, sigma = schedule(t)
        coefficients = self.denoiser.parameterization(alpha, sigma)
        eps = draws.normal("noise", *x0.shape[1:])
        output = self.denoiser.output(add_noise(x0, eps, alpha, sigma), coefficients, cond)
        error = (output - coefficients.target(x0, eps)).square().flatten(1).mean(1)
        return error * self.weighting(schedule.half_logsnr(t), coefficients.out)
