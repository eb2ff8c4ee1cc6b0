"""The U-Net that looks at tokens: the published sizes, masks to the bit, and networks without tokens as they were."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from carrara.backbone import UNETS, Backbone, UNetConfig
from carrara.nn.cross_attention import Attention, SpatialTransformer, Tokens, TransformerLayer
from carrara.seeds import Draws, torch_generator
from carrara.types import UNCONDITIONAL, Conditioning

RECIPES = Path(__file__).parents[2] / "docs" / "recipes.md"
TINY = UNetConfig(
    channels=8, multipliers=(1, 2), blocks=1, transformer_depths=(0, 1), heads=2, context_width=5, attention_levels=(1,)
)


def numbers(name: str, count: int, *shape: int) -> Tensor:
    return Draws(0, torch.arange(count)).normal(name, *shape)


def moved(net: torch.nn.Module) -> None:
    """Moves every weight, as some training would: a fresh network's output is zero."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)


def network(config: UNetConfig = TINY, shape: tuple[int, ...] = (3, 8, 8)) -> Backbone:
    with torch_generator(0):
        net = config.build(shape)
        moved(net)
    return net.eval()


def condition(count: int = 3, length: int = 4, width: int = 5) -> Conditioning:
    return Conditioning(tokens=numbers("tokens", count, length, width))


def answer(net: Backbone, cond: Conditioning, shape: tuple[int, ...] = (3, 8, 8), count: int = 3) -> Tensor:
    return net(numbers("x", count, *shape), numbers("level", count), cond)


def largest(x: Tensor) -> Tensor:
    """Of each sample."""
    return x.flatten(1).abs().amax(1)


def documented() -> UNetConfig:
    """The one network that the recipes' page spells out."""
    text = RECIPES.read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(model:\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    keys: dict[str, Any] = yaml.safe_load(block)["model"]["backbone"]
    return UNetConfig(**{key: tuple(value) if isinstance(value, list) else value for key, value in keys.items()})


@pytest.mark.parametrize(("name", "parameters"), [("sd-v1", 859_520_964), ("ldm", 872_300_484), ("sd-v2", 865_910_724)])
def test_the_papers_networks_have_as_many_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        net = UNETS[name].build((4, 64, 64))
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert f"{parameters:,}" in RECIPES.read_text(encoding="utf-8")


def test_the_documented_network_is_stable_diffusion() -> None:
    assert documented() == UNETS["sd-v1"]


@pytest.mark.parametrize(
    ("config", "shape", "state", "weights", "told", "untold"),
    [
        (UNetConfig(), (3, 8, 8), "ad5e51b1153c2274", 318959.6996767578, 678.3316501155496, 605.7327884640545),
        (
            UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,)),
            (3, 8, 8),
            "d247105f5535c8ed",
            2124.855755752978,
            184.1463247872889,
            167.4079064372927,
        ),
        (
            UNetConfig(
                channels=16,
                multipliers=(1, 2, 3),
                blocks=2,
                attention_levels=(0, 2),
                head_width=8,
                modulation="scale_shift",
                dropout=0.1,
            ),
            (4, 9, 7),
            "6a1184dd9eea1cda",
            19273.34088234534,
            284.51081688702106,
            305.62529982160777,
        ),
        (
            UNetConfig(channels=8, multipliers=(1, 2), blocks=1, modulation="context"),
            (3, 8, 8),
            "dbc3152f9e2e95ff",
            2337.0631203368316,
            148.71414839476347,
            149.07775707170367,
        ),
    ],
    ids=["ddpm-cifar", "shift", "scale-shift", "context"],
)
def test_networks_without_tokens_are_as_they_were(
    config: UNetConfig, shape: tuple[int, ...], state: str, weights: float, told: float, untold: float
) -> None:
    """Names and shapes of the state, fresh weights and answers, all measured before there were tokens. Sums of
    magnitudes are compared, not bits, because convolutions differ in the last bit from one processor to another."""
    with torch_generator(0):
        net = config.build(shape)
        fresh = net.state_dict()
        listed = "\n".join(f"{name} {tuple(value.shape)}" for name, value in fresh.items())
        assert hashlib.sha256(listed.encode()).hexdigest()[:16] == state
        assert sum(float(v.double().abs().sum()) for v in fresh.values()) == pytest.approx(weights, rel=1e-9)
        moved(net)
    net.eval()
    vector = Conditioning(vector=numbers("vector", 2, config.vector_width))
    for cond, expected in ((vector, told), (UNCONDITIONAL, untold)):
        assert float(answer(net, cond, shape, 2).detach().double().abs().sum()) == pytest.approx(expected, rel=1e-6)


