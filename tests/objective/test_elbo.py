"""The bounds as an objective: what is paid, what is free, what is reported. That they are right: oracle/test_vae.py."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from carrara.autoencoder.hierarchical import GaussianMap, LayeredVae, VaeConfig
from carrara.objective.elbo import SILENT, ElboObjective, active_units, bound, elbo
from carrara.seeds import Draws, torch_generator
from carrara.types import Batch

SHAPE = (1, 4, 3)
INFERENCES = ("bottom_up", "ladder")


def vae(inference: Any = "bottom_up", latents: tuple[int, ...] = (3, 2)) -> LayeredVae:
    with torch_generator(0):
        built = VaeConfig(latents=latents, hidden=8, inference=inference).build(SHAPE)
        for p in built.parameters():
            p.data += 0.3 * torch.randn(p.shape)
    return built


def batch(count: int = 6) -> Batch:
    position = torch.arange(50, 50 + count)
    return Batch(x=2 * Draws(1, position).uniform("x", *SHAPE) - 1, position=position)


def draws(of: Batch, step: int = 0) -> Draws:
    return Draws(0, of.position, step)


@pytest.mark.parametrize("inference", INFERENCES)
def test_the_loss_is_the_negative_bound_in_nats(inference: str) -> None:
    objective, some = ElboObjective(vae(inference)), batch()
    report = objective(some, "main", draws(some))
    terms = elbo(objective.first_stage, some.x, draws(some))
    torch.testing.assert_close(report.per_sample, -terms.total)
    assert list(report.logs) == ["elbo", "log_likelihood", "kl_1", "kl_2", "beta"]
    parts = report.logs["log_likelihood"] - report.logs["kl_1"] - report.logs["kl_2"]
    torch.testing.assert_close(report.logs["elbo"], parts)
    assert all(log.shape in ((), (6,)) and not log.requires_grad for log in report.logs.values())


def test_the_divergence_s_weight_rises_over_the_warmup() -> None:
    some, model = batch(), vae()
    objective = ElboObjective(model, warmup=4)
    for step, beta in ((0, 0.25), (1, 0.5), (3, 1.0), (50, 1.0)):
        terms = elbo(model, some.x, draws(some, step))
        report = objective(some, "main", draws(some, step))
        torch.testing.assert_close(report.per_sample, beta * sum(terms.kl) - terms.log_likelihood)
        torch.testing.assert_close(report.logs["elbo"], terms.total.detach())
        assert report.logs["beta"].item() == beta


def test_a_layer_within_its_free_bits_costs_them_and_is_not_pushed() -> None:
    """One layer is above the free bits and pays all of its own, the other pays the free bits, without a gradient."""
    some, model = batch(), vae("ladder")
    one, two = (kl.mean().item() for kl in elbo(model, some.x, draws(some)).kl)
    assert two < one
    free = (one + two) / 2
    terms = elbo(model, some.x, draws(some))
    loss = ElboObjective(model, free_bits=free)(some, "main", draws(some)).per_sample
    torch.testing.assert_close(loss, terms.kl[0] + free - terms.log_likelihood)

    def gradients(of: torch.Tensor) -> list[torch.Tensor]:
        found = torch.autograd.grad(of.mean(), list(model.parameters()), allow_unused=True, retain_graph=True)
        return [torch.zeros(()) if gradient is None else gradient for gradient in found]

    torch.testing.assert_close(gradients(loss), gradients(terms.kl[0] - terms.log_likelihood))


@pytest.mark.parametrize("inference", INFERENCES)
def test_held_out_bounds_have_no_warmup_and_nothing_free(inference: str) -> None:
    some, model = batch(), vae(inference)
    held_out = ElboObjective(model, warmup=100, free_bits=9.0).validate(some, draws(some))
    terms = elbo(model, some.x, draws(some))
    assert list(held_out) == ["elbo", "log_likelihood", "kl_1", "kl_2"]
    assert all(value.shape == (6,) and not value.requires_grad for value in held_out.values())
    assert torch.equal(held_out["elbo"], terms.total)
    assert torch.equal(held_out["kl_2"], terms.kl[1])


@pytest.mark.parametrize("inference", INFERENCES)
def test_without_free_bits_a_sample_s_loss_does_not_depend_on_its_batch(inference: str) -> None:
    objective, some = ElboObjective(vae(inference), warmup=10), batch()
    whole = objective(some, "main", draws(some)).per_sample
    assert len(whole.unique()) == 6
    parts = [objective(part, "main", draws(part)).per_sample for part in some.split(4)]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_a_checkpoint_has_the_autoencoder_as_its_only_part() -> None:
    objective = ElboObjective(vae())
    assert [name for name, _ in objective.named_children()] == ["first_stage"]
    [(role, parameters)] = objective.roles().items()
    assert role == "main" and {id(p) for p in parameters} == {id(p) for p in objective.parameters()}


@pytest.mark.parametrize("inference", INFERENCES)
def test_importance_samples_are_functions_of_seed_sample_and_step(inference: str) -> None:
    model, some = vae(inference), batch()
    with torch.no_grad():
        four = bound(model, some.x, draws(some), samples=4)
        assert torch.equal(bound(model, some.x, draws(some), samples=4), four)
        assert not torch.allclose(bound(model, some.x, draws(some, 1), samples=4), four)
        part = replace(draws(some), samples=some.position[2:4])
        torch.testing.assert_close(bound(model, some.x[2:4], part, samples=4), four[2:4])


@pytest.mark.parametrize("inference", INFERENCES)
def test_more_importance_samples_tighten_the_bound(inference: str) -> None:
    """And one alone is an estimate of the evidence lower bound."""
    model, some = vae(inference), batch(200)
    with torch.no_grad():
        one, eight, many = (bound(model, some.x, draws(some), samples=k).mean().item() for k in (1, 8, 64))
        terms = elbo(model, some.x, draws(some)).total
    assert one < eight - 0.05 < many - 0.05
    assert one == pytest.approx(terms.mean().item(), abs=6 * terms.std().item() / math.sqrt(200))


def test_latents_that_vary_with_the_data_are_active() -> None:
    """z_1 = (0.5 x_1, 0, 0.05 x_1, x_2) of standard normal points, and z_2 = (z_1's first, 0)."""
    model = VaeConfig(latents=(4, 2), depth=0, likelihood="gaussian").build((2,)).requires_grad_(False)
    maps = model.inference.get_submodule("maps")
    assert isinstance(maps, torch.nn.ModuleList)
    weights = torch.tensor([[0.5, 0], [0, 0], [0.05, 0], [0, 1]]), torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]])
    for network, weight in zip(maps, weights, strict=True):
        assert isinstance(network, GaussianMap) and isinstance(network.net[0], torch.nn.Linear)
        network.net[0].weight.copy_(torch.cat([weight, torch.zeros_like(weight)]))
    x = Draws(0, torch.arange(1000)).normal("x", 2)
    assert active_units(model, [x]) == active_units(model, x.split(300)) == (2, 1)
    assert 0.05**2 < SILENT < 0.5**2


