r"""Training, on one page.

At step k, the batch x_1 ... x_B and the random numbers of each sample are functions of the seed and k alone. Then

.. math:: g = \nabla_\theta \tfrac{1}{B} \sum_b L_b(\theta), \quad
          \theta \leftarrow \mathrm{step}(\theta, \; g \min(1, c / \|g\|)), \quad
          \bar\theta \leftarrow \mathrm{EMA}(\bar\theta, \theta)                                                 (1)

The loop is a generator: it hands out a report after each step and waits, so that previews, saving and stopping need no
callbacks, and it goes on from whatever the state's clock says.
"""

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from carrara import seeds
from carrara.errors import UserError
from carrara.objective.base import LossReport
from carrara.seeds import Draws
from carrara.train import distributed, optim
from carrara.train.precision import autocast
from carrara.train.settings import TrainSettings
from carrara.train.state import Clock, TrainState
from carrara.train.stopwatch import Stopwatch
from carrara.types import Batch, Role

Batches = Callable[[int], Iterator[Batch]]
"""``start_step -> batches``: this rank's share of each step's batch, endless, from any step on."""

PATIENCE = 20
"""So many steps in a row may have no finite loss or gradient."""


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What a step did.

    Attributes:
        step: steps done, this one included.
        loss: mean over the batch, before the update.
        images: samples seen.
        seconds: wall-clock time of the run so far; see ``stopwatch``.
        lr: learning rate of the update.
        grad_norm: norm of the gradient before clipping.
        progress: the part of the run that is done; the rest takes about ``seconds (1 - progress) / progress``.
        skipped: 0, or how many steps in a row had no finite loss or gradient and changed nothing.
        logs: means of what the objective wants watched.
    """

    step: int
    loss: float
    images: int
    seconds: float
    lr: float
    grad_norm: float
    progress: float
    skipped: int = 0
    logs: Mapping[str, float] = field(default_factory=dict[str, float])

    def line(self) -> dict[str, Any]:
        """The report as a line of log.jsonl."""
        names = ("step", "loss", "images", "seconds", "lr", "grad_norm")
        skipped = {"skipped": self.skipped} if self.skipped else {}
        return {**{name: getattr(self, name) for name in names}, **skipped, **self.logs}


def train(
    state: TrainState, batches: Batches, settings: TrainSettings, *, seed: int
) -> Generator[StepReport, None, None]:
    """Trains until the settings' steps or minutes are over, from wherever ``state`` is; changes ``state`` in place.

    Raises:
        UserError: loss or gradient were not finite for ``PATIENCE`` steps in a row.
    """
    objective = distributed.replicated(state.objective.train())

    with _opened(batches(state.clock.step)) as stream, Stopwatch(state.clock.seconds) as watch:
        while (progress := settings.progress(state.clock.step, state.clock.seconds)) < 1:
            clock, skipped, numbers = state.clock, 0, dict[str, float]()

            # Batch
            batch = next(stream).to(state.device)
            images = len(batch) * distributed.world()
            lr = optim.learning_rate(settings, clock.step, progress)
            assert batch.x.is_floating_point(), "pixels are float32 in [-1, 1] before they get here"

            for role, optimizers in state.optimizers.items():
                # Gradient
                with state.only(role):
                    means = _gradient(objective, batch, role, settings, seed, clock.step)

                # Clip
                means["grad_norm"] = clip_grad_norm_(optim.parameters_of(optimizers), settings.clip).item()

                # Update, unless it would spoil the weights
                if math.isfinite(means["loss"]) and math.isfinite(means["grad_norm"]):
                    optim.descend(optimizers, lr)
                else:
                    skipped = clock.skipped + 1
                objective.zero_grad(set_to_none=True)
                numbers |= {f"{role}.{name}" if numbers else name: value for name, value in means.items()}

            # Average
            state.ema.update(clock.images, images)

            # Clock
            seconds = distributed.agreed(watch.seconds(), state.device)
            state.clock = Clock(step=clock.step + 1, images=clock.images + images, seconds=seconds, skipped=skipped)
            if skipped >= PATIENCE:
                raise _diverged(state.clock, settings)

            # Report
            yield StepReport(
                **asdict(state.clock),
                loss=numbers.pop("loss"),
                lr=lr,
                grad_norm=numbers.pop("grad_norm"),
                progress=settings.progress(clock.step + 1, seconds),
                logs=numbers,
            )


def _gradient(
    objective: nn.Module, batch: Batch, role: Role, settings: TrainSettings, seed: int, step: int
) -> dict[str, float]:
    """Equation (1)'s g, into ``.grad``, one micro-batch after the other; returns the means of the loss and the logs."""
    device, micros = batch.x.device, list(batch.split(math.ceil(len(batch) / settings.accumulate)))
    means: dict[str, Tensor] = {}
    for number, micro in enumerate(micros, start=1):
        share = len(micro) / len(batch)
        with distributed.synchronised(objective, when=number == len(micros)):
            layers = ("layers", distributed.rank(), seed, step, number)
            with autocast(settings.precision, device), seeds.torch_generator(*layers, device=device):
                report: LossReport = objective(micro, role, Draws(seed, micro.position, step))
            assert report.per_sample.shape == (len(micro),), "an objective's loss is one number per sample"
            (report.per_sample.mean() * share).backward()
        for name, value in {**report.logs, "loss": report.per_sample}.items():
            means[name] = means.get(name, 0.0) + value.detach().float().mean() * share
    return distributed.mean(means)


@contextmanager
def _opened(stream: Iterator[Batch]) -> Generator[Iterator[Batch], None, None]:
    """Closes a loader that can be closed: its workers end with the training."""
    try:
        yield stream
    finally:
        getattr(stream, "close", lambda: None)()


def _diverged(clock: Clock, settings: TrainSettings) -> UserError:
    return UserError(
        f"the loss or its gradient was not a finite number in the last {clock.skipped} steps, up to step {clock.step}, "
        f"so nothing is learned: lower train.lr (it is {settings.lr:g}) or set train.precision=float32, and run again"
    )
