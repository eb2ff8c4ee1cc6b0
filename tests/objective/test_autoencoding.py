"""The autoencoder's two roles: what each descends, what neither touches, and that every term gives gradient."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from carrara.autoencoder import CriticConfig, KlConfig, PerceptualConfig, VqConfig
from carrara.objective import AutoencodingObjective
from carrara.seeds import Draws, torch_generator
from carrara.train import TrainSettings, TrainState, train
from carrara.types import Batch

SHAPE = (3, 16, 16)
SMALL: dict[str, Any] = {"channels": 8, "multipliers": (1, 2), "blocks": 1}
CRITIC = CriticConfig(channels=8, layers=2, start=0, lead=0)
EAR = Draws(0, torch.arange(4))


class Brightness(nn.Module):
    """A perceptual distance of which everything is known."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x.mean(dim=(1, 2, 3)) - y.mean(dim=(1, 2, 3))).square()


def objective(kind: str = "kl", **changes: Any) -> AutoencodingObjective:
    with torch_generator(0):
        config = KlConfig(**SMALL) if kind == "kl" else VqConfig(**SMALL, codes=16)
        settings = {"perceptual": 0.0, "features": PerceptualConfig(), **changes}
        made = AutoencodingObjective(first_stage=config.build(SHAPE), shape=SHAPE, **settings)
    for p in made.parameters():  # residual branches start at zero, which would hide leaks
        with torch.no_grad():
            p.add_(0.02 * Draws(3, torch.arange(1)).normal(f"{p.shape}", *p.shape)[0])
    return made


def batch(count: int = 4) -> Batch:
    position = torch.arange(count)
    return Batch(x=Draws(1, position).normal("x", *SHAPE).clamp(-1, 1), position=position)


def touched(made: AutoencodingObjective) -> set[str]:
    """The children whose parameters have a gradient."""
    return {name.split(".")[0] for name, p in made.named_parameters() if p.grad is not None and bool(p.grad.any())}


@pytest.mark.parametrize("kind", ["kl", "vq"])
@pytest.mark.parametrize("role", ["autoencoder", "critic"])
def test_neither_role_leaks_into_the_other(kind: str, role: Any) -> None:
    made = objective(kind, critic=CRITIC)
    state = TrainState(made, TrainSettings(steps=1))
    with state.only(role):
        made(batch(), role, EAR).per_sample.mean().backward()
    assert touched(made) == {"first_stage" if role == "autoencoder" else "critic"}


def test_the_critics_loss_holds_no_graph_of_the_autoencoder_even_if_nobody_freezes_it() -> None:
    made = objective(critic=CRITIC)
    made(batch(), "critic", EAR).per_sample.mean().backward()
    assert touched(made) == {"critic"}


def test_every_parameter_has_a_role_and_learns_in_it() -> None:
    made = objective(critic=CRITIC, learned_scale=True)
    roles = {role: list(parameters) for role, parameters in made.roles().items()}
    assert sum(map(len, roles.values())) == len(list(made.parameters()))
    state = TrainState(made, TrainSettings(steps=1))
    for role, parameters in roles.items():
        with state.only(role):
            made(batch(), role, EAR).per_sample.mean().backward()
        assert all(p.grad is not None for p in parameters)


def test_the_perceptual_term_gives_gradient_and_counts_as_much_as_it_says() -> None:
    plain, with_term = objective(), objective()
    with_term.features, with_term.perceptual = Brightness(), 3.0
    losses = [made(batch(), "autoencoder", EAR) for made in (plain, with_term)]
    distance = losses[1].logs["perceptual"]
    assert distance.min() > 0
    assert torch.allclose(losses[1].per_sample - losses[0].per_sample, 3 * distance, atol=1e-6)
    slopes = []
    for made, loss in zip((plain, with_term), losses, strict=True):
        loss.per_sample.mean().backward()
        slopes.append(made.first_stage.last_layer.grad)
    assert slopes[0] is not None and slopes[1] is not None
    assert (slopes[0] - slopes[1]).abs().max() > 1e-6


def test_the_perceptual_term_of_a_real_network_gives_gradient() -> None:
    made = objective(perceptual=1.0)
    report = made(batch(), "autoencoder", EAR)
    assert report.logs["perceptual"].min() > 0
    (both,) = torch.autograd.grad(report.per_sample.mean(), made.first_stage.last_layer)
    plain = objective()
    (alone,) = torch.autograd.grad(plain(batch(), "autoencoder", EAR).per_sample.mean(), plain.first_stage.last_layer)
    assert (both - alone).norm() > 0.05 * alone.norm()
    assert not any("features" in name for name in made.state_dict())


