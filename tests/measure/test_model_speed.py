"""What ``bench`` measures is what training and sampling do."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch

from carrara.autoencoder import KlConfig
from carrara.backbone import UNetConfig
from carrara.conditioning import LabelsConfig
from carrara.errors import UserError
from carrara.measure import timing
from carrara.measure.model_speed import ModelSpeed, measure_model_speed
from carrara.measure.timing import Roofs, flops_of
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import Cosine, UniformTimes, UnitWeighting, V
from carrara.objective import DiffusionObjective
from carrara.sample import SampleSettings
from carrara.seeds import torch_generator
from carrara.train import TrainSettings
from carrara.types import Batch, Conditioning

CONFIG = ModelConfig(
    shape=(3, 8, 8),
    backbone=UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,), dropout=0.5),
    schedule=Cosine(),
    parameterization=V(),
    conditioner=LabelsConfig(classes=("cat", "dog")),
    sample=SampleSettings(steps=3, guidance=2.0),
)
SETTINGS = TrainSettings(steps=5, precision="float32")


@pytest.fixture(autouse=True)
def small_roofs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(timing.ROOFS, "cpu", Roofs(pictures=1, convolutions=((4, 8),), products=(16,)))


def made(config: ModelConfig) -> tuple[DiffusionModel, DiffusionObjective, Batch]:
    with torch_generator(0):
        model = DiffusionModel(config)
        batch = Batch(
            x=torch.rand(4, *config.shape), position=torch.arange(4), columns={"label": torch.eye(2)[[0, 1, 0, 1]]}
        )
    parts = {"first_stage": model.first_stage, "conditioner": model.conditioner, "denoiser": model.denoiser}
    return model, DiffusionObjective(**parts, times=UniformTimes(), weighting=UnitWeighting()), batch


def measured(config: ModelConfig, settings: TrainSettings = SETTINGS, **how: bool) -> ModelSpeed:
    model, objective, batch = made(config)
    return measure_model_speed(model, objective, batch, settings, rounds=2, wishes=("cat", "dog", "cat", "dog"), **how)


def test_operations_are_those_of_the_network() -> None:
    found = measured(CONFIG)
    network = made(CONFIG)[0].denoiser.backbone
    one = flops_of(lambda: network(torch.zeros(4, 3, 8, 8), torch.zeros(4), Conditioning()))
    flops = {work.name: work.flops for work in found.works}
    assert list(flops) == ["training step", "update", "forward pass", "sampler's step"]
    labels = 2 * 4 * 2 * network.config.vector_width
    assert one <= flops["forward pass"] <= one + labels
    assert 2 * one <= flops["sampler's step"] <= 2 * (one + labels), "guided: with and without its label"
    assert 2.8 < flops["training step"] / one < 3.1, "backward twice as much; attention more, the first layer less"
    assert flops["update"] == 0


def test_a_training_step_is_the_trainers() -> None:
    model, objective, batch = made(CONFIG)
    before = [p.detach().clone() for p in model.denoiser.parameters()]
    found = measure_model_speed(model, objective, batch, SETTINGS, rounds=2)
    assert any(not torch.equal(p, old) for p, old in zip(model.denoiser.parameters(), before, strict=True))
    assert all(p.grad is None for p in model.parameters()), "no gradient stays for the next step"
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.memory > 1 << 20


def test_sampling_costs_all_of_its_steps_and_decoding() -> None:
    latents = replace(CONFIG, shape=(3, 16, 16), first_stage=KlConfig(channels=8, multipliers=(1, 1), blocks=1))
    found = measured(latents)
    parts = {work.name: work.median for work in found.works}
    assert found.steps == 3
    assert found.sampling == pytest.approx(4 / (3 * parts["sampler's step"] + parts["decoding"]))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_and_sampling_are_compiled(
    precision: Literal["float32", "bfloat16"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is measured of the network, in the form in which it is asked."""
    asked: list[tuple[bool, torch.dtype]] = []

    def watched(call: Any) -> Callable[..., object]:
        def compiled(*inputs: object) -> object:
            weights = next(p for p in call.__self__.parameters() if p.ndim == 4)
            asked.append((call.__self__.training, weights.dtype))
            return call(*inputs)

        return compiled

    monkeypatch.setattr(torch, "compile", watched)
    measured(CONFIG, replace(SETTINGS, precision=precision), compiled=True)
    rounds, form = 2 + timing.WARM, getattr(torch, precision)
    assert asked.count((True, torch.float32)) == rounds
    assert asked.count((False, form)) == rounds * 2, "a forward pass, and a sampler's step with and without its label"
    assert len(asked) == rounds * 3


def test_a_compiler_that_is_missing_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import TorchDynamoException

    def broken(*_: object, **__: object) -> None:
        raise TorchDynamoException("no C++ compiler\nfound anywhere")

    monkeypatch.setattr(torch, "compile", lambda _: broken)
    with pytest.raises(UserError, match=r"does not work here \(no C\+\+ compiler\): leave compiled out"):
        measured(CONFIG, compiled=True)
