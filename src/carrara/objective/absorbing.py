r"""The loss of absorbing diffusion: mask a part of a sample, ask the network what was there.

.. math:: L = E_{n, M} \; \frac{1}{n} \sum_{i \in M} -\ln p(x_0^i | x_{\text{not } M}, c),
          \qquad n \sim U\{1 .. N\},                                                                             (1)

is the evidence bound in nats per dimension, ``noise.absorbing``, equation (4), which is that of continuous time: no
weighting is left to choose, and no times. How much is masked is spread evenly over the samples that follow each other
in training: n says of the k-th of them

.. math:: n = 1 + \lfloor N u_k \rfloor, \qquad u_k = (u + k \phi) \bmod 1,                                        (2)

with the golden ratio phi, so that a batch has all n about as often. (Kingma et al., "Variational Diffusion Models",
2021, spread the times of a batch evenly, too.)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from carrara.autoencoder import Levels
from carrara.conditioning import Conditioner
from carrara.denoiser import AbsorbingDenoiser
from carrara.noise.absorbing import order_cost
from carrara.objective.base import LossReport, Objective, ObjectiveSettings
from carrara.seeds import Draws
from carrara.shapes import PerSample, Samples
from carrara.types import Batch, Conditioning, Role

GOLDEN = (5**0.5 - 1) / 2
"""Phi of equation (2), but for a whole."""
VALIDATED = 8
"""Parts of the range of n, of each of which one is drawn for each held-out example."""


@dataclass(frozen=True, kw_only=True)
class AbsorbingSettings(ObjectiveSettings):
    """A network learns what is masked, of levels (``model.first_stage.kind=levels``).

    Attributes:
        drop: probability that a condition is dropped, which guidance needs.
    """

    kind: Literal["absorbing"] = "absorbing"
    drop: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1:
            raise ValueError(f"drop is a probability, from 0 to 1, and is {self.drop}")

    @property
    def condition_drop(self) -> float:
        return self.drop


class AbsorbingObjective(Objective):
    """Equation (1) for any condition and network.

    Args:
        first_stage: makes levels of pixels.
        conditioner, denoiser: trained.
        drop: probability that a sample's condition is dropped, so that the model can be guided.
    """

    def __init__(
        self, *, first_stage: Levels, conditioner: Conditioner, denoiser: AbsorbingDenoiser, drop: float = 0.1
    ) -> None:
        super().__init__()
        self.first_stage = first_stage
        self.conditioner = conditioner
        self.denoiser = denoiser
        self.drop = drop

    def roles(self) -> Mapping[Role, Iterable[nn.Parameter]]:
        return {"main": [*self.conditioner.parameters(), *self.denoiser.parameters()]}

    def forward(self, batch: Batch, role: Role, draws: Draws) -> LossReport:
        cond = self.conditioner(batch.columns, draws.uniform("condition dropout") >= self.drop)
        return LossReport(per_sample=self._loss(self._states(batch), cond, spread_evenly(draws), draws))

    @torch.no_grad()
    def validate(self, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """The ``bound`` in nats per dimension, a number n from each of ``VALIDATED`` equal parts of their range."""
        z, cond = self._states(batch), self.conditioner(batch.columns)
        each = [draws.at(k) for k in range(VALIDATED)]
        parts = [self._loss(z, cond, (k + at.uniform("masked")) / VALIDATED, at) for k, at in enumerate(each)]
        return {"bound": torch.stack(parts).mean(0)}

    def _states(self, batch: Batch) -> Samples:
        return self.first_stage.latents(self.first_stage.encode_raw(batch.x), None)

    def _loss(self, z: Samples, cond: Conditioning, u: PerSample, draws: Draws) -> PerSample:
        """Equation (1) with one n for each sample, (B,)."""
        channels = self.denoiser.channels
        order = draws.uniform("order", channels, *z.shape[2:])
        nats = order_cost(lambda x_t: self.denoiser.log_probabilities(x_t, cond), z, channels, u, order)
        return (nats / order[0].numel()).float()


def spread_evenly(draws: Draws) -> PerSample:
    """Equation (2): a number in (0, 1) for each sample, by its place in the training."""
    start = Draws(draws.seed, draws.samples.new_zeros(1)).uniform("masked").double()
    return (start + draws.samples.double() * GOLDEN) % 1