def test_what_the_critic_costs_is_adaptive() -> None:
    made = objective(critic=CRITIC)
    report = made(batch(), "autoencoder", EAR)
    last = made.first_stage.last_layer
    without = objective()(batch(), "autoencoder", EAR).per_sample
    assert torch.allclose(report.per_sample, without - report.logs["critic_weight"] * report.logs["opinion"], atol=1e-5)
    (both,) = torch.autograd.grad(report.per_sample.mean(), last)
    fresh = objective()
    (alone,) = torch.autograd.grad(fresh(batch(), "autoencoder", EAR).per_sample.mean(), fresh.first_stage.last_layer)
    assert (both - alone).norm().item() == pytest.approx(CRITIC.weight * alone.norm().item(), rel=0.02)


def test_before_its_start_the_critic_neither_counts_nor_learns() -> None:
    late = CriticConfig(channels=8, layers=2, start=2, lead=0)
    made = objective(critic=late)
    before = [p.detach().clone() for p in made.critic.parameters()]  # type: ignore[union-attr]
    state = TrainState(made, TrainSettings(steps=3, warmup=0, precision="float32"))

    def batches(start: int) -> Iterator[Batch]:
        while True:
            yield batch()

    reports = list(train(state, batches, TrainSettings(steps=2, warmup=0, precision="float32"), seed=0))
    assert all(torch.equal(p, q) for p, q in zip(before, made.critic.parameters(), strict=True))  # type: ignore[union-attr]
    assert "opinion" not in reports[-1].logs
    (third,) = train(state, batches, TrainSettings(steps=3, warmup=0, precision="float32"), seed=0)
    assert any(not torch.equal(p, q) for p, q in zip(before, made.critic.parameters(), strict=True))  # type: ignore[union-attr]
    assert {"opinion", "critic_weight", "critic.real", "critic.fake", "critic.loss"} <= set(third.logs)


@pytest.mark.parametrize("kind", [pytest.param("kl", marks=pytest.mark.slow), "vq"])
def test_a_few_steps_lower_the_error(kind: str) -> None:
    made = objective(kind, error="l2")
    settings = TrainSettings(steps=150, lr=3e-3, warmup=5, precision="float32")

    def batches(start: int) -> Iterator[Batch]:
        while True:
            position = torch.arange(8)
            flat = Draws(1, position).uniform("colour", 3)[:, :, None, None] * 2 - 1
            yield Batch(x=flat.expand(-1, -1, 16, 16).contiguous(), position=position)

    reports = list(train(TrainState(made, settings), batches, settings, seed=0))
    assert reports[-1].logs["error"] < 0.5 * reports[0].logs["error"]


def test_learned_scale_finds_the_errors_size() -> None:
    made = objective(learned_scale=True)
    assert made.log_scale is not None
    report = made(batch(), "autoencoder", EAR)
    error = report.logs["error"].mean()
    (slope,) = torch.autograd.grad(report.per_sample.mean(), made.log_scale)
    scale = made.log_scale.detach().exp()
    assert slope.item() == pytest.approx(1 - (error / scale).item(), abs=1e-5)  # 0 where the scale is the mean error


def test_held_out_measures() -> None:
    made = objective().eval()
    values = made.validate(batch(), EAR)
    assert set(values) == {"psnr", "penalty"}
    x = batch().x
    fake = made.first_stage.decode(made.first_stage.latents(made.first_stage.encode_raw(x), None)).clamp(-1, 1)
    want = 10 * torch.log10(4 / (fake - x).square().mean(dim=(1, 2, 3)))
    assert torch.allclose(values["psnr"], want, atol=1e-4)


def test_diagnoses() -> None:
    made = objective(critic=CRITIC)
    assert made.diagnose({"critic_weight": 3.0, "critic.loss": 1.0, "kl": 5.0, "quietest": 0.5}) == []
    assert "near its bound" in made.diagnose({"critic_weight": 1e4})[0]
    assert "teaches nothing" in made.diagnose({"critic.loss": 0.001, "opinion": -3.0})[0]
    assert "explodes" in made.diagnose({"kl": 1e6})[0]


def test_a_step_is_a_pure_function_of_its_arguments() -> None:
    first, second = objective(critic=CRITIC).eval(), objective(critic=CRITIC).eval()
    a, b = (made(batch(), "autoencoder", EAR.at(5)).per_sample for made in (first, second))
    assert torch.equal(a, b)
    assert not torch.equal(a, first(batch(), "autoencoder", EAR.at(6)).per_sample)
