"""Everything that training changes: weights, optimizers, averages, and a clock. It is what a checkpoint holds.

Randomness and data order are functions of the seed and the clock, so that nothing else has to be saved.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import ConfigDict, Field
from torch import Tensor

from carrara.errors import UserError
from carrara.files import Malformed, as_kind
from carrara.objective.base import Objective
from carrara.train import optim
from carrara.train.checkpoint import Checkpoint, copy_into, load_checkpoint
from carrara.train.ema import Ema
from carrara.train.settings import TrainSettings
from carrara.types import Role

Count = Annotated[int, Field(ge=0, le=1 << 53)]


@dataclass(frozen=True, kw_only=True)
class Clock:
    """How far a training is.

    Attributes:
        step: optimizer steps done.
        images: samples seen.
        seconds: wall-clock time, over all the processes that worked on the run one after the other.
        skipped: the last so many steps had no finite loss or gradient, and changed nothing.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    step: Count = 0
    images: Count = 0
    seconds: Annotated[float, Field(ge=0)] = 0.0
    skipped: Count = 0


class TrainState:
    """A model in training.

    Args:
        objective: on its device, float32.
        settings: what the optimizers and the average are made with, and how gradients are computed.

    Raises:
        UserError: the settings want what this model cannot.
    """

    def __init__(self, objective: Objective, settings: TrainSettings) -> None:
        objective.prepare(recomputed=settings.recompute, compiled=settings.compile is True)
        self.objective = objective
        self.optimizers: dict[Role, optim.Optimizers] = {
            role: optim.optimizers(parameters, settings) for role, parameters in objective.roles().items()
        }
        self.ema = Ema(objective, half_life=settings.ema_half_life, rampup=settings.ema_rampup)
        self.clock = Clock()

    @property
    def device(self) -> torch.device:
        """Where the objective is."""
        return next(self.objective.parameters()).device

    @contextmanager
    def only(self, role: Role) -> Generator[None, None, None]:
        """Gradients reach the parameters of one role alone: a generator's loss does not teach its critic."""
        others = [p for other, o in self.optimizers.items() if other != role for p in optim.parameters_of(o)]
        for p in others:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in others:
                p.requires_grad_(True)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The live tensors by part: one part for each child of the objective, ``ema`` and ``optimizer``."""
        parts: dict[str, dict[str, Tensor]] = {}
        for path, tensor in self.objective.state_dict().items():
            part, dot, name = path.partition(".")
            parts.setdefault(part if dot else "objective", {})[name or path] = tensor
        assert not {"ema", "optimizer"} & parts.keys(), "a part of the model has a name that checkpoints use"
        names = {p: name for name, p in self.objective.named_parameters()}
        moments = {
            f"{r}/{n}": t for r, o in self.optimizers.items() for n, t in optim.optimizer_moments(o, names).items()
        }
        return {**parts, "ema": dict(self.ema.tensors), "optimizer": moments}

    def checkpoint(self) -> Checkpoint:
        """This moment, sharing memory with the training: to be saved before the next step."""
        clock = asdict(self.clock)
        return Checkpoint(step=clock.pop("step"), parts=self.tensors(), state=clock)

    def restore(self, path: Path) -> None:
        """Goes to the moment that ``checkpoint.save`` wrote to ``path``.

        Raises:
            UserError: the checkpoint is damaged, or of another model; then nothing has changed.
        """
        saved = load_checkpoint(path)
        try:
            clock = as_kind({**saved.state, "step": saved.step}, Clock)
        except Malformed as error:
            raise UserError(f"the checkpoint {path} is not one of a training ({error}): use another one") from error
        copy_into(self.tensors(), saved.parts, path)
        self.clock = clock
