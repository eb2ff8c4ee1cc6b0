"""Blocks that are computed again for their gradient: the same numbers to the bit, in less memory."""

from itertools import count, islice

import pytest
import torch
from torch import Tensor

from carrara.autoencoder import Identity
from carrara.backbone import BackboneConfig, DiTConfig, MlpConfig, UNetConfig
from carrara.conditioning import LabelsConfig
from carrara.denoiser import Denoiser
from carrara.errors import UserError
from carrara.nn import ResidualBlock, recompute
from carrara.noise import Cosine, UniformTimes, UnitWeighting, V
from carrara.objective import DiffusionObjective
from carrara.seeds import Draws, torch_generator
from carrara.train import TrainSettings, TrainState, train
from carrara.types import Batch

UNET = UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,), dropout=0.3)
NETWORKS = {"unet": UNET, "dit": DiTConfig(width=16, depth=3, heads=2)}


def objective(config: BackboneConfig) -> DiffusionObjective:
    points = isinstance(config, MlpConfig)
    with torch_generator(0), torch.no_grad():
        made = DiffusionObjective(
            first_stage=Identity(),
            conditioner=LabelsConfig(classes=("cat", "dog")).build(config.vector_width),
            denoiser=Denoiser(config.build((2,) if points else (3, 8, 8)), Cosine(), V()),
            times=UniformTimes(),
            weighting=UnitWeighting(),
        )
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return made


def batch(step: int) -> Batch:
    positions = 4 * step + torch.arange(4)
    labels = torch.eye(2)[positions % 2]
    return Batch(x=Draws(0, positions).normal("x", 3, 8, 8), position=positions, columns={"label": labels})


def trained(config: BackboneConfig, *, again: bool, precision: str = "float32") -> tuple[list[float], list[Tensor]]:
    """The losses of some steps, and the weights after them."""
    settings = TrainSettings(steps=3, batch=4, recompute=again, precision=precision)
    state = TrainState(objective(config), settings)
    reports = train(state, lambda start: map(batch, count(start)), settings, seed=0)
    return [report.loss for report in islice(reports, 3)], list(state.objective.parameters())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_training_is_the_same_to_the_bit(name: str, precision: str) -> None:
    losses, weights = trained(NETWORKS[name], again=False, precision=precision)
    again, others = trained(NETWORKS[name], again=True, precision=precision)
    assert again == losses
    assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))


def kept(made: DiffusionObjective) -> int:
    """Bytes that a forward pass keeps for the gradient, each tensor once."""
    seen: dict[int, Tensor] = {}

    def keep(x: Tensor) -> Tensor:
        seen[x.untyped_storage().data_ptr()] = x
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        made(batch(0), "main", Draws(0, batch(0).position))
    return sum(x.untyped_storage().nbytes() for x in seen.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_less_is_kept(name: str) -> None:
    made = objective(NETWORKS[name]).train()
    before = kept(made)
    made.prepare(recomputed=True)
    assert kept(made) < before / 2
    made.prepare()
    assert kept(made) == before


def test_blocks_of_autoencoders_too() -> None:
    block, x = ResidualBlock(8, 8), Draws(0, torch.arange(2)).normal("x", 8, 4, 4)
    usual = torch.autograd.grad(block(x).square().sum(), list(block.parameters()))
    assert recompute(block) == 1
    again = torch.autograd.grad(block(x).square().sum(), list(block.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(usual, again, strict=True))


def test_networks_without_blocks_are_refused() -> None:
    made, settings = objective(MlpConfig(width=8, depth=1)), TrainSettings(steps=1, recompute=True)
    with pytest.raises(UserError, match="leave it out"):
        TrainState(made, settings)