def test_a_layer_is_its_equations() -> None:
    with torch_generator(0):
        layer = TransformerLayer(6, context_width=5, heads=2)
        moved(layer)
    x, c = numbers("x", 2, 7, 6), numbers("c", 2, 4, 5)

    def attention(a: Attention, x: Tensor, y: Tensor) -> Tensor:
        q, (k, v) = a.q(x).unflatten(-1, (2, 3)), a.kv(y).chunk(2, dim=-1)
        k, v = k.unflatten(-1, (2, 3)), v.unflatten(-1, (2, 3))
        weights = torch.softmax(torch.einsum("blhd,bnhd->bhln", q, k) / 3**0.5, dim=-1)
        return a.out(torch.einsum("bhln,bnhd->blhd", weights, v).flatten(2))

    expected = x + attention(layer.to_itself, layer.norm1(x), layer.norm1(x))
    expected = expected + attention(layer.to_tokens, layer.norm2(expected), c)
    w = layer.feed_forward
    u, g = w.inp(layer.norm3(expected)).split(24, dim=-1)
    expected = expected + w.out(u * g * 0.5 * (1 + torch.erf(g / 2**0.5)))
    torch.testing.assert_close(layer(x, Tokens.of(Conditioning(tokens=c), 5)), expected)


def test_the_layers_follow_each_other_between_two_projections() -> None:
    with torch_generator(0):
        transformer = SpatialTransformer(8, context_width=5, heads=2, depth=3)
        moved(transformer)
    assert len(transformer.layers) == 3
    x, tokens = numbers("x", 2, 8, 3, 5), Tokens.of(Conditioning(tokens=numbers("c", 2, 4, 5)), 5)
    normed = F.group_norm(x, 2, transformer.norm.weight, transformer.norm.bias, eps=1e-6)
    rows = transformer.inp(normed.permute(0, 2, 3, 1).reshape(2, 15, 8))
    for layer in transformer.layers:
        rows = layer(rows, tokens)
    expected = x + transformer.out(rows).reshape(2, 3, 5, 8).permute(0, 3, 1, 2)
    torch.testing.assert_close(transformer(x, tokens), expected)


def test_a_fresh_transformer_is_the_identity() -> None:
    fresh = SpatialTransformer(8, context_width=5, heads=2, depth=2)
    x = numbers("x", 2, 8, 4, 4)
    assert torch.equal(fresh(x, Tokens.of(Conditioning(tokens=numbers("c", 2, 4, 5)), 5)), x)
    assert largest(answer(TINY.build((3, 8, 8)), condition())).max() == 0


def test_tokens_are_used_by_their_own_sample_in_any_order() -> None:
    net, cond = network(), condition()
    assert cond.tokens is not None
    out = answer(net, cond)
    assert largest(answer(net, UNCONDITIONAL) - out).min() > 1e-3
    first = cond.tokens.clone()
    first[0] += 1
    changed = answer(net, Conditioning(tokens=first))
    assert largest(changed - out)[0] > 1e-3
    torch.testing.assert_close(changed[1:], out[1:], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(answer(net, Conditioning(tokens=cond.tokens.flip(1))), out, atol=1e-5, rtol=1e-5)


MASK = torch.tensor([[True, True, False, False], [False, False, False, False], [True, False, True, True]])


@pytest.mark.parametrize("value", [0.0, -3e4, float("inf"), float("nan")])
def test_an_excluded_token_changes_nothing(value: float) -> None:
    net, cond = network(), condition()
    assert cond.tokens is not None
    other = cond.tokens.masked_fill(~MASK[..., None], value)
    out = answer(net, replace(cond, mask=MASK))
    assert torch.equal(answer(net, Conditioning(tokens=other, mask=MASK)), out)
    assert largest(answer(net, cond) - out).min() > 1e-4


def test_a_masked_sequence_is_the_shorter_one() -> None:
    net, cond = network(), condition()
    assert cond.tokens is not None
    padded = answer(net, replace(cond, mask=torch.arange(4).expand(3, 4) < 2))
    torch.testing.assert_close(padded, answer(net, Conditioning(tokens=cond.tokens[:, :2])), atol=1e-6, rtol=1e-6)
    everything = answer(net, replace(cond, mask=torch.ones(3, 4, dtype=torch.bool)))
    torch.testing.assert_close(everything, answer(net, cond), atol=1e-6, rtol=1e-6)


def test_without_a_token_cross_attention_adds_nothing() -> None:
    """Bit for bit, whether the tokens are masked, of no length, or not there; also beside a sample that has some."""
    net, cond = network(), condition()
    silent = answer(net, UNCONDITIONAL)
    assert torch.equal(answer(net, replace(cond, mask=torch.zeros(3, 4, dtype=torch.bool))), silent)
    assert torch.equal(answer(net, Conditioning(tokens=torch.zeros(3, 0, 5))), silent)
    empty = Conditioning(tokens=torch.zeros(3, 0, 5), mask=torch.zeros(3, 0, dtype=torch.bool))
    assert torch.equal(answer(net, empty), silent)
    assert torch.equal(answer(net, replace(cond, mask=MASK))[1], silent[1])


def test_conditions_mixed_per_sample_are_seen_as_such() -> None:
    """As dropout of captions does it: a dropped sample has no token that counts."""
    net, cond = network(), replace(condition(), mask=MASK)
    assert cond.tokens is not None and cond.mask is not None
    nothing = Conditioning(tokens=torch.zeros_like(cond.tokens), mask=torch.zeros_like(cond.mask))
    mixed = answer(net, cond.where(torch.tensor([True, True, False]), nothing))
    assert torch.equal(mixed[0], answer(net, cond)[0])
    assert torch.equal(mixed[2], answer(net, UNCONDITIONAL)[2])


def test_every_parameter_learns_and_excluded_tokens_do_not() -> None:
    net = network(replace(TINY, transformer_depths=(2, 1), attention_levels=(0, 1)))
    tokens = numbers("tokens", 3, 4, 5).requires_grad_()
    out = answer(net, Conditioning(tokens=tokens, mask=MASK))
    (out * numbers("weights", 3, 3, 8, 8)).sum().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-6]
    assert idle == []
    assert tokens.grad is not None
    assert torch.equal(tokens.grad.abs().amax(-1) > 0, MASK)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 4, 4), (5, 7, 9), (3, 12, 5), (4, 2, 16), (3, 3, 3)])
