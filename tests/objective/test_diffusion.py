"""The diffusion loss: its least values on Gaussian data, one number per sample, a training that reaches the optimum."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from carrara.autoencoder import Identity
from carrara.backbone import Backbone, MlpConfig, UNetConfig
from carrara.conditioning import Conditioner, Labels, LabelsConfig, UnconditionalConfig
from carrara.denoiser import Denoiser
from carrara.noise import (
    X0,
    AnyWeighting,
    Chain,
    Cosine,
    Edm,
    Eps,
    Flow,
    Linear,
    LogNormalTimes,
    MinSnrWeighting,
    P2Weighting,
    Parameterization,
    RectifiedFlow,
    ScaledLinear,
    Schedule,
    SigmoidWeighting,
    TimeDistribution,
    UniformTimes,
    UnitWeighting,
    V,
    VarianceExploding,
    VelocityWeighting,
    Weighting,
)
from carrara.objective import DiffusionObjective
from carrara.objective.diffusion import HYBRID, NOISE_LEVELS, Loss
from carrara.seeds import Draws, torch_generator
from carrara.types import UNCONDITIONAL, Batch, Conditioning

UNIFORM, UNIT = UniformTimes(), UnitWeighting()


class Optimal(Backbone):
    """F* of data N(0, std^2) from what a network is told: c_in x_t and the half log-SNR."""

    def __init__(self, schedule: Schedule, parameterization: Parameterization, std: float) -> None:
        super().__init__()
        self.schedule, self.parameterization, self.std = schedule, parameterization, std
        self.unused = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, noise_level: Tensor, cond: Conditioning) -> Tensor:
        alpha, sigma = self.schedule(self.schedule.time_of(noise_level.double()))
        c = self.parameterization(alpha, sigma)
        gain = alpha * self.std**2 / (alpha**2 * self.std**2 + sigma**2)
        return ((gain - c.skip) / (c.inp * c.out))[:, None] * x


def objective(
    backbone: Backbone,
    schedule: Schedule,
    parameterization: Parameterization,
    times: TimeDistribution = UNIFORM,
    weighting: Weighting = UNIT,
    conditioner: Conditioner | None = None,
    drop: float = 0.1,
    loss: Loss = "simple",
) -> DiffusionObjective:
    return DiffusionObjective(
        first_stage=Identity(),
        conditioner=conditioner or UnconditionalConfig().build(1),
        denoiser=Denoiser(backbone, schedule, parameterization, learned_variance=loss != "simple"),
        times=times,
        weighting=weighting,
        drop=drop,
        loss=loss,
    )


def gaussian_batch(count: int, dim: int, std: float, first: int = 0) -> Batch:
    position = torch.arange(first, first + count)
    return Batch(x=std * Draws(1, position).normal("data", dim), position=position)


def draws(batch: Batch) -> Draws:
    return Draws(0, batch.position, 3)


def test_the_least_losses_of_gaussian_data_are_the_derived_ones() -> None:
    """Monte Carlo with the exact network, against numbers derived in float64; within four standard errors."""
    flow, edm = RectifiedFlow(), VarianceExploding()
    cases = [
        (Linear(), Eps(), UniformTimes(), 1.0, 0.275513),
        (ScaledLinear(), Eps(), UniformTimes(), 1.0, 0.373377),
        (Linear(), V(), UniformTimes(), 1.0, 1.0),
        (flow, Flow(), UniformTimes(), 1.0, math.pi / 2),
        (edm, Edm(sigma_data=0.5), LogNormalTimes(), 0.5, 1.0),
    ]
    for schedule, parameterization, times, std, least in cases:
        batch = gaussian_batch(8192, 16, std)
        exact = objective(Optimal(schedule, parameterization, std), schedule, parameterization, times)
        loss = exact(batch, "main", draws(batch)).per_sample.double()
        error = loss.std().item() / math.sqrt(len(loss))
        assert error < 0.02
        assert loss.mean().item() == pytest.approx(least, abs=4 * error), (schedule, parameterization)


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), RectifiedFlow(), VarianceExploding()], ids=lambda s: s.kind)
@pytest.mark.parametrize("parameterization", [Eps(), X0(), V(), Flow(), Edm(sigma_data=0.3)], ids=lambda p: p.kind)
def test_the_least_loss_at_each_noise_level_is_the_posterior_s_variance(
    schedule: Schedule, parameterization: Parameterization
) -> None:
    """s^2 sigma^2 / (a s^2 + sigma^2) / c_out^2 at s = 0.5, at the eight levels of the held-out loss."""
    if parameterization.needs_signal and isinstance(schedule, RectifiedFlow):
        return
    batch = gaussian_batch(2000, 16, 0.5)
    exact = objective(Optimal(schedule, parameterization, 0.5), schedule, parameterization)
    held_out = exact.validate(batch, draws(batch))
    times = UniformTimes()((torch.arange(NOISE_LEVELS) + 0.5) / NOISE_LEVELS, schedule)
    alpha, sigma = schedule(times.double())
    least = 0.25 * sigma**2 / (0.25 * alpha**2 + sigma**2) / parameterization(alpha, sigma).out ** 2
    found = torch.stack([value.double().mean() for value in held_out.values()])
    torch.testing.assert_close(found, least, rtol=4 * math.sqrt(2 / (2000 * 16)), atol=0)


def small(**options: object) -> DiffusionObjective:
    with torch_generator(0):
        config = UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,), modulation="scale_shift")
        backbone, conditioner = config.build((3, 6, 6)), LabelsConfig(classes=("a", "b", "c")).build(32)
        for parameter in (*backbone.parameters(), *conditioner.parameters()):
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return objective(backbone, Cosine(), V(), conditioner=conditioner, **options)  # type: ignore[arg-type]


def pictures(count: int = 8) -> Batch:
    position = torch.arange(100, 100 + count)
    numbers = Draws(2, position)
    labels = torch.nn.functional.one_hot(numbers.integer("label", 3), 3).float()
    return Batch(x=0.5 * numbers.normal("x", 3, 6, 6), position=position, columns={"label": labels})


def test_a_sample_s_loss_does_not_depend_on_its_batch() -> None:
    loss_of, batch = small(drop=0.5), pictures()
    together = loss_of(batch, "main", draws(batch)).per_sample
    assert together.shape == (8,)
    assert len(together.unique()) == 8
    for size in (1, 3):
        parts = [loss_of(part, "main", draws(part)).per_sample for part in batch.split(size)]
        torch.testing.assert_close(torch.cat(parts), together, rtol=1e-5, atol=1e-6)


def test_a_loss_is_a_function_of_weights_batch_and_draws() -> None:
    loss_of, batch = small(), pictures()
    first = loss_of(batch, "main", draws(batch)).per_sample
    state = torch.get_rng_state()
    assert torch.equal(loss_of(batch, "main", draws(batch)).per_sample, first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(loss_of(batch, "main", draws(batch).at(4)).per_sample, first)


def test_conditions_are_dropped_per_sample_as_often_as_asked() -> None:
    seen: list[Tensor] = []
    batch = pictures(400)
    for drop in (0.0, 0.3, 1.0):
        loss_of = small(drop=drop)
        assert isinstance(loss_of.conditioner, Labels)
        null = loss_of.conditioner.nothing
        loss_of.denoiser.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[2].vector))
        loss_of(batch, "main", draws(batch))
        dropped = (seen[-1] == null).all(1)
        assert dropped.double().mean().item() == pytest.approx(drop, abs=4 * math.sqrt(drop * (1 - drop) / 400))
        kept = loss_of.conditioner.embed(batch.columns).vector
        assert kept is not None
        assert torch.equal(seen[-1][~dropped], kept[~dropped])


@pytest.mark.parametrize("drop", [-0.1, 1.1])
def test_drop_is_a_probability(drop: float) -> None:
    with pytest.raises(ValueError, match="drop is a probability"):
        small(drop=drop)


WEIGHTINGS = [MinSnrWeighting(), P2Weighting(), SigmoidWeighting(), VelocityWeighting()]


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=lambda w: w.kind)
def test_weightings_weigh(weighting: AnyWeighting) -> None:
    batch = pictures(32)
    plain = small()(batch, "main", draws(batch)).per_sample
    weighed = small(weighting=weighting)(batch, "main", draws(batch)).per_sample
    t = UniformTimes()(draws(batch).uniform("time"), Cosine())
    alpha, sigma = Cosine()(t)
    snr = (alpha / sigma) ** 2
    on_x0 = {
        "min_snr": snr.clamp(max=5),
        "p2": snr / (1 + snr),
        "sigmoid": snr * torch.sigmoid(2 - snr.log()),
        "velocity": ((alpha + sigma) / sigma).square().clamp(max=400),
    }
    expected = on_x0[weighting.kind] * sigma**2  # v's error is that of x0 over sigma
    torch.testing.assert_close(weighed / plain, expected, rtol=1e-4, atol=1e-6)
    assert expected.max() > 2 * expected.min()
    assert bool(weighed.isfinite().all())


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=lambda w: w.kind)
def test_weights_are_finite_to_the_very_ends(weighting: Weighting) -> None:
    """Also where a schedule with zero terminal SNR has lost all of the data."""
    ends = torch.tensor([2.0**-24, 1e-3, 1.0])
    for schedule in (Linear(zero_terminal_snr=True), RectifiedFlow(), VarianceExploding()):
        for parameterization in (X0(), V(), Flow(), Edm()):
            out = parameterization(*schedule(ends)).out
            weight = weighting(schedule.half_logsnr(ends), out)
            assert bool(weight.isfinite().all()), (schedule, parameterization)
            assert bool((weight >= 0).all())


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_held_out_loss_has_a_number_per_level_and_sample_and_is_the_same_every_time() -> None:
    loss_of, batch = small(drop=1.0), pictures()
    held_out = loss_of.validate(batch, draws(batch))
    assert list(held_out) == [f"loss@t={(125 * k + 63) / 1000:.3f}" for k in range(NOISE_LEVELS)]
    assert all(value.shape == (8,) and not value.requires_grad for value in held_out.values())
    assert same(loss_of.validate(batch, draws(batch)), held_out)
    other = replace(batch, columns={"label": batch.columns["label"].flip(1)})
    assert not same(loss_of.validate(other, draws(other)), held_out)  # nothing is dropped here
    part = next(iter(batch.split(3)))
    for name, value in loss_of.validate(part, draws(part)).items():
        torch.testing.assert_close(value, held_out[name][:3], rtol=1e-5, atol=1e-6)


def test_roles_are_the_trained_parameters_once_each() -> None:
    loss_of = small()
    roles = {role: list(parameters) for role, parameters in loss_of.roles().items()}
    assert list(roles) == ["main"]
    assert {id(p) for p in roles["main"]} == {id(p) for p in loss_of.parameters()}
    assert len(roles["main"]) == len({id(p) for p in roles["main"]})
    assert [name for name, _ in loss_of.named_children()] == ["first_stage", "conditioner", "denoiser"]


def test_autocast_changes_the_loss_by_rounding_only() -> None:
    loss_of, batch = small(), pictures(32)
    exact = loss_of(batch, "main", draws(batch)).per_sample
    with torch.autocast("cpu", torch.bfloat16):
        rounded = loss_of(batch, "main", draws(batch)).per_sample
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.03, atol=0.003)
    assert rounded.mean().item() == pytest.approx(exact.mean().item(), rel=0.005)


def test_a_short_training_on_gaussian_data_finds_the_exact_denoiser() -> None:
    schedule, std = Cosine(), 0.5
    with torch_generator(0):
        net = MlpConfig(width=32, depth=1).build((2,))
    loss_of = objective(net, schedule, V())
    optimizer = torch.optim.Adam(loss_of.parameters(), lr=1e-2)
    for step in range(250):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - step / 250)
        batch = gaussian_batch(256, 2, std, first=256 * step)
        optimizer.zero_grad()
        loss_of(batch, "main", Draws(0, batch.position, step)).per_sample.mean().backward()
        optimizer.step()
    test = Draws(9, torch.arange(500))
    for t in (0.2, 0.5, 0.8):
        alpha, sigma = schedule(torch.tensor(t))
        x_t = (alpha * std) * test.normal("x0", 2) + sigma * test.normal("eps", 2)
        exact = alpha * std**2 / (alpha**2 * std**2 + sigma**2) * x_t
        with torch.no_grad():
            error = (loss_of.denoiser(x_t, torch.tensor(t), Conditioning()) - exact).square().mean().sqrt()
        assert error.item() < 0.06 * std, t


class Sure(Optimal):
    """The exact network, with a gain on F and one number v for all."""

    def __init__(self, schedule: Schedule, parameterization: Parameterization, std: float, v: float) -> None:
        super().__init__(schedule, parameterization, std)
        self.gain, self.v = torch.nn.Parameter(torch.ones(())), torch.nn.Parameter(torch.tensor(v))

    def forward(self, x: Tensor, noise_level: Tensor, cond: Conditioning) -> Tensor:
        exact = super().forward(x, noise_level, cond)
        return torch.cat([self.gain * exact, self.v.expand_as(exact)], dim=1)


@pytest.mark.parametrize(("v", "nats"), [(1.0, 1.418939), (-1.0, 1.997533)], ids=["beta", "beta-tilde"])
def test_the_bound_is_estimated_without_bias(v: float, nats: float) -> None:
    """Against the oracles of exact Gaussian data, without their prior of 2e-5; within four standard errors."""
    exact = objective(Sure(Linear(), Eps(), 1.0, v), Linear(), Eps(), loss="bound")
    batch = gaussian_batch(65536, 4, 1.0)
    loss = exact(batch, "main", draws(batch)).per_sample.double()
    error = loss.std().item() / math.sqrt(len(loss))
    assert error < 0.05
    assert loss.mean().item() == pytest.approx(nats, abs=4 * error)


@pytest.mark.parametrize("loss", ["hybrid", pytest.param("bound", marks=pytest.mark.slow)])
def test_the_variance_that_is_learned_is_the_right_one(loss: Loss) -> None:
    """beta, where data have unit variance: v = 1."""
    network = Sure(Linear(), Eps(), 1.0, 0.0)
    trained = objective(network, Linear(), Eps(), loss=loss)
    optimizer, seen = torch.optim.Adam([network.v], lr=0.05), list[float]()
    for step in range(300):
        batch = gaussian_batch(256, 8, 1.0, first=256 * step)
        optimizer.zero_grad()
        trained(batch, "main", Draws(0, batch.position, step)).per_sample.mean().backward()
        optimizer.step()
        seen.append(network.v.item())
    assert sum(seen[-150:]) / 150 == pytest.approx(1.0, abs=0.1)


def test_the_bound_s_gradient_in_the_hybrid_loss_reaches_the_variance_alone() -> None:
    batch, gradients = gaussian_batch(64, 8, 0.5), list[Tensor]()
    for loss in ("hybrid", "simple"):
        network: Backbone = Sure(Linear(), Eps(), 1.0, 0.3)
        made = objective(network, Linear(), Eps(), loss="hybrid")
        report = made(batch, "main", draws(batch))
        per_sample = report.per_sample if loss == "hybrid" else report.per_sample - HYBRID * _bound_again(made, batch)
        gradients.append(torch.autograd.grad(per_sample.mean(), network.gain)[0])
        torch.testing.assert_close(report.per_sample, report.logs["simple"] + HYBRID * report.logs["bound"].float())
    assert torch.equal(gradients[0], gradients[1]) and gradients[0] != 0


def _bound_again(made: DiffusionObjective, batch: Batch) -> Tensor:
    """A number that does depend on the gain: taking it off would show."""
    return made(batch, "main", draws(batch)).logs["bound"].float()


def test_every_step_of_the_chain_is_trained_as_often_as_drawn(monkeypatch) -> None:
    """Times are float32, and 1000 of them times 1000 are not whole numbers."""
    seen: list[Tensor] = []

    def noted(chain: Chain, denoise: object, x0: Tensor, k: Tensor, eps: Tensor) -> Tensor:
        seen.append(k)
        return x0.new_zeros(len(x0), dtype=torch.float64)

    monkeypatch.setattr(Chain, "cost", noted)
    network = Sure(Linear(), Eps(), 1.0, 0.0)
    made = objective(network, Linear(), Eps(), loss="hybrid")
    monkeypatch.setattr("carrara.denoiser.Asked.output", torch.zeros(1000, 2), raising=False)
    t = torch.arange(1, 1001, dtype=torch.float32) / 1000
    made._hybrid(torch.zeros(1000, 2), UNCONDITIONAL, t, Draws(0, torch.arange(1000), 0))
    assert torch.equal(seen[0], torch.arange(1, 1001))


@pytest.mark.parametrize("loss", ["hybrid", "bound"])
def test_pictures_and_latents_descend_the_bound(loss: Loss) -> None:
    """Levels for pixels, so that the bound of an untrained network is above that of 256 equally likely ones."""
    with torch_generator(0):
        backbone = UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=()).build((1, 6, 6), answers=2)
    made = objective(backbone, Cosine(), V(), loss=loss)
    x = (torch.randint(0, 256, (8, 1, 6, 6), generator=torch.Generator().manual_seed(0)) / 127.5) - 1
    report = made(Batch(x=x, position=torch.arange(8)), "main", Draws(0, torch.arange(8), 0))
    report.per_sample.mean().backward()
    assert report.per_sample.shape == (8,) and report.per_sample.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())
