"""What training needs to know about a model: whose parameters learn, and what each sample costs them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from carrara.errors import UserError
from carrara.nn import Recomputed, compile_for_training, recompute
from carrara.seeds import Draws
from carrara.types import Batch, Role


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """What a recipe says of an objective. Each kind has a class of its own beside its objective.

    Attributes:
        kind: what a recipe calls it.
    """

    kind: str

    @property
    def condition_drop(self) -> float | None:
        """How often a condition is dropped, so that the model can be guided; None where no guidance is learned."""
        return None


@dataclass(frozen=True)
class LossReport:
    """What a batch costs.

    Attributes:
        per_sample: ``(B,)`` float32, differentiable. The trainer takes the mean, over micro-batches and ranks alike.
        logs: numbers to watch, ``()`` or ``(B,)`` each; the trainer logs their means.
    """

    per_sample: Tensor
    logs: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


class Objective(nn.Module, ABC):
    """A batch's loss, and the model that it trains.

    Its direct children (``first_stage``, ``conditioner``, ``denoiser``) are the parts of the model: a checkpoint has
    one file for each. A part that must stay in evaluation mode overrides ``train``.
    """

    @abstractmethod
    def roles(self) -> Mapping[Role, Iterable[nn.Parameter]]:
        """The parameters that learn, by the loss that they descend. No parameter has two roles."""

    @abstractmethod
    def forward(self, batch: Batch, role: Role, draws: Draws) -> LossReport:
        """The loss of ``role``'s parameters on ``batch``, a pure function of weights, batch and ``draws``."""

    @abstractmethod
    def validate(self, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        """Held-out measures of ``batch``, ``(B,)`` each, or fewer where samples do not count: the loss per noise level,
        say."""

    def blocks(self) -> list[nn.Module]:
        """The parts that compute one after the other, each before those that it holds."""
        return [module for module in self.modules() if isinstance(module, Recomputed)]

    def prepare(self, *, recomputed: bool = False, compiled: bool = False) -> None:
        """Decides how gradients are computed.

        Args:
            recomputed: blocks keep their inputs alone and compute the rest again; see ``nn.recompute``.
            compiled: by torch's compiler; see ``nn.compiled``.

        Raises:
            UserError: one of them is wanted, and no part of the model can; or there is no compiler.
        """
        if not recompute(self, recomputed) and recomputed:
            raise UserError(
                "train.recompute is for U-Nets, transformers and autoencoders of convolutions, and this network has "
                "none of their blocks: leave it out"
            )
        if compiled and not compile_for_training(self):
            raise UserError("train.compile is for networks that denoise, and there is none here: leave it out")

    def diagnose(self, logs: Mapping[str, float]) -> list[str]:
        """What is going wrong, in sentences that say what to do, from the numbers of a training step's report."""
        return []
