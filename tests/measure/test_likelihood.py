"""Bits of whole models: exact where the model is, and parts that add up where it is not.

A network whose last layer is 0 says v = 0, which is right for N(0, I): untrained, it is the exact denoiser of whitened
Gaussian latents. With a linear autoencoder in front, which is probabilistic PCA, all is known.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from carrara.autoencoder import Kl, KlConfig, LayeredVae, VaeConfig, VqConfig
from carrara.autoencoder.hierarchical import GaussianNoise
from carrara.backbone import MlpConfig, UNetConfig
from carrara.conditioning import LabelsConfig
from carrara.errors import UserError
from carrara.measure.likelihood import CodeLength, decoder_scale, diffusion_bound, flow_bound
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import Chain, Cosine, Linear, V, chain_times, level_log_probability, variational_bound
from carrara.sample import clip, dequantized, log_density, rademacher
from carrara.seeds import Draws, torch_generator
from carrara.types import Batch

POINTS = ModelConfig(shape=(2,), backbone=MlpConfig(width=8, depth=1), schedule=Linear(), parameterization=V())
PIXELS = ModelConfig(
    shape=(3, 8, 8),
    backbone=UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,)),
    schedule=Cosine(steps=40),
    parameterization=V(),
    conditioner=LabelsConfig(classes=("cat", "dog")),
)
SMALL = KlConfig(channels=8, multipliers=(1, 1), blocks=1, patch=2)
LATENTS = replace(PIXELS, shape=(3, 16, 16), first_stage=SMALL)
PCA = VaeConfig(latents=(2,), hidden=5, depth=0, likelihood="gaussian")


def untrained(config: ModelConfig) -> DiffusionModel:
    with torch_generator(0):
        return DiffusionModel(config).eval()


def model(config: ModelConfig) -> DiffusionModel:
    """One that says something."""
    made = untrained(config)
    with torch_generator(1), torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    if isinstance(made.first_stage, Kl | LayeredVae):
        made.first_stage.mean += 0.3
        made.first_stage.std *= torch.linspace(0.5, 2, len(made.first_stage.std))
    return made


def pictures(count: int, *shape: int) -> Batch:
    """Of 256 levels, with both ends among them."""
    position = torch.arange(count)
    draws = Draws(1, position)
    levels = torch.round(255 * (1.4 * draws.uniform("x", *shape) - 0.2).clamp(0, 1))
    return Batch(x=2 * levels / 255 - 1, position=position, columns={"label": torch.eye(2)[position % 2]})


def draws_of(batch: Batch) -> Draws:
    return Draws(0, batch.position)


# Where everything is known


@dataclass(frozen=True, eq=False)
class Cubature(Draws):
    """Instead of random numbers, 2n points at +-sqrt(n) on the axes: they integrate quadratics of n normals exactly.

    Half of the n are the posterior's, the others the noise of each step, of which no two meet in a product.
    """

    def normal(self, purpose: str, *shape: int) -> Tensor:
        n = 2 * shape[0]
        points = math.sqrt(n) * torch.cat([torch.eye(n), -torch.eye(n)])
        return points[self.samples].chunk(2, dim=1)[purpose == "bound"]


def expected_nats(cost: Callable[[Batch, Draws], CodeLength], x: Tensor, latents: int) -> Tensor:
    """The exact expectation of each row's cost, (B,)."""
    count = 4 * latents
    batch = Batch(x=x.repeat_interleave(count, 0), position=torch.arange(count * len(x)))
    return cost(batch, Cubature(0, torch.arange(count).repeat(len(x)))).nats.reshape(-1, count).mean(1)


