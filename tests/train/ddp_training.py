"""One rank of a training; started as torchrun starts it, prints what rank 0 ends with."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from tiny_training import Adversaries, Tiny, batch_at, training
from torch import nn

from carrara.objective.base import Objective
from carrara.train import Training, distributed, launched
from carrara.types import Batch


def share(start: int) -> Iterator[Batch]:
    """This rank's rows of each batch."""
    for step in range(start, 1_000_000):
        whole = batch_at(step)
        rows = slice(distributed.rank(), None, distributed.world())
        yield Batch(x=whole.x[rows], position=whole.position[rows])


def without_torchs_dropout() -> Tiny:
    objective = Tiny()
    objective.denoiser[2] = nn.Identity()
    return objective


def run(folder: Path, objective: Objective) -> Training:
    return training(folder, objective=objective, data=share, accumulate=2, lr=1e-3, steps=8)


def stopped_by_one_rank(folder: Path) -> list[float]:
    """The last rank is told to stop after step 3; several stop after step 4, one at once; they go on from there."""
    losses: list[float] = []
    for report in run(folder, without_torchs_dropout()):
        losses.append(report.loss)
        if report.step == 3 and distributed.rank() == distributed.world() - 1:
            os.kill(os.getpid(), signal.SIGINT)
    assert len(losses) == (4 if distributed.world() > 1 else 3), losses
    return losses


def end(training: Training, losses: list[float]) -> dict[str, list[float]]:
    losses += [report.loss for report in training]
    tensors = []
    for name, p in training.state.objective.named_parameters():  # a buffer is of what its rank saw
        tensors += [p, training.ema.tensors.get(name, p)]
    return {"losses": losses, "tensors": torch.cat([t.detach().flatten() for t in tensors]).tolist()}


def experiments(folder: Path) -> dict[str, dict[str, list[float]]]:
    losses = stopped_by_one_rank(folder / "tiny")
    return {
        "one role": end(run(folder / "tiny", without_torchs_dropout()), losses),
        "two roles": end(run(folder / "adversaries", Adversaries()), []),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    with launched():
        result = experiments(Path(sys.argv[1]))
        if distributed.is_main():
            print(json.dumps(result))
