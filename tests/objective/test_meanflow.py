"""Mean flow: of Gaussian data the flow is known, so the exact mean velocity is, too."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from carrara.autoencoder import Identity
from carrara.backbone import AnyBackbone, Backbone, DiTConfig, MlpConfig, UNetConfig
from carrara.conditioning import LabelsConfig, UnconditionalConfig
from carrara.denoiser import SpanDenoiser, build_denoiser
from carrara.errors import UserError
from carrara.noise import X0, Flow, Parameterization, RectifiedFlow, UniformTimes, V
from carrara.objective import MeanFlowObjective, MeanFlowSettings
from carrara.sample import Euler, Uniform, generate, last
from carrara.seeds import Draws, torch_generator
from carrara.types import UNCONDITIONAL, Batch, Conditioning

MEAN, STD = 0.3, 0.5
FLOW = RectifiedFlow()
FLOWS = Flow()
NETWORKS: dict[str, tuple[AnyBackbone, tuple[int, ...]]] = {
    "unet": (UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,)), (3, 9, 8)),
    "adm": (
        UNetConfig(
            channels=8, multipliers=(1, 2), attention_levels=(1,), modulation="scale_shift", dropout=0.3, patch=2
        ),
        (1, 8, 8),
    ),
    "context": (UNetConfig(channels=8, multipliers=(1, 2), blocks=1, modulation="context"), (1, 16)),
    "dit": (DiTConfig(width=16, depth=1, heads=2), (2, 4, 4)),
    "mlp": (MlpConfig(width=16, depth=2), (2,)),
}


def ended(t: Tensor, r: Tensor, x: Tensor) -> Tensor:
    """Where the flow of N(MEAN, STD^2) takes a state from t to r: every state keeps its place in the law."""
    scale = torch.sqrt(((1 - r) * STD) ** 2 + r**2) / torch.sqrt(((1 - t) * STD) ** 2 + t**2)
    return (1 - r) * MEAN + (x - (1 - t) * MEAN) * scale


class Nothing(Backbone):
    """A network that ``Exact`` does not ask."""

    def forward(self, x: Tensor, noise_level: Tensor, cond: Conditioning) -> Tensor:
        raise AssertionError


class Exact(SpanDenoiser):
    """The mean velocity itself, and a constant error of it."""

    off = 0.0

    def velocity(self, x_t: Tensor, t: Tensor, r: Tensor, cond: Conditioning) -> Tensor:
        x, t, r = x_t.double(), t.double()[:, None], r.double()[:, None]
        ratio = ((1 - t) ** 2 * STD**2 + t**2).sqrt()
        speed = (t - (1 - t) * STD**2) / ratio**2 * (x - (1 - t) * MEAN) - MEAN  # the limit r -> t, dx / dt
        same = t == r
        mean = (x - ended(t, r, x)) / torch.where(same, 1, t - r)
        return torch.where(same, speed, mean).float() + self.off


def exact(steps: int = 1) -> Exact:
    return Exact(Nothing(), FLOW, Flow(), width=4, steps=steps)


def built(network: str, parameterization: Parameterization = FLOWS) -> SpanDenoiser:
    config, shape = NETWORKS[network]
    with torch_generator(0), torch.no_grad():
        denoiser = build_denoiser(config, shape, FLOW, parameterization, spans=1)
        for p in denoiser.parameters():
            p += torch.randn(p.shape) * (0.3 if p.ndim < 2 else 1.0 / p[0].numel() ** 0.5)
    assert isinstance(denoiser, SpanDenoiser)
    return denoiser.eval()


def objective(denoiser: SpanDenoiser, *, classes: int = 0, width: int = 1, **settings: object) -> MeanFlowObjective:
    config = LabelsConfig(classes=tuple(map(str, range(classes)))) if classes else UnconditionalConfig()
    return MeanFlowObjective(
        first_stage=Identity(),
        conditioner=config.build(width),
        denoiser=denoiser,
        settings=MeanFlowSettings(**{"power": 0.0, "drop": 0.0, **settings}),  # type: ignore[arg-type]
    )


def gaussian(count: int, first: int = 0) -> Batch:
    position = torch.arange(first, first + count)
    return Batch(x=MEAN + STD * Draws(1, position).normal("data", 2), position=position)


def losses(trained: MeanFlowObjective, batch: Batch, step: int = 0) -> Tensor:
    return trained(batch, "main", Draws(0, batch.position, step)).per_sample


@pytest.mark.parametrize("steps", [1, 2, 4, 7])
def test_the_exact_mean_velocity_takes_noise_to_the_end_of_the_flow(steps: int) -> None:
    drawn = last(
        generate(
            exact().in_steps(steps).bind(UNCONDITIONAL),
            (2,),
            range(50),
            sampler=Euler(),
            grid=Uniform(),
            steps=steps,
            schedule=FLOW,
        )
    ).x
    noise = Draws(0, torch.arange(50)).normal("initial noise", 2).double()
    one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    assert torch.allclose(drawn.double(), ended(one, zero, noise), atol=1e-5)


def test_the_exact_mean_velocity_obeys_the_identity() -> None:
    """The right side of equation (2) is the flow's velocity, for steps of any length."""
    denoiser, x = exact(), gaussian(64).x
    t = torch.linspace(0.05, 1, 64, dtype=torch.float64)
    along = denoiser.velocity(x, t, t, UNCONDITIONAL)
    for part in (0.0, 0.5, 0.9):
        r = part * t
        bend = (t - r).float()[:, None] * denoiser.velocity_rate(x, t, r, UNCONDITIONAL, along)
        assert bend.abs().max() > 0.01
        assert torch.allclose(denoiser.velocity(x, t, r, UNCONDITIONAL) + bend, along, atol=1e-4)


