"""The absorbing loss: ln K where nothing is known, and a function of what is seen alone."""

import math
from dataclasses import replace

import pytest
import torch

from carrara.autoencoder import Levels, LevelsConfig
from carrara.backbone import DiTConfig, UNetConfig
from carrara.conditioning import LabelsConfig
from carrara.denoiser import AbsorbingDenoiser
from carrara.measure.likelihood import levels_bound
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import X0, RectifiedFlow
from carrara.noise.absorbing import masked_except, order_cost
from carrara.objective import AbsorbingObjective, AbsorbingSettings
from carrara.objective.absorbing import VALIDATED, spread_evenly
from carrara.sample import Absorbing, SampleSettings
from carrara.seeds import Draws, torch_generator
from carrara.types import Batch

NETWORK = UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,), head_width=8)
CONFIG = ModelConfig(
    shape=(2, 4, 4),
    backbone=NETWORK,
    schedule=RectifiedFlow(),
    parameterization=X0(),
    conditioner=LabelsConfig(classes=("cat", "dog")),
    first_stage=LevelsConfig(levels=5),
    sample=SampleSettings(sampler=Absorbing()),
)
N = 32


def built(config: ModelConfig = CONFIG, *, awake: bool = False) -> DiffusionModel:
    with torch_generator(0), torch.no_grad():
        model = DiffusionModel(config).eval()
        for parameter in model.parameters() if awake else ():
            parameter += 0.2 * torch.randn(parameter.shape)
    return model


def objective_of(model: DiffusionModel) -> AbsorbingObjective:
    stage, denoiser = model.first_stage, model.denoiser
    assert isinstance(stage, Levels) and isinstance(denoiser, AbsorbingDenoiser)
    return AbsorbingObjective(first_stage=stage, conditioner=model.conditioner, denoiser=denoiser, drop=0.0)


def batch(count: int = 8, first: int = 0) -> Batch:
    position = torch.arange(first, first + count)
    states = (torch.arange(N)[None] * 3 + position[:, None]) % 5
    labels = torch.nn.functional.one_hot(position % 2, 2).float()
    return Batch(x=(states / 2 - 1.0).reshape(-1, 2, 4, 4), position=position, columns={"label": labels})


def test_a_network_that_knows_nothing_pays_for_every_level() -> None:
    """Its last layer is 0, so all levels are as likely, whatever is masked."""
    model, examples = built(), batch()
    objective, draws = objective_of(model), Draws(0, examples.position)
    assert objective(examples, "main", draws).per_sample.tolist() == pytest.approx([math.log(5)] * 8)
    assert objective.validate(examples, draws)["bound"].tolist() == pytest.approx([math.log(5)] * 8)
    for evaluations in (1, 7, None):
        cost = levels_bound(model, examples, draws, evaluations=evaluations)
        assert cost.nats.tolist() == pytest.approx([N * math.log(5)] * 8)
        assert cost.bits["total"].tolist() == pytest.approx([math.log2(5)] * 8)


def test_the_loss_is_the_bound_per_dimension() -> None:
    model, examples = built(awake=True), batch()
    objective, draws = objective_of(model), Draws(3, examples.position, step=4)
    denoiser = objective.denoiser
    z, cond = model.first_stage.latents(examples.x, None), model.conditioner(examples.columns)
    nats = order_cost(
        lambda x_t: denoiser.log_probabilities(x_t, cond), z, 2, spread_evenly(draws), draws.uniform("order", 2, 4, 4)
    )
    torch.testing.assert_close(objective(examples, "main", draws).per_sample, (nats / N).float())
    means = [objective(examples, "main", draws.at(k)).per_sample.mean().item() for k in range(300)]
    bound = levels_bound(model, examples, draws, evaluations=None).nats.mean().item() / N
    error = torch.tensor(means).std().item() / len(means) ** 0.5
    assert abs(sum(means) / len(means) - bound) < 4 * error + 0.01
    assert objective.validate(examples, draws)["bound"].mean().item() == pytest.approx(bound, abs=0.1)


def test_the_loss_of_a_sample_does_not_depend_on_the_others() -> None:
    objective, examples = objective_of(built(awake=True)), batch()
    whole = objective(examples, "main", Draws(1, examples.position)).per_sample
    parts = [objective(part, "main", Draws(1, part.position)).per_sample for part in examples.split(3)]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_how_much_is_masked_is_spread_evenly() -> None:
    u = spread_evenly(Draws(5, torch.arange(1000, 1064))).sort().values
    assert u.diff().max() < 3 / 64 and u[0] < 3 / 64 and u[-1] > 1 - 3 / 64
    far = spread_evenly(Draws(5, torch.arange(10**12, 10**12 + 4096)))
    assert torch.histc(far.float(), 64, 0, 1).sub(64).abs().max() < 8
    assert not torch.equal(u, spread_evenly(Draws(6, torch.arange(1000, 1064))).sort().values)


def test_gradients_reach_network_and_condition() -> None:
    model = built(awake=True)
    objective = objective_of(model)
    objective(batch(), "main", Draws(0, batch().position)).per_sample.mean().backward()
    trained = [parameter for part in objective.roles().values() for parameter in part]
    assert {id(p) for p in trained} == {id(p) for p in model.parameters()}
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in trained)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, shape=(4, 8), first_stage=LevelsConfig(levels=6)),
        replace(CONFIG, backbone=DiTConfig(width=16, depth=1, heads=2, patch=1)),
    ],
    ids=["pictures", "tokens", "dit"],
)
def test_estimates_are_probabilities_of_what_is_masked_and_what_is_seen(config: ModelConfig) -> None:
    model, levels = built(config, awake=True), config.first_stage.levels  # type: ignore[union-attr]
    states = torch.arange(math.prod(config.shape)).reshape(1, *config.shape) % levels
    z = model.first_stage.latents(states * (2 / (levels - 1)) - 1, None)
    seen = states % 3 == 0
    cond = model.conditions(["cat"])
    x_t = masked_except(z, seen)
    x0 = model.denoiser(x_t, torch.tensor(0.5), cond)
    assert x0.shape == z.shape and x0.dtype == torch.float32
    groups = x0.unflatten(1, (config.shape[0], levels))
    torch.testing.assert_close(groups.sum(2), torch.ones(1, *config.shape))
    shown = seen[:, :, None].expand_as(groups)
    assert torch.equal(groups[shown], z.unflatten(1, (config.shape[0], levels))[shown])
    assert bool((groups[~shown] > 0).all() & (groups[~shown] < 1).all())
    assert torch.equal(model.denoiser(x_t, torch.tensor(0.01), cond), x0), "the time says nothing besides"
    assert not torch.equal(model.denoiser(x_t, torch.tensor(0.5), model.conditions(["dog"])), x0)


def test_drop_is_a_probability() -> None:
    assert AbsorbingSettings().condition_drop == 0.1
    with pytest.raises(ValueError, match="drop is a probability"):
        AbsorbingSettings(drop=1.5)
    assert VALIDATED > 1
