"""Variational autoencoders whose likelihood is known: linear Gaussian ones. Everything is float64.

A linear VAE is probabilistic PCA (Tipping and Bishop, 1999), and a chain of linear Gaussian layers has a Gaussian
posterior too. With the exact posterior the bound is the log-likelihood itself; with another one it is short of it by
exactly the divergence between the two.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from carrara.autoencoder.hierarchical import (
    BottomUp,
    Gaussian,
    GaussianMap,
    GaussianNoise,
    Ladder,
    LayeredVae,
    VaeConfig,
)
from carrara.objective.elbo import ElboObjective, bound, elbo
from carrara.seeds import Draws, torch_generator
from carrara.types import Batch

INFERENCES: tuple[Literal["bottom_up", "ladder"], ...] = ("bottom_up", "ladder")


@dataclass(frozen=True, eq=False)
class Cubature(Draws):
    """Instead of random numbers, 2n points at +-sqrt(n) on the axes: they integrate quadratics of n normals exactly."""

    widths: tuple[int, ...] = ()

    def normal(self, purpose: str, *shape: int) -> Tensor:
        n, layer = sum(self.widths), int(purpose.removeprefix("z_")) - 1
        points = math.sqrt(n) * torch.cat([torch.eye(n), -torch.eye(n)]).double()
        return points[self.samples].split(self.widths, dim=1)[layer]


def expectation(of: Callable[[Tensor, Draws], Tensor], x: Tensor, widths: tuple[int, ...]) -> Tensor:
    """E[of(x, draws)] for each row of x, (B,), exactly: where maps are linear, all that matters is quadratic."""
    count = 2 * sum(widths)
    draws = Cubature(0, torch.arange(count).repeat(len(x)), widths=widths)
    return of(x.repeat_interleave(count, 0), draws).reshape(-1, count).mean(1)


def exact_elbo(vae: LayeredVae, x: Tensor) -> Tensor:
    """The bound of each row of x, (B,), with its expectation taken exactly."""
    return expectation(lambda rows, draws: elbo(vae, rows, draws).total, x, vae.widths)


def numbers(purpose: str, count: int, *shape: int) -> Tensor:
    return Draws(3, torch.arange(count)).normal(purpose, *shape).double()


def orthogonal(rows: int, columns: int) -> Tensor:
    return torch.linalg.qr(numbers("orthogonal", rows, columns)).Q


def assign(linear: nn.Sequential, weight: Tensor, bias: Tensor) -> None:
    [layer] = linear
    assert isinstance(layer, nn.Linear)
    layer.weight.data, layer.bias.data = weight, bias


def assign_gaussian(network: nn.Module, weight: Tensor, bias: Tensor, variance: Tensor) -> None:
    """Makes a linear network say N(weight x + bias, diag variance)."""
    assert isinstance(network, GaussianMap)
    assign(network.net, torch.cat([weight, torch.zeros_like(weight)]), torch.cat([bias, variance.log()]))


def linear_vae(dimension: int, latents: tuple[int, ...], inference: Literal["bottom_up", "ladder"]) -> LayeredVae:
    config = VaeConfig(latents=latents, hidden=dimension, depth=0, inference=inference, likelihood="gaussian")
    return config.build((dimension,)).double().requires_grad_(False)


def networks(vae: LayeredVae) -> nn.ModuleList:
    """What gives each layer's posterior, z_1 first."""
    assert isinstance(vae.inference, BottomUp | Ladder)
    return vae.inference.maps if isinstance(vae.inference, BottomUp) else vae.inference.heads


def set_sigma(vae: LayeredVae, variance: Tensor) -> None:
    assert isinstance(vae.likelihood, GaussianNoise)
    vae.likelihood.log_sigma.copy_(0.5 * variance.log())


# The pieces


def test_kl_is_the_integral() -> None:
    """By the trapezoidal rule, which is exact to rounding for such integrands."""
    q = Gaussian(torch.tensor([[0.3], [-2.0], [0.0]]).double(), torch.tensor([[-1.0], [0.7], [0.0]]).double())
    p = Gaussian(torch.tensor([[-0.5], [1.0], [0.0]]).double(), torch.tensor([[0.4], [-0.3], [0.0]]).double())
    grid = torch.linspace(-30, 30, 60_001).double()
    for row, nats in enumerate(q.kl(p)):
        one, two = (Gaussian(g.mean[[row]], g.log_variance[[row]]) for g in (q, p))
        ln_q, ln_p = (g.log_density(grid[:, None]) for g in (one, two))
        integral = torch.trapezoid(ln_q.exp() * (ln_q - ln_p), grid)
        assert nats.item() == pytest.approx(integral.item(), abs=1e-10)
        assert torch.trapezoid(ln_q.exp(), grid).item() == pytest.approx(1, abs=1e-10)
    assert q.kl(p)[2] == 0