def test_any_channel_count_odd_and_oblong_sizes(shape: tuple[int, ...]) -> None:
    out = answer(network(shape=shape), condition(), shape)
    assert out.shape == (3, *shape)
    assert bool(out.isfinite().all())


@pytest.mark.parametrize(
    "config",
    [
        replace(TINY, multipliers=(1, 2, 3), transformer_depths=(0, 3, 1), attention_levels=(0, 1)),
        replace(TINY, multipliers=(1,), transformer_depths=(2,), attention_levels=(), blocks=2),
        replace(TINY, heads=None, head_width=4, modulation="scale_shift"),
        replace(TINY, heads=None, modulation="context", transformer_depths=(1, 0), attention_levels=(0,)),
    ],
    ids=["depths", "middle", "head-width", "one-head"],
)
def test_any_depth_and_heads(config: UNetConfig) -> None:
    net = network(config)
    for level, depth in enumerate(config.transformer_depths):
        inside = [m for part in ("down", "up") for m in net.get_submodule(f"{part}.{level}").modules()]
        layers = [len(m.layers) for m in inside if isinstance(m, SpatialTransformer)]
        places = 2 * config.blocks + 1 if level in config.attention_levels else 0
        assert layers == ([depth] * places if depth else [])
    assert largest(answer(net, condition()) - answer(net, UNCONDITIONAL)).min() > 1e-3


def test_heads_are_counted_or_measured() -> None:
    by_width = UNetConfig(channels=16, multipliers=(1,), attention_levels=(0,), head_width=4)
    by_count = replace(by_width, head_width=None, heads=4)
    both = [answer(network(config), UNCONDITIONAL) for config in (by_width, by_count)]
    assert torch.equal(*both)
    with torch.device("meta"):
        transformers = [m for m in documented().build((4, 8, 8)).modules() if isinstance(m, Attention)]
    assert {m.heads for m in transformers} == {8}


def test_bfloat16_products() -> None:
    net, cond = network(), replace(condition(), mask=MASK)
    exact = answer(net, cond)
    with torch.autocast("cpu", torch.bfloat16):
        rough = answer(net, cond)
        other = replace(cond, tokens=cond.tokens.masked_fill(~MASK[..., None], float("nan")))
        assert torch.equal(answer(net, other), rough)
    assert rough.dtype is torch.bfloat16
    assert (rough - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transformer_depths": (1,)}, "one depth, 0 or more, for each level"),
        ({"transformer_depths": (1, -1)}, "one depth, 0 or more, for each level"),
        ({"context_width": None}, "need a context_width"),
        ({"context_width": -1}, "context_width -1 is none"),
        ({"transformer_depths": ()}, "context_width needs transformer_depths"),
        ({"transformer_depths": (1, 0)}, "context_width needs transformer_depths"),
        ({"heads": 0}, "heads 0"),
        ({"head_width": 4}, "head_width and heads both"),
    ],
)
def test_impossible_configurations_are_refused_in_a_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "3 heads do not divide 16 channels"),
        ({"heads": None, "head_width": 6}, "heads of width 6 do not divide 16 channels"),
    ],
)
def test_heads_that_do_not_divide_are_refused_in_a_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **options).build((3, 8, 8))
    with pytest.raises(ValueError, match="3 heads do not divide a width of 8"):
        Attention(8, 3, source_width=5)


def test_a_token_of_weight_two_is_two_tokens() -> None:
    net, cond = network(), condition()
    assert cond.tokens is not None
    twice = Conditioning(tokens=torch.cat([cond.tokens, cond.tokens[:, 1:2]], dim=1))
    weights = torch.tensor([1.0, 2.0, 1.0, 1.0]).expand(3, 4)
    torch.testing.assert_close(answer(net, Conditioning(tokens=cond.tokens, weights=weights)), answer(net, twice))
    masked = Conditioning(tokens=cond.tokens, mask=MASK, weights=torch.ones(3, 4))
    torch.testing.assert_close(answer(net, masked), answer(net, Conditioning(tokens=cond.tokens, mask=MASK)))


def test_tokens_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="tokens of width 6, and the network looks at tokens of width 5"):
        answer(network(), Conditioning(tokens=numbers("c", 3, 4, 6)))