def test_the_exact_mean_velocity_costs_least_and_its_gradient_is_0() -> None:
    """What is left is what v = eps - x0 varies by, given x_t."""
    trained, batch = objective(exact(), part=1.0, times=UniformTimes()), gaussian(20_000)
    t, _ = trained.span(Draws(0, batch.position))
    left = (STD**2 / (((1 - t) * STD) ** 2 + t**2)).mean().item()
    least = losses(trained, batch)
    assert least.mean().item() == pytest.approx(left, rel=0.02)
    off = torch.tensor(0.0, requires_grad=True)
    trained.denoiser.off = off  # type: ignore[attr-defined]
    losses(trained, batch).mean().backward()
    assert off.grad is not None and abs(off.grad.item()) < 4 * 2 * (left / 40_000) ** 0.5
    trained.denoiser.off = 0.5  # type: ignore[attr-defined]
    assert (losses(trained, batch) - least).mean() > 0.2


@pytest.mark.parametrize(
    ("network", "parameterization"), [*((name, FLOWS) for name in NETWORKS), ("mlp", X0()), ("mlp", V())], ids=str
)
def test_the_rate_is_what_differences_say(network: str, parameterization: Parameterization) -> None:
    denoiser, shape = built(network, parameterization), NETWORKS[network][1]
    draws = Draws(0, torch.arange(4))
    x, along = draws.normal("x", *shape), draws.normal("along", *shape)
    t, r = torch.tensor([0.1, 0.5, 0.9, 0.99]).double(), torch.tensor([0.0, 0.2, 0.85, 0.0]).double()
    rate = denoiser.velocity_rate(x, t, r, UNCONDITIONAL, along)
    denoiser.double()

    def moved(h: float) -> Tensor:
        with torch.no_grad():
            return denoiser.velocity(x.double() + h * along.double(), t + h, r, UNCONDITIONAL).double()

    differences = (moved(1e-3) - moved(-1e-3)) / 2e-3
    assert (rate - differences).norm() < 2e-3 * differences.norm()
    assert rate.flatten(1).norm(dim=1).min() > 0.1
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(denoiser.float().velocity_rate(x, t, r, UNCONDITIONAL, along), rate)


def test_without_steps_it_is_plain_flow_matching() -> None:
    denoiser, x = built("unet"), Draws(2, torch.arange(6)).normal("x", 3, 9, 8)
    batch = Batch(x=x, position=torch.arange(6))
    trained, draws = objective(denoiser, part=0.0), Draws(0, batch.position)
    t, r = trained.span(draws)
    assert torch.equal(t, r) and len(t.unique()) == 6
    eps = draws.normal("noise", 3, 9, 8)
    x_t = x + t.float()[:, None, None, None] * (eps - x)
    error = (denoiser.velocity(x_t, t, t, UNCONDITIONAL) - (eps - x)).square().flatten(1).mean(1)
    assert torch.allclose(losses(trained, batch), error, rtol=1e-5)


def test_the_loss_of_a_sample_does_not_depend_on_the_others() -> None:
    trained = objective(built("mlp"), part=0.5)
    batch = gaussian(32)
    whole = losses(trained, batch)
    assert torch.allclose(torch.cat([losses(trained, part) for part in batch.split(5)]), whole, rtol=1e-5)
    weighed = objective(trained.denoiser, part=0.5, power=1.0)
    assert torch.allclose(losses(weighed, batch), whole / (whole + 1e-3), rtol=1e-5)


