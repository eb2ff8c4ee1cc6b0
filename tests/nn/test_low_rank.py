"""Low-rank factors beside weights: what they add, and that they alone learn."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from carrara.nn.low_rank import LAYERS, Factors, adapted, adapts, factors_of, merged
from carrara.seeds import torch_generator

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Small(nn.Module):
    """Attention and what is beside it, by name; the layers' weights are read by one of them alone."""

    def __init__(self) -> None:
        super().__init__()
        self.to_itself = nn.ModuleDict({"qkv": nn.Linear(6, 18), "out": nn.Linear(6, 6)})
        self.feed_forward = nn.Sequential(nn.Linear(6, 12), nn.SiLU(), nn.Linear(12, 6))
        self.norm = nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = nn.functional.linear(x, self.to_itself["qkv"].weight, self.to_itself["qkv"].bias).chunk(3, dim=-1)
        return self.feed_forward(self.norm(x + self.to_itself["out"](q * k + v)))


def small() -> Small:
    with torch_generator(0):
        return Small()


def taught(network: nn.Module, x: Tensor, steps: int = 3) -> nn.Module:
    """After some steps of Adam, of what learns."""
    optimizer = torch.optim.Adam([one for one in network.parameters() if one.requires_grad], lr=1e-2)
    for _ in range(steps):
        network(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return network


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_it_begins_as_the_network() -> None:
    base, x = small(), numbers(4, 6)
    network = small()
    adapted(network, (), 2, 2.0)
    assert torch.equal(network(x), base(x))


@pytest.mark.parametrize(
    ("patterns", "layers"),
    [
        ((), ["to_itself.qkv", "to_itself.out"]),
        (("qkv",), ["to_itself.qkv"]),
        (("feed_forward.*",), ["feed_forward.0", "feed_forward.2"]),
        (("2", "to_itself.out"), ["to_itself.out", "feed_forward.2"]),
        (("*",), ["to_itself.qkv", "to_itself.out", "feed_forward.0", "feed_forward.2"]),
    ],
)
def test_patterns_name_layers(patterns: Sequence[str], layers: list[str]) -> None:
    network = small()
    assert adapted(network, patterns, 2, 2.0) == layers
    assert list(factors_of(network)) == layers
    own = {name: layer.weight.shape for name, layer in small().named_modules() if name in layers}  # type: ignore[union-attr]
    learning = sum(one.numel() for one in network.parameters() if one.requires_grad)
    assert learning == sum(2 * (shape[0] + shape[1]) for shape in own.values())


def test_all_linear_layers_of_a_network_without_attention() -> None:
    network = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 4))
    assert adapted(network, (), 2, 2.0) == ["0", "2"]


def test_only_the_factors_learn() -> None:
    base, network, x = small().state_dict(), small(), numbers(4, 6)
    adapted(network, ("*",), 2, 2.0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    after = taught(network, x).state_dict()
    for name, value in after.items():
        assert torch.equal(value, before[name]) == (not name.endswith((".up", ".down"))), name
    assert all(torch.equal(value, after.get(name, after.get(_original(name)))) for name, value in base.items())


def _original(name: str) -> str:
    return name.replace(".weight", ".parametrizations.weight.original")


def test_merged_it_gives_the_same() -> None:
    network, x = small(), numbers(4, 6)
    adapted(network, ("*",), 2, 3.0)
    taught(network, x)
    plain = small()
    assert adapts(network.state_dict())
    state = merged(network.state_dict())
    assert not adapts(state)
    plain.load_state_dict(state)
    assert not torch.allclose(plain(x), small()(x))
    torch.testing.assert_close(plain(x), network(x), rtol=1e-5, atol=1e-6)


def test_alpha_over_the_rank_is_how_much() -> None:
    network, weight = small(), small().to_itself["out"].weight
    adapted(network, ("out",), 2, 6.0)
    factors = network.to_itself["out"].parametrizations.weight[0]  # type: ignore[union-attr, index]
    nn.init.normal_(factors.up, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(network.to_itself["out"].weight, weight + 3 * factors.up @ factors.down)
    one = factors_of(network)["to_itself.out"]
    assert (one.rank, one.scale, one.shape) == (2, 3, (6, 6))
    torch.testing.assert_close(one.added(weight, -0.5), weight - 1.5 * factors.up @ factors.down)


@pytest.mark.parametrize("dimensions", CONVOLUTIONS)
def test_convolutions_of_one_to_three_dimensions(dimensions: int) -> None:
    with torch_generator(0):
        network = nn.Sequential(CONVOLUTIONS[dimensions](3, 5, 3, padding=1))
    x = numbers(2, 3, *(6,) * dimensions)
    base = network(x)
    assert isinstance(network[0], LAYERS) and adapted(network, ("0",), 2, 4.0) == ["0"]
    assert torch.equal(network(x), base)
    taught(network, x)
    (one,) = factors_of(network).values()
    assert one.down.shape == (2, 3, *(3,) * dimensions) and one.up.shape == (5, 2, *(1,) * dimensions)
    function = getattr(nn.functional, f"conv{dimensions}d")
    beside = function(function(x, one.down, padding=1), one.up)
    torch.testing.assert_close(network(x), base_of(network, x, function) + one.scale * beside, rtol=1e-4, atol=1e-5)


def base_of(network: nn.Sequential, x: Tensor, function: object) -> Tensor:
    """What the layer gives without its factors."""
    own = network[0].parametrizations.weight.original  # type: ignore[union-attr]
    return function(x, own, network[0].bias, padding=1)  # type: ignore[operator]


def test_a_pattern_that_fits_nothing() -> None:
    with pytest.raises(ValueError, match=r"called 'conv9': their names end with \['0', '2', 'out', 'qkv'\]"):
        adapted(small(), ("qkv", "conv9"), 2, 2.0)


def test_a_rank_above_that_of_the_weight() -> None:
    network = small()
    with pytest.raises(ValueError, match="rank 7 is above that of every layer, 6 at most"):
        adapted(network, (), 7, 7.0)
    assert not adapts(network.state_dict())


def test_factors_that_do_not_belong_together() -> None:
    with pytest.raises(ValueError, match="does not go with"):
        Factors(down=torch.ones(2, 3), up=torch.ones(4, 3), scale=1.0)


def test_a_layer_smaller_than_the_rank_takes_its_own_with_the_same_scale() -> None:
    network = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
    adapted(network, ("0", "1"), 4, 6.0)
    found = factors_of(network)
    assert [found[name].rank for name in "01"] == [4, 2] and {one.scale for one in found.values()} == {1.5}
