"""How a request asks the network: in which form, how often, and of which weights."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from carrara.backbone import DiTConfig, UNetConfig
from carrara.conditioning import LabelsConfig
from carrara.denoiser import Denoiser
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import Cosine, V
from carrara.sample import SampleSettings
from carrara.seeds import torch_generator
from carrara.task import Told, generate
from carrara.task.generate import drawn

UNET = ModelConfig(
    shape=(3, 8, 8),
    backbone=UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,)),
    schedule=Cosine(),
    parameterization=V(),
    conditioner=LabelsConfig(classes=("cat", "dog")),
)
CONFIGS = {"unet": UNET, "dit": replace(UNET, backbone=DiTConfig(width=16, depth=1, heads=2))}
SETTINGS = SampleSettings(steps=3, guidance=2.0)
LOW = torch.bfloat16


def model(config: ModelConfig = UNET, seed: int = 0) -> DiffusionModel:
    with torch_generator(seed), torch.no_grad():
        made = DiffusionModel(config)
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return made.eval()


def samples(of: DiffusionModel, *wishes: str | None, settings: SampleSettings = SETTINGS, **options: Any) -> Tensor:
    progress = generate(of, wishes, range(len(wishes)), settings, **options)
    return torch.cat([at.pixels for at in progress if at.pixels is not None])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Denoiser, int]]:
    """Which network was asked about how many samples, call by call."""
    calls, forward = list[tuple[Denoiser, int]](), Denoiser.forward

    def noted(self: Denoiser, x_t: Tensor, *rest: Any) -> Tensor:
        calls.append((self, len(x_t)))
        return forward(self, x_t, *rest)

    monkeypatch.setattr(Denoiser, "forward", noted)
    return calls


def test_all_batches_of_a_request_ask_one_copy_in_low_precision(asked: list[tuple[Denoiser, int]]) -> None:
    of = model()
    samples(of, "cat", "dog", "cat", autocast=LOW, batch=2)
    (network,) = {id(network) for network, _ in asked}
    assert network != id(of.denoiser)


def test_there_is_no_copy_in_float32(asked: list[tuple[Denoiser, int]]) -> None:
    of = model()
    samples(of, "cat")
    assert {id(network) for network, _ in asked} == {id(of.denoiser)}


def test_the_next_request_sees_what_training_has_changed() -> None:
    of, other = model(), model(seed=1)
    before = samples(of, "cat", autocast=LOW)
    of.load_state_dict(other.state_dict())
    after = samples(of, "cat", autocast=LOW)
    assert torch.equal(after, samples(other, "cat", autocast=LOW))
    assert not torch.equal(after, before)


def test_parts_of_a_request_share_its_copy() -> None:
    of = model()
    told = Told(wishes=["cat", "dog"], seeds=[0, 1], settings=SETTINGS, autocast=LOW)
    list(drawn(of, told, batch=1))
    assert len(told.forms) == 1
    assert told.only(slice(1)).network(of) is told.network(of)
