r"""Training, on one page.

At step k, the batch x_1 ... x_B and the random numbers of each sample are functions of the seed and k alone. Then

.. math:: g = \nabla_\theta \tfrac{1}{B} \sum_b L_b(\theta), \quad
          \theta \leftarrow \mathrm{step}(\theta, \; g \min(1, c / \|g\|)), \quad
          \bar\theta \leftarrow \mathrm{EMA}(\bar\theta, \theta)                                                 (1)

The loop is a generator: it hands out a report after each step and waits, so that previews, saving and stopping need no
callbacks, and it goes on from whatever the state's clock says.
"""

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_

from carrara import seeds
from carrara.objective.base import LossReport
from carrara.seeds import Draws
from carrara.train import distributed, incidents, optim, sharding
from carrara.train.incidents import PATIENCE, Diverged
from carrara.train.precision import autocast
from carrara.train.settings import TrainSettings
from carrara.train.state import TrainState
from carrara.train.stopwatch import Stopwatch
from carrara.types import Batch, Role

Batches = Callable[[int], Iterator[Batch]]
"""``start_step -> batches``: this rank's share of each step's batch, endless, from any step on."""


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
        skipped: 0, or how many steps in a row had no finite loss or gradient and changed nothing. If only a later
            role's is not finite, what the roles before it learned stays.
        blamed: positions of the samples, of all ranks, whose loss was not finite; of the whole batch, if it was the
            gradient.
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
    blamed: tuple[int, ...] = ()
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

    A step that does not fit into memory is made again in twice as many micro-batches, and so are all later ones.

    Raises:
        Diverged: loss or gradient were not finite for ``PATIENCE`` steps in a row, or the weights exploded; these are
            not in the average.
        UserError: the memory is too small.
    """
    objective = distributed.replicated(state.objective.train())

    with _opened(batches(state.clock.step)) as stream, Stopwatch(state.clock.seconds) as watch:
        while (progress := settings.progress(state.clock.step, state.clock.seconds)) < 1:
            clock, before, numbers, blamed = state.clock, state.buffers(), dict[str, float](), ()

            # Batch
            batch = next(stream).to(state.device)
            images = len(batch) * distributed.world()
            lr = optim.learning_rate(settings, clock.step, progress) * clock.rate
            assert batch.x.is_floating_point(), "pixels are float32 in [-1, 1] before they get here"

            for role, optimizers in state.optimizers.items():
                # Gradient
                with state.only(role):
                    means, losses = _fitting(objective, batch, role, settings, seed, state)

                # Clip
                means["grad_norm"] = _clip(optim.parameters_of(optimizers), settings.clip)

                # Update, unless it would spoil the weights; then the roles after it have nothing to go by
                if not (math.isfinite(means["loss"]) and math.isfinite(means["grad_norm"])):
                    blamed = blamed or _blamed(batch, losses)
                if not blamed:
                    optim.descend(optimizers, lr)
                objective.zero_grad(set_to_none=True)
                numbers |= {f"{role}.{name}" if numbers else name: value for name, value in means.items()}
            if blamed:
                state.put_back(before)

            # Clock
            seconds = distributed.agreed(watch.seconds(), state.device)
            state.clock = replace(clock, seconds=seconds)
            if incidents.has_exploded(growth := state.ema.growth(incidents.SMALLEST)):
                raise Diverged(
                    clock.step + 1, incidents.exploded(growth, clock.step + 1), batch.position.tolist(), settings
                )
            skipped, seen = clock.skipped + 1 if blamed else 0, clock.images + images
            state.clock = replace(state.clock, step=clock.step + 1, images=seen, skipped=skipped)

            # Average
            state.ema.update(clock.images, images)
            if skipped >= PATIENCE:
                raise Diverged(clock.step + 1, incidents.not_finite(skipped, clock.step + 1), blamed, settings)

            # Report
            yield StepReport(
                step=state.clock.step,
                images=seen,
                seconds=seconds,
                skipped=skipped,
                blamed=blamed,
                loss=numbers.pop("loss"),
                lr=lr,
                grad_norm=numbers.pop("grad_norm"),
                progress=settings.progress(state.clock.step, seconds),
                logs=numbers,
            )


def _fitting(
    objective: nn.Module, batch: Batch, role: Role, settings: TrainSettings, seed: int, state: TrainState
) -> tuple[dict[str, float], Tensor]:
    """The gradient, in as many micro-batches as there is memory for; ``state`` remembers how many.

    Raises:
        UserError: there is too little memory for one sample, or on one rank of several.
    """
    while True:
        before, accumulate = state.buffers(), settings.accumulate * state.parts
        try:
            return _gradient(objective, batch, role, settings, seed, state.clock.step, accumulate)
        except (MemoryError, RuntimeError) as error:
            if not incidents.is_out_of_memory(error):
                raise
            if distributed.world() > 1 or accumulate >= len(batch):
                raise incidents.too_large(settings, distributed.world()) from error
        # Only here, where no traceback holds what the failed attempt had computed, is its memory free
        objective.zero_grad(set_to_none=True)
        state.put_back(before)
        state.parts *= 2
        if batch.x.is_cuda:
            torch.cuda.empty_cache()


def _gradient(
    objective: nn.Module, batch: Batch, role: Role, settings: TrainSettings, seed: int, step: int, accumulate: int
) -> tuple[dict[str, float], Tensor]:
    """Equation (1)'s g, into ``.grad``, one micro-batch after the other; returns the means of the loss and the logs,
    over all ranks, and the loss of each sample of this one, (B,)."""
    device, micros = batch.x.device, list(batch.split(math.ceil(len(batch) / accumulate)))
    means, losses = dict[str, Tensor](), list[Tensor]()
    for number, micro in enumerate(micros, start=1):
        share = len(micro) / len(batch)
        with distributed.synchronised(objective, when=number == len(micros)):
            layers = ("layers", distributed.rank(), seed, step, number)
            with autocast(settings.precision, device), seeds.torch_generator(*layers, device=device):
                report: LossReport = objective(micro, role, Draws(seed, micro.position, step))
            assert report.per_sample.shape == (len(micro),), "an objective's loss is one number per sample"
            (report.per_sample.mean() * share).backward()
        losses.append(report.per_sample.detach())
        for name, value in {**report.logs, "loss": report.per_sample}.items():
            means[name] = means.get(name, 0.0) + value.detach().float().mean() * share
    sharding.averaged(objective)
    return distributed.mean(means), torch.cat(losses)


def _clip(parameters: Sequence[nn.Parameter], largest: float) -> float:
    """The norm of the gradient, which is at most ``largest`` after."""
    norm = sharding.norm(p.grad for p in parameters if p.grad is not None)
    clip_grads_with_norm_(parameters, largest, norm)
    return norm.item()


def _blamed(batch: Batch, losses: Tensor) -> tuple[int, ...]:
    """Positions of the samples, of all ranks, whose loss is not finite; of all samples, if none is such."""
    both = distributed.gathered(torch.stack([batch.position, losses.isfinite().long()], dim=1))
    bad = both[both[:, 1] == 0]
    return tuple((bad if len(bad) else both)[:, 0].tolist())


@contextmanager
def _opened(stream: Iterator[Batch]) -> Generator[Iterator[Batch], None, None]:
    """Closes a loader that can be closed: its workers end with the training."""
    try:
        yield stream
    finally:
        getattr(stream, "close", lambda: None)()