def test_guidance_moves_the_target_of_what_is_told() -> None:
    trained, batch = objective(built("mlp"), classes=2, width=16, part=0.0, guidance=3.0), gaussian(8)
    batch = replace(batch, columns={"label": torch.eye(2)[batch.position % 2]})
    draws = Draws(0, batch.position)
    t, _ = trained.span(draws)
    v = draws.normal("noise", 2) - batch.x
    x_t = batch.x + t.float()[:, None] * v
    told, untold = (
        trained.conditioner(batch.columns),
        trained.conditioner(batch.columns, torch.zeros(8, dtype=torch.bool)),
    )
    of_all, of_told = (trained.denoiser.velocity(x_t, t, t, cond) for cond in (untold, told))
    led = (of_told - (3 * v - 2 * of_all)).square().mean(1)
    assert torch.allclose(losses(trained, batch), led, rtol=1e-4)
    trained.drop = 1.0
    assert torch.allclose(losses(trained, batch), (of_all - v).square().mean(1), rtol=1e-4)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("network", ["adm", "dit"])
def test_gradients_reach_all_weights(network: str, precision: torch.dtype) -> None:
    denoiser, shape = built(network).train(), NETWORKS[network][1]
    width = NETWORKS[network][0].vector_width
    trained = objective(denoiser, classes=2, width=width, guidance=1.5)
    trained.prepare(recomputed=True)
    position = torch.arange(6)
    batch = Batch(
        x=Draws(2, position).normal("x", *shape), position=position, columns={"label": torch.eye(2)[position % 2]}
    )
    with torch.autocast("cpu", precision, enabled=precision is torch.bfloat16):
        losses(trained, batch).mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in trained.roles()["main"])
    assert all(p.grad.abs().max() > 0 for p in denoiser.span.parameters())  # type: ignore[union-attr]


def test_ends_of_steps() -> None:
    trained = objective(built("mlp"), part=0.25)
    t, r = trained.span(Draws(0, torch.arange(4000)))
    assert bool((r <= t).all() & (t >= 0.05).all() & (r > 0).all() & (t < 1).all())
    assert (t > r).double().mean().item() == pytest.approx(0.25, abs=0.03)


def test_held_out_it_says_the_flow_and_whole_steps() -> None:
    trained, batch = objective(exact(), guidance=1.0), gaussian(4000)
    values = trained.validate(batch, Draws(0, batch.position))
    assert {name.split("@")[0] for name in values} == {"loss", "whole"} and len(values) == 16
    for name, value in values.items():
        t = float(name.partition("=")[2])
        left = STD**2 / (((1 - t) * STD) ** 2 + t**2)
        assert value.mean().item() == pytest.approx(left, rel=0.1), "both sides of equation (2) are the same"


def test_a_network_that_is_told_nothing_of_steps_begins_alike() -> None:
    """The span's embedding begins as 0; a denoiser that is told none has no such weights."""
    config, shape = NETWORKS["unet"]
    with torch_generator(0):
        spanning = build_denoiser(config, shape, FLOW, Flow(), spans=2)
    with torch_generator(0):
        plain = build_denoiser(config, shape, FLOW, Flow())
    states = spanning.state_dict(), plain.state_dict()
    assert {name for name in states[0] if name not in states[1]} == {
        f"span.layers.{k}.{what}" for k in (0, 2) for what in ("weight", "bias")
    }
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    assert isinstance(spanning, SpanDenoiser) and plain.in_steps(3) is plain
    shorter = spanning.in_steps(4)
    assert (spanning.steps, shorter.steps) == (2, 4) and shorter.backbone is spanning.backbone


def test_what_cannot_be_is_refused() -> None:
    for wrong in ({"part": 1.5}, {"drop": -0.1}, {"power": 2.0}, {"guidance": -1.0}):
        with pytest.raises(ValueError, match=r"lie|goes|more"):
            MeanFlowSettings(**wrong)  # type: ignore[arg-type]
    assert MeanFlowSettings().condition_drop == 0.1
    with pytest.raises(UserError, match=r"leave train\.compile"):
        objective(built("mlp")).prepare(compiled=True)
    with pytest.raises(ValueError, match="told the number of a step"):
        build_denoiser(DiTConfig(width=16, depth=1, heads=2, timesteps=10), (2, 4, 4), FLOW, Flow(), spans=1)