def test_a_collapsed_layer_is_named_once_the_warmup_is_over() -> None:
    objective = ElboObjective(vae())
    logs = {"elbo": -90.0, "log_likelihood": -80.0, "kl_1": 9.9, "kl_2": 0.004, "beta": 1.0}
    [sentence] = objective.diagnose(logs)
    assert sentence.startswith("layer 2 of 2 says nothing (0.004 nats)")
    assert objective.diagnose({**logs, "beta": 0.5}) == []
    assert objective.diagnose({**logs, "kl_2": -3.0}) == []  # an estimate below zero says a lot
    assert len(objective.diagnose({**logs, "kl_1": 0.0})) == 2


def test_a_posterior_that_is_the_prior_is_diagnosed_from_real_logs() -> None:
    model, some = vae("ladder"), batch()
    head = model.inference.get_submodule("heads.1.net.0")
    assert isinstance(head, torch.nn.Linear)
    head.weight.data.zero_()
    head.bias.data.zero_()
    logs = ElboObjective(model)(some, "main", draws(some)).logs
    [sentence] = ElboObjective(model).diagnose({name: value.mean().item() for name, value in logs.items()})
    assert "layer 2 of 2" in sentence


@pytest.mark.parametrize("wrong", [{"warmup": -1}, {"free_bits": -0.1}])
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        ElboObjective(vae(), **wrong)
