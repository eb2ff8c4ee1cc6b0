"""A training that takes milliseconds a step, with all that makes a resume hard: noise, dropout, buffers, two parts."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from carrara.objective.base import LossReport, Objective
from carrara.seeds import Draws
from carrara.train import CheckpointSettings, Training, TrainSettings, TrainState
from carrara.types import Batch, Role

DIM = 4


def fill(module: nn.Module, seed: int = 0) -> None:
    """Initial weights as a function of the seed."""
    for number, p in enumerate(module.parameters()):
        values = Draws(seed, torch.tensor([number])).normal("init", p.numel()).reshape(p.shape)
        p.data.copy_(0.3 * values + (1.0 if p.ndim == 1 else 0.0))


class Tiny(Objective):
    """Predicts x from a noised x, with dropout of both kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.conditioner = nn.Linear(1, 8)
        self.denoiser = nn.Sequential(nn.Linear(DIM, 8), nn.LayerNorm(8), nn.Dropout(0.1), nn.SiLU(), nn.Linear(8, DIM))
        self.denoiser.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.denoiser.register_buffer("norm", torch.zeros(()))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        fill(self)

    def roles(self) -> Mapping[Role, Iterable[nn.Parameter]]:
        return {"main": [*self.conditioner.parameters(), *self.denoiser.parameters()]}

    def forward(self, batch: Batch, role: Role, draws: Draws) -> LossReport:
        self.denoiser.seen += len(batch)
        self.denoiser.norm.lerp_(batch.x.norm(), 0.1)
        t = draws.uniform("time")
        error = self._error(batch.x, t, draws) * (draws.uniform("keep") > 0.2)
        return LossReport(error, {"time": t, "largest": error.max()})

    def validate(self, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        return {"half": self._error(batch.x, torch.full((len(batch),), 0.5), draws), "position": batch.position.float()}

    def _error(self, x: Tensor, t: Tensor, draws: Draws) -> Tensor:
        noised = x + t[:, None] * draws.normal("noise", DIM)
        hidden = self.denoiser[:3](noised) + self.conditioner(t[:, None])
        return (self.denoiser[3:](hidden).float() - x).square().mean(1)


class Adversaries(Objective):
    """Two roles; both losses flow through both parts."""

    def __init__(self) -> None:
        super().__init__()
        self.autoencoder, self.critic = nn.Linear(DIM, DIM), nn.Linear(DIM, 1)
        self.asked: list[tuple[Role, bool, bool]] = []
        fill(self)

    def roles(self) -> Mapping[Role, Iterable[nn.Parameter]]:
        return {"autoencoder": self.autoencoder.parameters(), "critic": self.critic.parameters()}

    def forward(self, batch: Batch, role: Role, draws: Draws) -> LossReport:
        self.asked.append((role, self.autoencoder.weight.requires_grad, self.critic.weight.requires_grad))
        score = self.critic(self.autoencoder(batch.x)).squeeze(1).square()
        return LossReport(score if role == "critic" else -score, {"score": score})

    def validate(self, batch: Batch, draws: Draws) -> Mapping[str, Tensor]:
        return {}


def batches(start: int, size: int = 8) -> Iterator[Batch]:
    """Step k's samples are a function of their positions."""
    for step in range(start, 1_000_000):
        yield batch_at(step, size)


def batch_at(step: int, size: int = 8) -> Batch:
    position = torch.arange(step * size, (step + 1) * size)
    return Batch(x=Draws(7, position).normal("data", DIM) * torch.tensor([1.0, 2.0, 0.5, 0.1]), position=position)


def settings(**changes: object) -> TrainSettings:
    return TrainSettings(**{"steps": 12, "batch": 8, "lr": 1e-2, "warmup": 3, "precision": "float32", **changes})


def training(
    folder: Path, *, objective=None, data=batches, every: int = 1000, keep: int = 2, extra=None, **changes: object
) -> Training:
    return Training(
        objective or Tiny(),
        data,
        settings(**changes),
        seed=3,
        folder=folder,
        checkpoints=CheckpointSettings(every=every, keep=keep),
        extra=extra,
    )


def run_until(training: Training, step: int) -> list[float]:
    """Trains to a step and drops the iterator there, as a crash does; returns the losses."""
    losses = []
    for report in training:
        losses.append(report.loss)
        if report.step == step:
            break
    return losses


def assert_equal_states(one: TrainState, other: TrainState) -> None:
    assert one.clock.step == other.clock.step and one.clock.images == other.clock.images
    mine, theirs = one.tensors(), other.tensors()
    assert mine.keys() == theirs.keys()
    for part in mine:
        assert mine[part].keys() == theirs[part].keys()
        for name, tensor in mine[part].items():
            assert torch.equal(tensor, theirs[part][name]), (part, name)


def fingerprint(state: TrainState) -> str:
    """A hash of every bit of a state."""
    digest = hashlib.sha256(json.dumps([state.clock.step, state.clock.images]).encode())
    for part, tensors in sorted(state.tensors().items()):
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{part}/{name}".encode() + tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