@dataclass(frozen=True)
class Linear2:
    """x ~ N(W z + b, v I) in five dimensions, z ~ N(m, diag s^2) in two, and the columns of W are orthogonal."""

    w: Tensor
    b: Tensor
    v: float
    m: Tensor
    s: Tensor

    @staticmethod
    def example(m: tuple[float, float] = (0.0, 0.0), s: tuple[float, float] = (1.0, 1.0)) -> "Linear2":
        turn = torch.linalg.qr(Draws(3, torch.arange(5)).normal("turn", 5)).Q[:, :2]
        b = torch.tensor([0.3, -0.1, 0.2, 0.5, -0.4])
        return Linear2(w=turn * torch.tensor([1.5, 0.8]), b=b, v=0.3, m=torch.tensor(m), s=torch.tensor(s))

    @property
    def law(self) -> MultivariateNormal:
        w = self.w * self.s
        return MultivariateNormal(self.b + self.w @ self.m, w @ w.T + self.v * torch.eye(5))

    def posterior(self) -> tuple[Tensor, Tensor, Tensor]:
        """The mean of z is A x + a, its variance diagonal."""
        w = self.w * self.s
        variance = 1 / (1 + w.square().sum(0) / self.v)
        to_u = (variance * w / self.v).T
        a = self.m - self.s * (to_u @ (self.b + self.w @ self.m))
        return self.s[:, None] * to_u, a, self.s**2 * variance

    def model(self, *, bias: float = 0.0) -> DiffusionModel:
        """With the exact posterior, but for a bias of its mean."""
        made = untrained(replace(POINTS, shape=(5,), first_stage=PCA))
        vae = made.first_stage
        assert isinstance(vae, LayeredVae)
        to_z, a, variance = self.posterior()
        assign(vae.decoder, self.w, self.b)
        weight, shift = torch.cat([to_z, 0 * to_z]), torch.cat([a + bias, variance.log()])
        assign(vae.inference.get_submodule("maps.0.net"), weight, shift)
        vae.likelihood.get_parameter("log_sigma").data.fill_(0.5 * math.log(self.v))
        vae.mean.copy_(self.m)
        vae.std.copy_(self.s)
        return made


def assign(linear: nn.Module, weight: Tensor, bias: Tensor) -> None:
    layer = linear.get_submodule("0")
    assert isinstance(layer, nn.Linear)
    layer.weight.data, layer.bias.data = weight, bias


CASES = [Linear2.example(), Linear2.example(m=(0.7, -1.2), s=(2.5, 0.3))]
X = 1.2 * Draws(4, torch.arange(6)).normal("x", 5)


@pytest.mark.parametrize("case", CASES, ids=["plain", "whitened"])
@pytest.mark.parametrize("steps", [2, 50])
def test_the_bound_of_a_linear_latent_model_is_its_log_likelihood(case: Linear2, steps: int) -> None:
    """Nothing is lost in the autoencoder, whose posterior is exact, nor in any step of diffusion."""
    made = case.model()
    nats = expected_nats(lambda b, d: diffusion_bound(made, b, d, steps=steps, evaluations=None), X, 2)
    torch.testing.assert_close(nats, -case.law.log_prob(X).double(), rtol=0, atol=2e-4)


@pytest.mark.parametrize("case", CASES, ids=["plain", "whitened"])
def test_a_wrong_posterior_costs_its_divergence(case: Linear2) -> None:
    made = case.model(bias=0.2)
    to_z, a, variance = case.posterior()
    right = Independent(Normal(X @ to_z.T + a, variance.sqrt()), 1)
    wrong = Independent(Normal(X @ to_z.T + a + 0.2, variance.sqrt()), 1)
    nats = expected_nats(lambda b, d: diffusion_bound(made, b, d, steps=20, evaluations=None), X, 2)
    gap = kl_divergence(wrong, right).double()
    assert gap.min() > 0.01
    torch.testing.assert_close(nats, gap - case.law.log_prob(X).double(), rtol=0, atol=2e-4)


@pytest.mark.parametrize("case", CASES, ids=["plain", "whitened"])
def test_the_flow_of_a_linear_latent_model_has_its_log_likelihood(case: Linear2) -> None:
    made = case.model()
    nats = expected_nats(lambda b, d: flow_bound(made, b, d, probes=None, sigma_min=0.002), X, 2)
    torch.testing.assert_close(nats, -case.law.log_prob(X).double(), rtol=0, atol=2e-4)


def test_a_draw_of_the_bound_is_noisy_around_the_exact_one() -> None:
    """With real random numbers, and 8 of 1000 steps."""
    case, count = CASES[1], 3000
    made, row = case.model(), X[:1]
    batch = Batch(x=row.expand(count, 5), position=torch.arange(count))
    nats = diffusion_bound(made, batch, Draws(0, batch.position), evaluations=8).nats
    error = nats.std().item() / math.sqrt(count)
    assert error < 0.1
    assert nats.mean().item() == pytest.approx(-case.law.log_prob(row).item(), abs=4 * error)