def test_kl_adds_up_over_dimensions_and_agrees_with_torch() -> None:
    mean, log_variance, other_mean, other_log_variance = numbers("gaussians", 4, 7, 5)
    q, p = Gaussian(mean, log_variance), Gaussian(other_mean, other_log_variance)
    theirs = [Independent(Normal(g.mean, (0.5 * g.log_variance).exp()), 1) for g in (q, p)]
    torch.testing.assert_close(q.kl(p), kl_divergence(*theirs))


def test_a_product_of_gaussians_is_the_product_of_densities() -> None:
    """ln a(z) + ln b(z) - ln ab(z) is the same number at every z."""
    mean, log_variance, other_mean, other_log_variance = numbers("gaussians", 4, 3, 2)
    a, b = Gaussian(mean, log_variance), Gaussian(other_mean, 3 * other_log_variance)
    points = numbers("points", 20, 3, 2)
    rest = torch.stack([a.log_density(z) + b.log_density(z) - a.times(b).log_density(z) for z in points])
    torch.testing.assert_close(rest, rest[:1].expand_as(rest), rtol=0, atol=1e-9)


# One layer: probabilistic PCA


@dataclass(frozen=True)
class Ppca:
    """The maximum of the likelihood of data x with so many components, from the eigenvalues of their covariance."""

    mean: Tensor
    weight: Tensor
    variance: Tensor
    best: float

    @staticmethod
    def of(x: Tensor, components: int) -> "Ppca":
        values, vectors = torch.linalg.eigh(torch.cov(x.T, correction=0))
        values, vectors = values.flip(0), vectors.flip(1)
        variance, kept, d = values[components:].mean(), values[:components], x.shape[1]
        logs = kept.log().sum() + (d - components) * variance.log()
        best = -0.5 * (d * math.log(2 * math.pi) + logs + d).item()
        return Ppca(x.mean(0), vectors[:, :components] * (kept - variance).sqrt(), variance, best)

    def posterior(self) -> tuple[Tensor, Tensor]:
        """The linear map from x - mean to the posterior's mean, and its diagonal variance."""
        precision = (self.weight.square().sum(0) + self.variance) / self.variance
        return (self.weight / self.variance / precision).T, 1 / precision

    def log_likelihood(self, x: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + self.variance * torch.eye(len(self.mean)).double()
        return MultivariateNormal(self.mean, covariance).log_prob(x)


def correlated(count: int) -> Tensor:
    """Gaussian data in five dimensions, with standard deviations from 2 to 0.5."""
    stds = torch.tensor([2.0, 1.5, 1.0, 0.6, 0.5]).double()
    return numbers("data", count, 5) * stds @ orthogonal(5, 5) + 0.3


def ppca_vae(exact: Ppca, inference: Literal["bottom_up", "ladder"]) -> LayeredVae:
    vae = linear_vae(len(exact.mean), exact.weight.shape[1:], inference)
    to_z, variance = exact.posterior()
    assign(vae.decoder, exact.weight, exact.mean)
    set_sigma(vae, exact.variance)
    for features in vae.inference.features if isinstance(vae.inference, Ladder) else ():
        assign(features, torch.eye(len(exact.mean)).double(), torch.zeros(len(exact.mean)).double())
    assign_gaussian(networks(vae)[0], to_z, -to_z @ exact.mean, variance)
    return vae


@pytest.mark.parametrize("inference", INFERENCES)
def test_a_linear_vae_is_probabilistic_pca(inference: Literal["bottom_up", "ladder"]) -> None:
    """Its bound is the exact log-likelihood, of each sample, and its mean the maximum that PCA gives in closed form."""
    x = correlated(300)
    exact = Ppca.of(x, 2)
    vae = ppca_vae(exact, inference)
    bounds = exact_elbo(vae, x)
    torch.testing.assert_close(bounds, exact.log_likelihood(x), rtol=0, atol=1e-10)
    assert bounds.mean().item() == pytest.approx(exact.best, abs=1e-10)
    draws = Draws(0, torch.arange(len(x)))
    for samples in (1, 8):  # every weight is p(x), whatever the draw
        torch.testing.assert_close(bound(vae, x, draws, samples=samples), bounds, rtol=0, atol=1e-10)


def test_no_step_from_the_optimum_of_probabilistic_pca_raises_the_bound() -> None:
    x = correlated(300)
    vae = ppca_vae(Ppca.of(x, 2), "bottom_up").requires_grad_(True)
    loss = -exact_elbo(vae, x).mean()
    loss.backward()
    gradients = {name: p.grad.abs().max().item() for name, p in vae.named_parameters() if p.grad is not None}
    assert len(gradients) == 5
    assert max(gradients.values()) < 1e-10


def test_a_wrong_posterior_costs_its_divergence_and_importance_weights_win_most_of_it_back() -> None:
    x = correlated(300)
    exact = Ppca.of(x, 2)
    vae, (to_z, variance) = ppca_vae(exact, "bottom_up"), exact.posterior()
    mean = (x - exact.mean) @ to_z.T
    wrong = Independent(Normal(0.5 * mean + 0.2, (2 * variance).sqrt()), 1)
    assign_gaussian(networks(vae)[0], 0.5 * to_z, 0.2 - 0.5 * to_z @ exact.mean, 2 * variance)

    truth, bounds = exact.log_likelihood(x), exact_elbo(vae, x)
    gap = kl_divergence(wrong, Independent(Normal(mean, variance.sqrt()), 1))
    torch.testing.assert_close(truth - bounds, gap, rtol=0, atol=1e-10)

    draws = Draws(0, torch.arange(len(x)))
    means = [bound(vae, x, draws, samples=samples).mean().item() for samples in (1, 8, 64)]
    assert bounds.mean() + 0.1 < means[1] < means[2] < truth.mean().item()
    error = math.sqrt(2) * gap.mean().item() / math.sqrt(len(x))
    assert means[0] == pytest.approx(bounds.mean().item(), abs=4 * error)


def test_a_linear_vae_learns_probabilistic_pca() -> None:
    x = correlated(256)
    with torch_generator(0):
        vae = linear_vae(5, (2,), "bottom_up").float().requires_grad_(True)
    objective = ElboObjective(vae)
    optimizer = torch.optim.Adam(vae.parameters())
    position = torch.arange(len(x))
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = 0.03 * (1 - step / 300)
        optimizer.zero_grad()
        batch = Batch(x=x.float(), position=position)
        objective(batch, "main", Draws(0, position, step)).per_sample.mean().backward()
        optimizer.step()
    short = Ppca.of(x, 2).best - exact_elbo(vae.double().requires_grad_(False), x).mean().item()
    assert 0 < short < 0.01


# Two layers: a linear chain


@dataclass(frozen=True)
class Chain:
    """z_2 ~ N(0, I), z_1 ~ N(A z_2 + b, diag s), x ~ N(W z_1 + m, v), of six, three and two dimensions.

    The columns of W and of A are orthogonal, and where they are mixed all variances are equal, so that the posteriors'
    covariances are diagonal. A mixes both z_2 into the first two z_1.
    """

    a: Tensor
    b: Tensor
    s: Tensor
    w: Tensor
    m: Tensor
    v: Tensor

    @staticmethod
    def example() -> "Chain":
        turn = torch.tensor([[0.8, -0.6], [0.6, 0.8], [0.0, 0.0]]).double()
        return Chain(
            a=1.3 * turn,
            b=torch.tensor([0.4, -0.2, 0.7]).double(),
            s=torch.tensor([0.5, 0.5, 1.2]).double(),
            w=orthogonal(6, 3) * torch.tensor([1.5, 1.5, 0.8]).double(),
            m=numbers("mean", 6),
            v=torch.tensor(0.3).double(),
        )

    @property
    def covariance(self) -> Tensor:
        """Of z_1."""
        return self.a @ self.a.T + torch.diag(self.s)

    @property
    def law(self) -> MultivariateNormal:
        """Of x."""
        noise = self.v * torch.eye(len(self.m)).double()
        return MultivariateNormal(self.m + self.w @ self.b, self.w @ self.covariance @ self.w.T + noise)

    def vae(self, inference: Literal["bottom_up", "ladder"]) -> LayeredVae:
        """The same chain with its exact posterior."""
        vae = linear_vae(6, (3, 2), inference)
        assign(vae.decoder, self.w, self.m)
        set_sigma(vae, self.v)
        assign_gaussian(vae.prior.maps[0], self.a, self.b, self.s)
        if isinstance(vae.inference, Ladder):
            self._climb(vae.inference)
        else:
            self._ascend(networks(vae))
        return vae

    def _ascend(self, maps: nn.ModuleList) -> None:
        """q(z_1 | x) = p(z_1 | x), q(z_2 | z_1) = p(z_2 | z_1)."""
        prior = torch.linalg.inv(self.covariance)
        variance = torch.linalg.inv(self.w.T @ self.w / self.v + prior)
        to_z1 = variance @ self.w.T / self.v
        at_zero = variance @ prior @ self.b - to_z1 @ self.m
        assign_gaussian(maps[0], to_z1, at_zero, diagonal(variance))
        self._assign_z2(maps[1], torch.diag(self.s), torch.eye(3).double(), torch.zeros(3).double())

    def _climb(self, ladder: Ladder) -> None:
        """The first guess is the likelihood of z_1, as a Gaussian; q(z_2 | x) = p(z_2 | that guess)."""
        for features in ladder.features:
            assign(features, torch.eye(6).double(), torch.zeros(6).double())
        guess = torch.linalg.inv(self.w.T @ self.w)
        to_guess = guess @ self.w.T
        assign_gaussian(ladder.heads[0], to_guess, -to_guess @ self.m, diagonal(self.v * guess))
        self._assign_z2(ladder.heads[1], torch.diag(self.s) + self.v * guess, to_guess, -to_guess @ self.m)

    def _assign_z2(self, network: nn.Module, noise: Tensor, weight: Tensor, bias: Tensor) -> None:
        """p(z_2 | y) for y = A z_2 + b + N(0, noise), where y = weight input + bias."""
        precise = torch.linalg.inv(noise)
        variance = torch.linalg.inv(torch.eye(2).double() + self.a.T @ precise @ self.a)
        gain = variance @ self.a.T @ precise
        assign_gaussian(network, gain @ weight, gain @ (bias - self.b), diagonal(variance))


def diagonal(matrix: Tensor) -> Tensor:
    assert (matrix - torch.diag(matrix.diag())).abs().max() < 1e-12
    return matrix.diag()


@pytest.mark.parametrize("inference", INFERENCES)
def test_the_bound_of_a_linear_chain_is_tight(inference: Literal["bottom_up", "ladder"]) -> None:
    chain = Chain.example()
    vae, x = chain.vae(inference), 2 * numbers("x", 200, 6)
    truth = chain.law.log_prob(x)
    torch.testing.assert_close(exact_elbo(vae, x), truth, rtol=0, atol=1e-9)
    draws = Draws(0, torch.arange(len(x)))
    for samples in (1, 8):
        torch.testing.assert_close(bound(vae, x, draws, samples=samples), truth, rtol=0, atol=1e-9)


@pytest.mark.parametrize("inference", INFERENCES)
def test_a_chain_with_one_wrong_layer_loses_its_divergence(inference: Literal["bottom_up", "ladder"]) -> None:
    """The last layer's posterior is set to the prior, so it says nothing: the mean KL from there to the exact one."""
    chain = Chain.example()
    right, wrong, x = chain.vae(inference), chain.vae(inference), 2 * numbers("x", 200, 6)
    last = networks(wrong)[1]
    last.net[0].weight.zero_()
    last.net[0].bias.zero_()
    standard = Gaussian(torch.zeros(1, 2).double(), torch.zeros(1, 2).double())
    gap = expectation(lambda rows, draws: standard.kl(right.infer(rows, draws)[1].q), x, right.widths)
    truth, bounds = chain.law.log_prob(x), exact_elbo(wrong, x)
    torch.testing.assert_close(truth - bounds, gap, rtol=0, atol=1e-9)
    better = bound(wrong, x, Draws(0, torch.arange(len(x))), samples=64)
    assert bounds.mean() + 0.1 < better.mean() < truth.mean()


def test_samples_of_a_chain_have_its_mean_and_covariance() -> None:
    chain, count = Chain.example(), 20_000
    made = chain.vae("bottom_up").generate(Draws(0, torch.arange(count)))
    law = chain.w @ chain.covariance @ chain.w.T
    spread = law.diag().max().item()
    torch.testing.assert_close(made.mean(0), chain.law.mean, rtol=0, atol=4 * math.sqrt(spread / count))
    torch.testing.assert_close(torch.cov(made.T), law, rtol=0, atol=5 * spread * math.sqrt(2 / count))
