"""The variational autoencoder as a model: shapes, densities, what is random and what is not. Oracles: test_vae.py."""

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from carrara.autoencoder.hierarchical import Bernoulli, GaussianNoise, LayeredVae, VaeConfig
from carrara.seeds import Draws, torch_generator

SHAPE = (1, 4, 3)
INFERENCES = ("bottom_up", "ladder")
KINDS = [VaeConfig(latents=latents, hidden=8, inference=i) for latents in ((3,), (3, 2), (4, 3, 2)) for i in INFERENCES]


def named(config: VaeConfig) -> str:
    return f"{config.inference} {config.latents}"


def built(config: VaeConfig, shape: tuple[int, ...] = SHAPE) -> LayeredVae:
    with torch_generator(0):
        vae = config.build(shape)
        for p in vae.parameters():
            p.data += 0.3 * torch.randn(p.shape)
    return vae


def numbers(count: int) -> Draws:
    return Draws(7, torch.arange(100, 100 + count))


def pictures(count: int = 6, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return 2 * Draws(1, torch.arange(count)).uniform("x", *shape) - 1


@pytest.mark.parametrize("config", KINDS, ids=named)
def test_shapes(config: VaeConfig) -> None:
    vae, x, draws = built(config), pictures(), numbers(6)
    layers = vae.infer(x, draws)
    assert [layer.z.shape for layer in layers] == [(6, width) for width in config.latents]
    assert all(layer.kl().shape == layer.log_ratio().shape == (6,) for layer in layers)
    assert vae.log_likelihood(x, layers[0].z).shape == (6,)
    assert vae.reconstruct(x, draws).shape == vae.reconstruct(x, None).shape == vae.generate(draws).shape == x.shape
    for k, width in enumerate(vae.widths):
        assert vae.from_layer(k, torch.zeros(5, width)).shape == (5, *SHAPE)
    assert [mean.shape for mean in vae.posterior_means(x)] == [(6, width) for width in config.latents]
    assert vae.reconstruct(x, None).abs().max() < 1


@pytest.mark.parametrize("shape", [(2,), (3, 5), (3, 2, 2)])
def test_data_of_any_shape(shape: tuple[int, ...]) -> None:
    vae = built(VaeConfig(latents=(2, 1), hidden=4, likelihood="gaussian"), shape)
    assert vae.generate(numbers(3)).shape == vae.reconstruct(pictures(3, shape), None).shape == (3, *shape)


@pytest.mark.parametrize("config", KINDS, ids=named)
def test_a_first_stage_like_any_other(config: VaeConfig) -> None:
    """Latents are z_1, and its posterior is what is kept; whitening changes the latents, not what they look like."""
    vae, x = built(config), pictures()
    raw = vae.encode_raw(x)
    assert vae.latent_shape(SHAPE) == config.latents[:1] and raw.shape == (6, 2 * config.latents[0])
    assert torch.equal(vae.sample(raw, None), vae.infer(x, None)[0].z)
    spread = torch.exp(0.5 * raw[:, config.latents[0] :])
    draw = numbers(6).normal("z_1", config.latents[0])
    torch.testing.assert_close(vae.sample(raw, numbers(6)), vae.sample(raw, None) + spread * draw)
    plain = vae.decode(vae.latents(raw, None))
    assert torch.equal(plain, vae.reconstruct(x, None))
    vae.mean.fill_(0.7)
    vae.std.fill_(2.0)
    torch.testing.assert_close(vae.latents(raw, None), (raw[:, : config.latents[0]] - 0.7) / 2)
    torch.testing.assert_close(vae.decode(vae.latents(raw, None)), plain)


def test_bottom_up_draws_z_1_alike_with_layers_above_it_and_through_the_seam() -> None:
    vae, x = built(KINDS[2]), pictures()
    assert torch.equal(vae.sample(vae.encode_raw(x), numbers(6)), vae.infer(x, numbers(6))[0].z)


@pytest.mark.parametrize("config", KINDS, ids=named)
def test_a_sample_depends_on_its_own_numbers_alone(config: VaeConfig) -> None:
    vae, x, draws = built(config), pictures(), numbers(6)
    state = torch.get_rng_state()
    for make in (lambda rows, d: vae.reconstruct(x[rows], d), lambda _, d: vae.generate(d)):
        whole = make(slice(0, 6), draws)
        part = make(slice(2, 4), replace(draws, samples=draws.samples[2:4]))
        torch.testing.assert_close(part, whole[2:4], rtol=1e-5, atol=1e-6)
        assert torch.equal(make(slice(0, 6), draws), whole)
        assert not torch.allclose(make(slice(0, 6), draws.at(1)), whole)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("config", KINDS, ids=named)
def test_each_layer_has_random_numbers_of_its_own(config: VaeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    normal = Draws.normal
    monkeypatch.setattr(
        Draws, "normal", lambda self, purpose, *shape: (asked.append(purpose), normal(self, purpose, *shape))[1]
    )
    vae, names = built(config), [f"z_{k + 1}" for k in range(len(config.latents))]
    for work in (lambda: vae.infer(pictures(), numbers(6)), lambda: vae.generate(numbers(6))):
        asked.clear()
        work()
        assert sorted(asked) == names


@pytest.mark.parametrize("config", KINDS, ids=named)
def test_a_latent_of_a_layer_is_followed_by_the_means_below(config: VaeConfig) -> None:
    vae = built(config)
    z = numbers(5).normal("z", vae.widths[-1])
    below = z
    for k in reversed(range(len(vae.widths) - 1)):
        below = vae.prior(k, below).mean
        torch.testing.assert_close(vae.from_layer(k, below), vae.from_layer(len(vae.widths) - 1, z))
    assert torch.equal(vae.from_layer(0, below), vae.render(below))


@pytest.mark.parametrize("config", KINDS, ids=named)
def test_everything_learns(config: VaeConfig) -> None:
    vae, x = built(config), pictures()
    layers = vae.infer(x, numbers(6))
    (vae.log_likelihood(x, layers[0].z) - sum(layer.kl() for layer in layers)).mean().backward()
    assert [name for name, p in vae.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("config", KINDS, ids=named)
def test_the_closed_divergence_is_the_mean_of_its_estimate(config: VaeConfig) -> None:
    """In every layer that says it has one; of many draws of one picture, given what it depends on."""
    vae, count = built(config), 20_000
    closed = [layer.closed for layer in vae.infer(pictures(1), None)]
    assert closed == [config.inference == "ladder" or k == len(closed) - 1 for k in range(len(closed))]
    layers = vae.infer(pictures(1).expand(count, *SHAPE), numbers(count))
    for layer in (layer for layer in layers if layer.closed):
        difference = (layer.kl() - layer.log_ratio()).detach()
        assert abs(difference.mean().item()) < 4 * difference.std().item() / math.sqrt(count) + 1e-5


def test_the_probabilities_of_all_black_and_white_pictures_add_up() -> None:
    """And a grey picture's log-likelihood is the mean over pictures that are drawn with its greys as probabilities."""
    every = torch.tensor(list(product((-1.0, 1.0), repeat=4)))
    out = torch.tensor([[0.3, -2.0, 1.1, 0.0]])
    logs = Bernoulli().log_density(out.expand(16, 4), every)
    assert logs.exp().sum().item() == pytest.approx(1, abs=1e-6)
    grey = torch.tensor([[0.2, -0.9, 0.5, 1.0]])
    coins = torch.where(every > 0, (1 + grey) / 2, (1 - grey) / 2).prod(1)
    assert Bernoulli().log_density(out, grey).item() == pytest.approx((coins * logs).sum().item(), abs=1e-5)
    mean = (logs.exp()[:, None] * every).sum(0)
    torch.testing.assert_close(Bernoulli().mean(out)[0], mean)


def test_a_gaussian_s_sigma_is_fixed_or_learned() -> None:
    out, x = pictures(5, (3,)), pictures(5, (3,)).flip(0)
    expected = torch.distributions.Normal(out, 0.4).log_prob(x).sum(1)
    torch.testing.assert_close(GaussianNoise(0.4).log_density(out, x), expected)
    assert not GaussianNoise(0.4).state_dict() and not list(GaussianNoise(0.4).parameters())
    assert GaussianNoise(None).log_sigma.requires_grad
    learned = GaussianNoise(None)
    learned.log_density(out, x).mean().backward()
    ratio = (x - out).square().sum(1).mean() - 3  # the derivative of ln p by ln sigma at sigma = 1
    assert learned.log_sigma.grad is not None
    assert learned.log_sigma.grad.item() == pytest.approx(ratio.item(), rel=1e-5)


@pytest.mark.parametrize("inference", INFERENCES)
def test_probabilities_are_float32_under_autocast(inference: Any) -> None:
    vae, x = built(VaeConfig(latents=(3, 2), hidden=8, inference=inference)), pictures()
    exact = vae.infer(x, numbers(6))
    with torch.autocast("cpu", torch.bfloat16):
        layers = vae.infer(x, numbers(6))
        made = [
            vae.log_likelihood(x, layers[0].z),
            vae.generate(numbers(6)),
            vae.encode_raw(x),
            *(k.kl() for k in layers),
        ]
    assert {tensor.dtype for tensor in made} == {torch.float32}
    assert not torch.equal(layers[0].z, exact[0].z)
    torch.testing.assert_close(layers[0].z, exact[0].z, rtol=0.1, atol=0.1)


def test_a_variance_out_of_range_is_bounded() -> None:
    vae = built(KINDS[0])
    for p in vae.inference.parameters():
        p.data *= 1e4
    layers = vae.infer(pictures(), numbers(6))
    assert bool(torch.stack([layers[0].kl(), layers[0].log_ratio()]).isfinite().all())


def test_depth_zero_is_linear() -> None:
    vae = built(VaeConfig(latents=(3, 2), depth=0, likelihood="gaussian"))
    z = numbers(4).normal("z", 2)
    zero, one, two = (vae.from_layer(1, scale * z) for scale in (0.0, 1.0, 2.0))
    torch.testing.assert_close(two - zero, 2 * (one - zero), rtol=1e-4, atol=1e-5)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"made for samples of shape \(1, 4, 3\), and these have \(3, 4, 4\)"):
        built(KINDS[0]).latent_shape((3, 4, 4))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"latents": ()}, "one layer or more"),
        ({"latents": (4, 0)}, "one latent or more each"),
        ({"hidden": 0}, "hidden must be 1 or more"),
        ({"depth": -1}, "depth 0 to 1000"),
        ({"sigma": 0.1}, "belongs to likelihood gaussian"),
        ({"likelihood": "gaussian", "sigma": 0.0}, "sigma is above 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        VaeConfig(**wrong)