def test_points_cost_bits_each() -> None:
    made, x = untrained(POINTS), 1.5 * X[:, :2]
    exact = -(Normal(0.0, 1.0).log_prob(x)).sum(1).double()
    found = expected_nats(lambda b, d: diffusion_bound(made, b, d, evaluations=None, steps=25), x, 2)
    torch.testing.assert_close(found, exact, rtol=0, atol=2e-4)
    batch = Batch(x=x, position=torch.arange(len(x)))
    flow = flow_bound(made, batch, draws_of(batch), probes=None, sigma_min=0.002)
    torch.testing.assert_close(flow.nats, exact, rtol=0, atol=1e-4)
    torch.testing.assert_close(flow.bits["total"], flow.nats / math.log(2))
    assert set(flow.parts) == {"flow"} and flow.dimensions == 1


# Pictures


def test_the_bound_in_pixels_is_that_of_levels_and_clipped_estimates() -> None:
    made, batch = model(PIXELS), pictures(4, 3, 8, 8)
    draws = draws_of(batch)
    found = diffusion_bound(made, batch, draws, evaluations=None)
    chain = Chain(schedule=PIXELS.schedule, times=chain_times(PIXELS.schedule))
    denoise = clip(made.denoiser.bind(made.conditioner(batch.columns)))
    bound = variational_bound(chain, denoise, batch.x, lambda k: draws.at(k).normal("bound", 3, 8, 8))
    assert found.bound is not None
    torch.testing.assert_close(found.bound.terms, bound.terms)
    torch.testing.assert_close(found.nats, bound.total)
    torch.testing.assert_close(found.parts["decoder"], bound.distortion)
    torch.testing.assert_close(found.bits["total"], bound.total / (192 * math.log(2)))
    assert bool((found.nats > 0).all()), "levels have probabilities, not densities"
    assert torch.equal(diffusion_bound(made, batch, draws, evaluations=39).nats, found.nats)


def test_the_flow_in_pixels_is_that_of_levels_spread_out() -> None:
    made, batch = model(PIXELS), pictures(3, 3, 8, 8)
    draws = draws_of(batch)
    found = flow_bound(made, batch, draws, steps=3, probes=2)
    denoise = made.denoiser.bind(made.conditioner(batch.columns))
    signs = rademacher(draws, (3, 8, 8), 2)
    flowed = log_density(denoise, dequantized(batch.x, draws), PIXELS.schedule, steps=3, probes=signs)
    torch.testing.assert_close(found.nats, 192 * math.log(127.5) - flowed.log_density, rtol=1e-5, atol=1e-3)
    assert found.dimensions == 192 and found.bound is None


@pytest.mark.parametrize("config", [PIXELS, LATENTS, replace(LATENTS, shape=(3, 8, 8), first_stage=PCA)])
@pytest.mark.parametrize("flow", [False, True])
def test_a_sample_costs_the_same_alone_and_its_condition_counts(config: ModelConfig, flow: bool) -> None:
    if config.first_stage == PCA:
        config = replace(config, backbone=MlpConfig(width=8, depth=1))
    made, batch = model(config), pictures(4, *config.shape)

    def cost(of: Batch) -> Tensor:
        if flow:
            return flow_bound(made, of, draws_of(of), steps=2, scale=0.1).nats
        return diffusion_bound(made, of, draws_of(of), evaluations=3, scale=0.1).nats

    together = cost(batch)
    alone = cost(list(batch.split(1))[2])
    assert bool(together.isfinite().all())
    torch.testing.assert_close(alone[0], together[2], rtol=1e-4, atol=1e-2)
    other = cost(replace(batch, columns={"label": batch.columns["label"].flip(1)}))
    nothing = cost(replace(batch, columns={}))
    assert not torch.allclose(other, together, rtol=1e-5) and not torch.allclose(nothing, together, rtol=1e-5)
    torch.testing.assert_close(nothing, cost(replace(batch, columns={"vector": torch.zeros(4, 1)})))


