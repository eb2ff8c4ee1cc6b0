"""The perceptron for points: its formula, its condition, and no sample sees another."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from carrara.backbone import Backbone, Mlp, MlpConfig
from carrara.nn import NoiseEmbedding
from carrara.seeds import Draws, torch_generator
from carrara.types import UNCONDITIONAL, Conditioning


def numbers(name: str, count: int, *shape: int) -> Tensor:
    return Draws(0, torch.arange(count)).normal(name, *shape)


def network(width: int = 16, depth: int = 2, dimensions: int = 2) -> Backbone:
    with torch_generator(0):
        net = MlpConfig(width=width, depth=depth).build((dimensions,))
        for parameter in net.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return net


@pytest.mark.parametrize("width", [2, 3, 15, 16])
@pytest.mark.parametrize("dimensions", [1, 2, 7])
def test_any_width_and_dimension(width: int, dimensions: int) -> None:
    net = network(width, 1, dimensions)
    assert net(numbers("x", 5, dimensions), numbers("level", 5), UNCONDITIONAL).shape == (5, dimensions)


def test_the_formula() -> None:
    net = network()
    assert isinstance(net, Mlp)
    x, level, c = numbers("x", 4, 2), numbers("level", 4), numbers("c", 4, 16)
    emb, h = net.noise(level) + c, net.inp(x)
    for layer in net.layers:
        first, second = layer.get_submodule("1"), layer.get_submodule("3")
        h = h + second(F.silu(first(F.silu(h + emb))))
    torch.testing.assert_close(net(x, level, Conditioning(vector=c)), net.out(F.silu(h)))


def test_vector_and_noise_level_are_used_and_every_parameter_learns() -> None:
    net = network()
    x, level, cond = numbers("x", 4, 2), numbers("level", 4), Conditioning(vector=numbers("c", 4, 16))
    out = net(x, level, cond)
    assert (net(x, level, UNCONDITIONAL) - out).abs().amax(1).min() > 1e-3
    assert (net(x, level + 1, cond) - out).abs().amax(1).min() > 1e-3
    (out * numbers("weights", 4, 2)).sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-6] == []


def test_samples_do_not_see_each_other() -> None:
    net = network()
    x, level, c = numbers("x", 8, 2), numbers("level", 8), numbers("c", 8, 16)
    together = net(x, level, Conditioning(vector=c))
    order = torch.arange(8).flip(0)
    permuted = net(x[order], level[order], Conditioning(vector=c[order]))
    torch.testing.assert_close(permuted, together[order], atol=1e-6, rtol=1e-5)
    alone = net(x[:1], level[:1], Conditioning(vector=c[:1]))
    torch.testing.assert_close(alone, together[:1], atol=1e-6, rtol=1e-5)


def test_the_noise_embedding_tells_all_levels_apart() -> None:
    """Levels 0.02 apart anywhere in -12 ... 12 give different sines and cosines."""
    embedding = NoiseEmbedding(32, 8)
    levels = torch.linspace(-12, 12, 1201)
    features: list[Tensor] = []
    embedding.layers.register_forward_pre_hook(lambda _, args: features.append(args[0]))
    embedding(levels)
    distances = torch.cdist(features[0], features[0]).fill_diagonal_(9)
    assert distances.min() > 0.1


@pytest.mark.parametrize("options", [{"width": 1}, {"depth": 0}])
def test_impossible_configurations_are_refused_in_a_sentence(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="an MLP needs"):
        MlpConfig(**options)


def test_pictures_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"takes points .*use a U-Net for pictures"):
        MlpConfig().build((3, 8, 8))
