r"""Few-step distillation: a student learns to go in one step where its teacher goes in many.

The teacher's sampler, without fresh noise, is a map from noise to data: the solution of its probability flow, guided as
its samples are. Cut at the times 1 = t_0 > t_1 > ... > t_N = 0, a solution is a row of states x_0, ..., x_N. With the
student's estimate, a step of DDIM (``sample.samplers``, equation 5) leads from one to the next,

.. math:: \Phi_k(x) = \kappa_k x + (\alpha_{k+1} - \kappa_k \alpha_k) \hat x_0(x, t_k, c), \qquad
          \kappa_k = \sigma_{k+1} / \sigma_k,                                                                     (1)

and there is an estimate for which it leads exactly there, whatever happens in between: not the mean of the data, which
the teacher says, but the point that the whole segment aims at. The student descends

.. math:: L = \| \Phi_k(x_k) - x_{k+1} \|^2 / (h_k^2 \dim), \qquad
          h_k = \frac{\alpha_{k+1} \sigma_k - \alpha_k \sigma_{k+1}}{\sqrt{\alpha_k^2 + \sigma_k^2}},             (2)

where h_k is how far a unit of v carries the state. So this is the plain error of a network that predicts v, and for any
other network the error of the v that its answer amounts to: steps count alike on every schedule. The minimum is the
mean of x_{k+1} given x_k, which is x_{k+1} itself: a flow has one solution through a point.

So nothing is bootstrapped from the student, as in consistency models (Song et al., 2023; in segments: Heek et al.,
"Multistep Consistency Models", 2024), and no stage builds on another, as in progressive distillation (Salimans and Ho,
2022); with N = 1 it is the knowledge distillation of Luhman and Luhman (2021). The price is one whole solution of the
teacher's for every N pairs; they are made once and kept.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from carrara.autoencoder import FirstStage
from carrara.conditioning import Conditioner
from carrara.denoiser import Denoiser
from carrara.kinds import UNSAID
from carrara.objective.base import LossReport, Objective, ObjectiveSettings
from carrara.objective.finetuning import Lora
from carrara.sample import Uniform
from carrara.seeds import Draws
from carrara.shapes import Indices, PerSample, Samples, expand
from carrara.types import Batch, Conditioning, Role

TOLD = "told"
"""The column (B, 1) that is 0 where a solution was made without a condition; if there is none, all had one."""


MOST_FEW_STEPS = 16
"""Of a few-step model; with more, the teacher itself is as good."""
GRID = Uniform()
"""Where a few-step model stops on its way."""


@dataclass(frozen=True, kw_only=True)
class FewStepSettings(ObjectiveSettings):
    """A model of few steps learns from a trained one, its teacher.

    Attributes:
        teacher: the folder of the teacher's run, whose weights it begins with.
        steps: how many.
        trajectories: how many of the teacher's samples are made to learn from, each from noise to data.
        solver: the teacher's steps on this way, at least; as many in each of the student's.
        guidance: the scale that is learned; None = the one that the teacher samples with.
        drop: the part of the trajectories that are made without a condition.
        learn: an adapter that learns beside the teacher's weights; None = all weights do.
    """

    kind: Literal["few_step"] = "few_step"
    teacher: str = ""
    steps: int = 4
    trajectories: int = 2048
    solver: int = 24
    guidance: float | None = None
    drop: float = 0.1
    learn: Annotated[Lora | None, UNSAID] = field(default=None, repr=False)  # as keys of trajectories were

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MOST_FEW_STEPS:
            raise ValueError(f"a few-step model takes 1 to {MOST_FEW_STEPS} steps, and steps is {self.steps}")
        if self.trajectories < 1 or self.solver < 1:
            raise ValueError(f"take 1 or more, not {self.trajectories} trajectories and {self.solver} solver steps")
        if not 0 <= self.drop <= 1:
            raise ValueError(f"drop is a part of the trajectories, from 0 to 1, and is {self.drop}")


class FewStepDistillation(Objective):
    """Equation (2), on batches whose ``x`` are solutions (B, N + 1, *S) of model latents, from noise to data.

    The k of a sample is its position modulo N, so that a batch has as many of each. Dropout is off.

    Args:
        first_stage: frozen; a part of the model, which the loss does not ask.
        conditioner, denoiser: the student's; they begin as the teacher's.
        times: t_0 ... t_N, (N + 1,) float64.
    """

    def __init__(self, *, first_stage: FirstStage, conditioner: Conditioner, denoiser: Denoiser, times: Tensor) -> None:
        super().__init__()
        self.first_stage = first_stage.requires_grad_(False)
        self.conditioner = conditioner
        self.denoiser = denoiser
        self.steps = len(times) - 1
        self._times = (times,)  # a tuple hides it from what is moved and saved

    def train(self, mode: bool = True) -> "FewStepDistillation":
        """Always in evaluation mode."""
        return super().train(False)

    def roles(self) -> Mapping[Role, Iterable[nn.Parameter]]:
        return {"main": [*self.conditioner.parameters(), *self.denoiser.parameters()]}

    def forward(self, batch: Batch, role: Role, draws: Draws) -> LossReport:
        k = batch.position % self.steps
        rows = torch.arange(len(batch), device=k.device)
        loss = self._error(batch.x[rows, k], batch.x[rows, k + 1], k, self._told(batch))
        return LossReport(per_sample=loss)

    @torch.no_grad()
    def validate(self, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """``loss@t=...`` of each step; and ``distance``, the root mean square between student's and teacher's samples
        from the same noise, where the student goes all N steps on its own."""
        cond, x = self._told(batch), batch.x[:, 0]
        losses: dict[str, Tensor] = {}
        for step in range(self.steps):
            k = torch.full((len(x),), step, device=x.device)
            name = f"loss@t={self._times[0][step].item():.3f}"
            losses[name] = self._error(batch.x[:, step], batch.x[:, step + 1], k, cond)
            x = self._next(x, k, cond)[0]
        return {**losses, "distance": (x - batch.x[:, -1]).square().flatten(1).mean(1).sqrt()}

    def _told(self, batch: Batch) -> Conditioning:
        told = batch.columns[TOLD][:, 0] > 0 if TOLD in batch.columns else None
        return self.conditioner(batch.columns, told)

    def _error(self, x: Samples, wanted: Samples, k: Indices, cond: Conditioning) -> PerSample:
        """Equation (2) for each sample, (B,)."""
        reached, h = self._next(x, k, cond)
        return ((reached - wanted) / expand(h, x)).square().flatten(1).mean(1)

    def _next(self, x: Samples, k: Indices, cond: Conditioning) -> tuple[Samples, PerSample]:
        """Equation (1) in float32, and h."""
        times = self._times[0].to(k.device)
        t, s = times[k], times[k + 1]
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self.denoiser.schedule(t), self.denoiser.schedule(s)
        kappa = sigma_s / sigma_t
        toward = alpha_s - kappa * alpha_t
        x0 = self.denoiser(x, t, cond)
        h = toward * sigma_t / torch.hypot(alpha_t, sigma_t)
        return (expand(kappa, x) * x + expand(toward, x) * x0).float(), h.float()
