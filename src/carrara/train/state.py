"""Everything that training changes: weights, optimizers, averages, and a clock. It is what a checkpoint holds.

Randomness and data order are functions of the seed and the clock, so that nothing else has to be saved.
"""

from collections.abc import Generator, Mapping
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
from carrara.train import optim, sharding
from carrara.train.checkpoint import Checkpoint, copy_into, load_checkpoint
from carrara.train.ema import Ema
from carrara.train.incidents import HALVINGS, TRUST
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
        halvings: so often the run went back and on with half the learning rate.
        halved: the learning rate of the settings that was halved; another one begins anew.
        since: the step at which the rate was changed last, by the user or by a halving.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    step: Count = 0
    images: Count = 0
    seconds: Annotated[float, Field(ge=0)] = 0.0
    skipped: Count = 0
    halvings: Annotated[int, Field(ge=0, le=HALVINGS)] = 0
    halved: Annotated[float, Field(ge=0)] = 0.0
    since: Count = 0

    @property
    def rate(self) -> float:
        """What the learning rate is multiplied by."""
        return 0.5**self.halvings

    @property
    def is_proven(self) -> bool:
        """Whether the rate has done well for so long that what it makes can be trusted."""
        return not (self.halvings or self.since) or self.step >= self.since + TRUST


class TrainState:
    """A model in training.

    Args:
        objective: on its device, float32.
        settings: what the optimizers and the average are made with, and how gradients are computed.

    Attributes:
        parts: into so many a micro-batch is parted, because the memory is too small for a whole one; it is not saved.

    Raises:
        UserError: the settings want what this model cannot.
    """

    def __init__(self, objective: Objective, settings: TrainSettings) -> None:
        objective.prepare(recomputed=settings.recompute, compiled=settings.compile is True)
        sharding.shard(objective, settings.shard)
        self.objective = objective
        self.optimizers: dict[Role, optim.Optimizers] = {
            role: optim.optimizers(parameters, settings) for role, parameters in objective.roles().items()
        }
        self.ema = Ema(objective, half_life=settings.ema_half_life, rampup=settings.ema_rampup)
        self.clock = Clock()
        self.parts = 1

    @property
    def device(self) -> torch.device:
        """Where the objective is."""
        return next(self.objective.parameters()).device

    @contextmanager
    def only(self, role: Role) -> Generator[None, None, None]:
        """Gradients reach the parameters of one role alone: a generator's loss does not teach its critic."""
        if sharding.is_sharded(self.objective):  # there, what needs a gradient is decided once; others are dropped
            yield
            return
        others = [p for other, o in self.optimizers.items() if other != role for p in optim.parameters_of(o)]
        for p in others:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in others:
                p.requires_grad_(True)

    def buffers(self) -> dict[str, Tensor]:
        """Copies of what a forward pass may change besides its gradients, to be ``put_back``."""
        return {name: buffer.clone() for name, buffer in self.ema.buffers().items()}

    @torch.no_grad()
    def put_back(self, buffers: Mapping[str, Tensor]) -> None:
        """Takes back what forward passes have changed since."""
        for name, buffer in self.ema.buffers().items():
            buffer.copy_(buffers[name])

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

    def beginning(self) -> Checkpoint:
        """This moment, before the first step, in memory of its own: weights and averages of this rank, on the CPU;
        moments are 0."""
        parts = self._own()
        moments = {name: t.new_zeros(()).cpu().expand(t.shape) for name, t in parts.pop("optimizer").items()}
        weights = {part: {n: t.detach().to("cpu", copy=True) for n, t in own.items()} for part, own in parts.items()}
        return Checkpoint(step=0, parts={**weights, "optimizer": moments})

    def begin_again(self, beginning: Checkpoint) -> None:
        """Goes back to the ``beginning``."""
        copy_into(self._own(), beginning.parts, Path())
        self.clock = Clock()

    def _own(self) -> dict[str, dict[str, Tensor]]:
        """The live tensors, of which this rank may have a part each."""
        return {part: {name: sharding.own(t) for name, t in own.items()} for part, own in self.tensors().items()}

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
