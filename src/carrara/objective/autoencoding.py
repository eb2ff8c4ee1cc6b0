r"""The loss of a first stage (Rombach et al., 2022, appendix G), in two roles.

The autoencoder descends, with the reconstruction's error r (L1 or L2, per value of the picture) and the critic C,

.. math:: L = e^{-s} (r + w_p \, p(x, \hat x)) + s + w_r \, \mathrm{penalty} - w_c \, \lambda \, C(\hat x),          (1)
.. math:: \lambda = \| \nabla r \| / \| \nabla C \| \quad \text{at the decoder's last layer}                         (2)

where p is the perceptual distance, s the logarithm of a learned scale (0 unless it is learned), and lambda, if it is
adaptive, makes the critic's gradient as large as the other losses' (Esser et al., 2021, equation 7). The critic
descends the hinge loss of ``autoencoder.critic``. Neither role's loss sends a gradient to the other's parameters.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from carrara.autoencoder import AnyPerceptual, ConvolutionalStage, CriticConfig, PerceptualConfig, Reconstruction
from carrara.autoencoder.critic import gradient_penalty, hinge
from carrara.kinds import BY_KIND, SPELLED
from carrara.objective.base import LossReport, Objective, ObjectiveSettings
from carrara.objective.distillation import exact_psnr
from carrara.ranks import average
from carrara.seeds import Draws
from carrara.shapes import PerSample, cropped, spatial_of
from carrara.types import Batch, Role

LARGEST_LAMBDA = 1e4
"""Lambda of equation (2) is clamped here, as in the original: a critic without a gradient would get all the weight."""


@dataclass(frozen=True, kw_only=True)
class AutoencodingSettings(ObjectiveSettings):
    """An autoencoder learns.

    Attributes:
        error: L1 keeps edges, L2 is what PSNR measures.
        learned_scale: the reconstruction's scale is learned, which weighs it against the penalty.
        perceptual: weight of the perceptual distance; 0 = off.
        features: what the perceptual distance looks at: of sounds ``spectral``.
        penalty: weight of the KL, in nats per value of the picture, or of the commitment; None = 1e-6, or 0.25.
        critic: a critic, and when and how much it counts; None = none.
    """

    kind: Literal["autoencoding"] = "autoencoding"
    error: Literal["l1", "l2"] = "l1"
    learned_scale: bool = False
    perceptual: float = 1.0
    features: Annotated[AnyPerceptual, SPELLED, BY_KIND] = PerceptualConfig()
    penalty: float | None = None
    critic: CriticConfig | None = None

    def __post_init__(self) -> None:
        if self.perceptual < 0 or (self.penalty or 0) < 0:
            raise ValueError("the weights perceptual and penalty must be 0 or more")


class AutoencodingObjective(Objective):
    """Equation (1), and the critic's.

    Args:
        first_stage: trained.
        shape: of the pictures, (C, *N).
        error: L1 keeps edges, L2 is what PSNR measures.
        learned_scale: learn s of equation (1): the losses' weight against the penalty finds itself.
        perceptual: w_p; 0 is off, as it is to be for all but pictures and sounds.
        features: what the perceptual distance looks at.
        penalty: w_r; None is what the stage's kind usually takes.
        critic: None is no critic.

    Raises:
        ValueError: the samples cannot be looked at, or are too small for the critic.
    """

    def __init__(
        self,
        *,
        first_stage: ConvolutionalStage,
        shape: tuple[int, ...],
        error: Literal["l1", "l2"] = "l1",
        learned_scale: bool = False,
        perceptual: float = 1.0,
        features: AnyPerceptual,
        penalty: float | None = None,
        critic: CriticConfig | None = None,
    ) -> None:
        super().__init__()
        if perceptual and spatial_of(shape) != features.spatial:
            looks = f"a perceptual distance looks at {'pictures' if features.spatial == 2 else 'sounds'}"
            raise ValueError(f"{looks}, not at samples of shape {shape}: set its weight to 0")
        self.first_stage = first_stage
        self.critic = critic.build(shape) if critic else None
        self.log_scale = nn.Parameter(torch.zeros(())) if learned_scale else None
        self.features = features.build() if perceptual else None
        self.error, self.perceptual, self.settings = error, perceptual, critic
        self.penalty = first_stage.weight if penalty is None else penalty

    def roles(self) -> Mapping[Role, Iterable[nn.Parameter]]:
        own = list(self.first_stage.parameters())
        own += [] if self.log_scale is None else [self.log_scale]
        return {"autoencoder": own} if self.critic is None else {"autoencoder": own, "critic": self.critic.parameters()}

    def forward(self, batch: Batch, role: Role, draws: Draws) -> LossReport:
        return self._critic_loss(batch, draws) if role == "critic" else self._autoencoder_loss(batch, draws)

    @torch.no_grad()
    def validate(self, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """What the mode of the posterior loses of each picture: ``psnr`` in dB, ``perceptual``, and the penalty."""
        stage, x = self.first_stage, batch.x
        raw = stage.encode_raw(x)
        fake = cropped(stage.render(stage.sample(raw, None)), x.shape[2:]).clamp(-1, 1)
        measures = {"psnr": exact_psnr(fake, x)}
        if self.features is not None:
            measures["perceptual"] = self.features(fake, x)
        return measures | {"penalty": stage.reconstruct(x, draws).penalty}

    def diagnose(self, logs: Mapping[str, float]) -> list[str]:
        return [*self.first_stage.diagnose(logs), *_critic_trouble(logs)]

    def _autoencoder_loss(self, batch: Batch, draws: Draws) -> LossReport:
        made = self.first_stage.reconstruct(batch.x, draws)
        learned = self.first_stage.learn(made.z, draws) if self.training else {}
        error, logs = self._error(batch, made)
        logs |= learned
        loss = error + self.penalty * made.penalty
        if self.settings is not None and (most := self.settings.weight_at(draws.step)):
            opinion, weight = self._opinion(made, error, most)
            loss = loss - weight * opinion
            logs |= {"critic_weight": weight.detach(), "opinion": opinion.detach()}
        return LossReport(per_sample=loss, logs=logs)

    def _error(self, batch: Batch, made: Reconstruction) -> tuple[PerSample, dict[str, Tensor]]:
        """The first two terms of equation (1), (B,), and what is worth watching."""
        difference = made.pixels - batch.x
        error = (difference.abs() if self.error == "l1" else difference.square()).flatten(1).mean(1)
        logs = {**made.logs, "error": error.detach(), "quietest": _quietest(made.z)}
        if self.features is not None:
            distance = self.features(made.pixels, batch.x)
            logs["perceptual"] = distance.detach()
            error = error + self.perceptual * distance
        if self.log_scale is not None:
            error = error * torch.exp(-self.log_scale) + self.log_scale
        return error, logs

    def _opinion(self, made: Reconstruction, error: PerSample, most: float) -> tuple[PerSample, Tensor]:
        """The critic's opinion of each picture, (B,), and its weight w_c lambda, (), with w_c = ``most``."""
        assert self.critic is not None and self.settings is not None
        opinion = self.critic(made.pixels).flatten(1).mean(1)
        weight = torch.tensor(most, device=error.device)
        if self.settings.adaptive and torch.is_grad_enabled():
            last = self.first_stage.last_layer
            ours, theirs = (
                average(torch.autograd.grad(loss.mean(), last, retain_graph=True)[0]).norm()
                for loss in (error, opinion)
            )
            weight = weight * (ours / (theirs + 1e-12)).clamp(max=LARGEST_LAMBDA).detach()
        return opinion, weight

    def _critic_loss(self, batch: Batch, draws: Draws) -> LossReport:
        assert self.critic is not None and self.settings is not None
        if draws.step < self.settings.start:
            nothing = sum((p.sum() * 0 for p in self.critic.parameters()), torch.zeros(()))
            return LossReport(per_sample=nothing.expand(len(batch)))
        with torch.no_grad():
            fake = self.first_stage.reconstruct(batch.x, draws).pixels
        real_score, fake_score = self.critic(torch.cat([batch.x, fake])).chunk(2)
        loss = hinge(real_score, fake_score)
        if self.settings.r1:
            loss = loss + 0.5 * self.settings.r1 * gradient_penalty(self.critic, batch.x)
        means = {"real": real_score, "fake": fake_score}
        return LossReport(per_sample=loss, logs={name: score.detach().mean() for name, score in means.items()})


def _quietest(z: Tensor) -> Tensor:
    """The least standard deviation of a channel as a part of the greatest: near 0, it says nothing."""
    spread = z.detach().float().transpose(0, 1).flatten(1).std(1)
    return spread.min() / spread.max()


def _critic_trouble(logs: Mapping[str, float]) -> list[str]:
    """What is wrong between critic and autoencoder."""
    weight = logs.get("critic_weight", 0.0)
    if weight >= 0.1 * LARGEST_LAMBDA:
        return [
            f"the critic's adaptive weight is {weight:.0f}, near its bound: its gradient has vanished, so it says "
            "nothing; let it start later (objective.critic.start), or smooth it (objective.critic.r1=10)"
        ]
    if logs.get("critic.loss", 1.0) < 0.02 and "opinion" in logs:
        return ["the critic tells all pictures apart and teaches nothing: lower objective.critic.weight, or set r1=10"]
    return []
