"""Networks that are compiled for training: elsewhere, in files and in copies they are as ever."""

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from carrara.autoencoder import Identity
from carrara.backbone import MlpConfig
from carrara.conditioning import UnconditionalConfig
from carrara.denoiser import Denoiser
from carrara.errors import UserError
from carrara.nn import compiled
from carrara.noise import Cosine, UniformTimes, UnitWeighting, V
from carrara.objective import DiffusionObjective, LossReport, Objective
from carrara.seeds import Draws, torch_generator
from carrara.train import TrainSettings, TrainState, held_out, train
from carrara.types import Batch

STEPS = 3


def batches(start: int) -> Iterator[Batch]:
    for step in count(start):
        positions = 4 * step + torch.arange(4)
        yield Batch(x=Draws(0, positions).normal("x", 2), position=positions)


def state(**options: Any) -> TrainState:
    config = MlpConfig(width=8, depth=1)
    with torch_generator(0):
        objective = DiffusionObjective(
            first_stage=Identity(),
            conditioner=UnconditionalConfig().build(config.vector_width),
            denoiser=Denoiser(config.build((2,)), Cosine(), V()),
            times=UniformTimes(),
            weighting=UnitWeighting(),
        )
    return TrainState(objective, settings(**options))


def settings(**options: Any) -> TrainSettings:
    return TrainSettings(steps=STEPS, batch=4, warmup=0, lr=1e-2, precision="float32", **options)


def trained(of: TrainState, **options: Any) -> dict[str, dict[str, Tensor]]:
    for _ in train(of, batches, settings(**options), seed=0):
        pass
    return of.tensors()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """In the place of torch's compiler: the network as it is, and a number for each call of it."""
    seen = list[int]()

    def compile(f: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*inputs: Any) -> Any:
            seen.append(len(inputs[0]))
            return f(*inputs)

        return counted

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(compiled.shutil, "which", lambda name: name)
    return seen


def test_training_alone_runs_compiled(calls: list[int]) -> None:
    of = state(compile=True)
    trained(of, compile=True)
    assert calls == [4] * STEPS
    with of.ema.swapped_in():
        held_out(of.objective, [next(batches(0))], seed=0)
    assert len(calls) == STEPS


def test_weights_optimizers_and_averages_are_those_of_the_network(calls: list[int]) -> None:
    ours, theirs = trained(state(compile=True), compile=True), trained(state())
    assert {part: list(tensors) for part, tensors in ours.items()} == {p: list(ts) for p, ts in theirs.items()}
    for part, tensors in ours.items():
        for name, value in tensors.items():
            assert torch.equal(value, theirs[part][name])


def test_copies_compute_with_their_own_weights(calls: list[int]) -> None:
    of = state(compile=True)
    copied = copy.deepcopy(of.objective).train()
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.fill_(torch.nan)
    batch = next(batches(0))
    report = copied(batch, "main", Draws(0, batch.position))
    assert bool(report.per_sample.isnan().all())
    assert not calls


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    state()
    with pytest.raises(UserError, match="C\\+\\+ compiler"):
        state(compile=True)


class Bare(Objective):
    """A layer, which nobody compiles."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def roles(self):
        return {"main": self.layer.parameters()}

    def forward(self, batch, role, draws):
        return LossReport(self.layer(batch.x).squeeze(1))

    def validate(self, batch, draws):
        return {}


def test_models_without_a_network_to_compile_are_refused() -> None:
    with pytest.raises(UserError, match="leave it out"):
        Bare().prepare(compiled=True)


@pytest.mark.slow
def test_torchs_compiler_learns_the_same() -> None:
    """In a process of its own, where no annotations are checked while the compiler looks at the code."""
    program = "from test_compiled import learn_compiled; learn_compiled()"
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, check=True)


def learn_compiled() -> None:
    ours, theirs = trained(state(compile=True), compile=True), trained(state())
    for name, value in ours["denoiser"].items():
        torch.testing.assert_close(value, theirs["denoiser"][name], rtol=1e-3, atol=1e-4)
    from torch._dynamo.utils import counters

    assert counters["stats"]["unique_graphs"] > 0
    assert not counters["graph_break"]