@pytest.mark.parametrize("size", [(16, 16), (15, 22)])
def test_the_parts_of_a_latent_model(size: tuple[int, int]) -> None:
    made, batch = model(LATENTS), pictures(3, 3, *size)
    draws, stage = draws_of(batch), made.first_stage
    assert isinstance(stage, Kl)
    found = diffusion_bound(made, batch, draws, evaluations=4, scale=0.07)
    with torch.no_grad():
        raw = stage.encode_raw(batch.x)
        z = stage.latents(raw, draws)
        decoded = stage.decode(z)[..., : size[0], : size[1]]
    logs = level_log_probability(batch.x, decoded, torch.tensor(0.07), law="laplace")
    torch.testing.assert_close(found.parts["reconstruction"], -logs.flatten(1).sum(1), rtol=1e-6, atol=1e-3)

    std = torch.exp(0.5 * raw.double().chunk(2, 1)[1]) / stage.std.double()[:, None, None]
    entropy = Normal(torch.zeros_like(std), std).entropy().flatten(1).sum(1)
    torch.testing.assert_close(found.parts["posterior"], -entropy, rtol=1e-5, atol=1e-4)
    assert found.dimensions == 3 * size[0] * size[1]
    assert set(found.parts) == {"reconstruction", "posterior", "prior", "diffusion", "decoder"}
    torch.testing.assert_close(found.nats, sum(found.parts.values()))
    torch.testing.assert_close(found.bits["total"] * found.dimensions * math.log(2), found.nats)


def test_the_decoder_s_scale_is_the_likeliest() -> None:
    made, batches = model(LATENTS), list(pictures(6, 3, 16, 16).split(4))
    scale = decoder_scale(made, batches)

    def cost(scale: float | None, of: Batch) -> Tensor:
        found = diffusion_bound(made, of, draws_of(of), steps=2, evaluations=1, scale=scale)
        return found.parts["reconstruction"].sum()

    costs = [sum(cost(factor * scale, of) for of in batches) for factor in (0.8, 0.95, 1.0, 1.05, 1.25)]
    assert min(costs) == costs[2]
    (whole,) = pictures(6, 3, 16, 16).split(6)
    torch.testing.assert_close(cost(None, whole), cost(decoder_scale(made, [whole]), whole))


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_a_vae_s_own_likelihood_counts(likelihood: str) -> None:
    """Of levels, where it is a density; and the model is as it was afterwards."""
    stage = VaeConfig(latents=(4,), hidden=8, likelihood="gaussian" if likelihood == "gaussian" else "bernoulli")
    made = model(replace(PIXELS, backbone=MlpConfig(width=8, depth=1), first_stage=stage))
    batch, vae = pictures(3, 3, 8, 8), made.first_stage
    assert isinstance(vae, LayeredVae)
    found = diffusion_bound(made, batch, draws_of(batch), evaluations=4)
    with torch.no_grad():
        layer = vae.infer(batch.x, draws_of(batch))[0]
        logs = vae.log_likelihood(batch.x, layer.z).double()
    if isinstance(vae.likelihood, GaussianNoise):
        law = Normal(vae.render(layer.z).detach().double(), vae.likelihood.log_sigma.detach().double().exp())
        high, low = (torch.where(batch.x * side >= 1, side * math.inf, batch.x + side / 255) for side in (1, -1))
        logs = (law.cdf(high.double()) - law.cdf(low.double())).log().flatten(1).sum(1)
    torch.testing.assert_close(found.parts["reconstruction"], -logs, rtol=1e-5, atol=1e-3)
    entropy = Independent(Normal(layer.q.mean, (0.5 * layer.q.log_variance).exp() / vae.std), 1).entropy()
    torch.testing.assert_close(found.parts["posterior"], -entropy.detach().double(), rtol=1e-5, atol=1e-4)


# What cannot be measured


def test_vector_quantization_has_no_likelihood() -> None:
    stage = VqConfig(channels=8, multipliers=(1, 1), blocks=1, patch=2, codes=8)
    made, batch = model(replace(LATENTS, first_stage=stage)), pictures(2, 3, 16, 16)
    for measure in (diffusion_bound, flow_bound):
        with pytest.raises(UserError, match="no density"):
            measure(made, batch, draws_of(batch))
    with pytest.raises(UserError, match="only a KL autoencoder has a scale"):
        decoder_scale(made, [batch])


@pytest.mark.parametrize(("options", "words"), [({"evaluations": 0}, "1 step or more"), ({"steps": 41}, "at most 40")])
def test_numbers_that_cannot_be(options: dict[str, int], words: str) -> None:
    batch = pictures(2, 3, 8, 8)
    with pytest.raises(UserError, match=words):
        diffusion_bound(model(PIXELS), batch, draws_of(batch), **options)
