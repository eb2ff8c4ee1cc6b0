r"""A classifier of noised data, for guidance: cross entropy at every noise level of a schedule.

.. math:: L = - E_{x_0, c, t, \epsilon} \log p(c | x_t), \qquad x_t = \alpha x_0 + \sigma \epsilon.               (1)

Whoever minimises it over all functions of x_t has p(c | x_t), whose gradient guidance needs (Dhariwal and Nichol, 2021,
section 4). In much noise nothing can be told, and the least loss is the entropy of the classes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor, nn

from carrara.autoencoder import FirstStage
from carrara.backbone import NoiseAwareClassifier
from carrara.noise import Schedule, UniformTimes, add_noise
from carrara.objective.base import LossReport, Objective, ObjectiveSettings
from carrara.objective.diffusion import NOISE_LEVELS
from carrara.seeds import Draws
from carrara.shapes import PerSample, Samples
from carrara.types import Batch, Role


@dataclass(frozen=True, kw_only=True)
class ClassificationSettings(ObjectiveSettings):
    """A classifier of noised data learns, for guidance; ``model.conditioner`` has its classes."""

    kind: Literal["classification"] = "classification"


class ClassificationObjective(Objective):
    """Equation (1). Only the network is a part: the first stage is neither trained nor checkpointed.

    Args:
        network: trained.
        first_stage: frozen, in evaluation mode; it goes where the batches are.
        schedule: the noise levels, of which all times are as likely.
    """

    def __init__(self, *, network: NoiseAwareClassifier, first_stage: FirstStage, schedule: Schedule) -> None:
        super().__init__()
        self.network = network
        self._held = (first_stage.requires_grad_(False).eval(),)  # a tuple hides it from named_children
        self.schedule = schedule

    def roles(self) -> Mapping[Role, Iterable[nn.Parameter]]:
        return {"main": self.network.parameters()}

    def forward(self, batch: Batch, role: Role, draws: Draws) -> LossReport:
        t = UniformTimes()(draws.uniform("time"), self.schedule)
        labels = batch.columns["label"]
        loss, right = self._judged(self._latents(batch, draws), labels, t, draws)
        accuracy = right.sum() / _labelled(labels).sum().clamp(min=1)
        return LossReport(per_sample=loss, logs={"accuracy": accuracy})

    @torch.no_grad()
    def validate(self, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """``loss@t=...`` and ``accuracy@t=...`` at the middle of each of ``NOISE_LEVELS`` equal parts of time, of
        the samples that have a label."""
        x0, labels = self._latents(batch, None), batch.columns["label"]
        labelled = _labelled(labels)
        values: dict[str, Tensor] = {}
        for k in range(NOISE_LEVELS):
            t = torch.full((len(x0),), (k + 0.5) / NOISE_LEVELS, device=x0.device)
            named = f"@t={t[0].item():.3f}"
            loss, right = self._judged(x0, labels, t, draws.at(k))
            values["loss" + named], values["accuracy" + named] = loss[labelled], right[labelled]
        return values

    def _judged(self, x0: Samples, labels: Tensor, t: PerSample, draws: Draws) -> tuple[PerSample, PerSample]:
        """The cross entropy of each sample, and whether the likeliest class is one of its own."""
        alpha, sigma = self.schedule(t)
        x_t = add_noise(x0, draws.normal("noise", *x0.shape[1:]), alpha, sigma)
        logits = self.network(x_t, alpha, sigma)
        shares = labels / labels.sum(1, keepdim=True).clamp(min=1e-6)
        right = labels.gather(1, logits.argmax(1, keepdim=True))[:, 0] > 0
        return -(shares * F.log_softmax(logits, dim=1)).sum(1), right.float()

    @torch.no_grad()
    def _latents(self, batch: Batch, draws: Draws | None) -> Tensor:
        stage = self._held[0].to(batch.x.device)
        return stage.latents(stage.encode_raw(batch.x), draws)


def _labelled(labels: Tensor) -> Bool[Tensor, " B"]:
    """Who has any label."""
    return (labels > 0).any(1)
