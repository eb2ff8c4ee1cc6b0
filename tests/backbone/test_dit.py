"""The diffusion transformer: the paper's network, any picture, and conditions that are used sample by sample."""

import math
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from carrara.backbone import DIT_SIZES, Backbone, DiT, DiTConfig
from carrara.backbone.dit import DiTBlock
from carrara.conditioning import LabelsConfig
from carrara.nn.cross_attention import Tokens
from carrara.nn.transformer import Attention, sincos, turned, turns
from carrara.seeds import Draws, torch_generator
from carrara.types import UNCONDITIONAL, Conditioning

TINY = DiTConfig(width=16, depth=2, heads=2)
VARIANTS = {
    "paper": TINY,
    "rotary": replace(TINY, positions="rotary"),
    "tokens": replace(TINY, context_width=6),
    "everything": replace(TINY, positions="rotary", qk_norm=True, context_width=6),
}

every_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
with_tokens = pytest.mark.parametrize("config", [VARIANTS["tokens"], VARIANTS["everything"]], ids=["plain", "normed"])


def numbers(name: str, count: int, *shape: int) -> Tensor:
    return Draws(0, torch.arange(count)).normal(name, *shape)


def moved(net: Any) -> Any:
    """With every weight moved, as after some training: a fresh network's output is zero."""
    with torch_generator(0), torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return net.eval()


def network(config: DiTConfig = TINY, shape: tuple[int, ...] = (3, 8, 8), image_channels: int = 0) -> Backbone:
    with torch_generator(0):
        return moved(config.build(shape, image_channels))


def condition(count: int) -> Conditioning:
    """A vector, and five tokens of which 3, 5, 0, 1, 3, 5, ... count."""
    counts = torch.tensor([3, 5, 0, 1]).repeat(count)[:count]
    return Conditioning(
        vector=numbers("vector", count, 16),
        tokens=numbers("tokens", count, 5, 6),
        mask=torch.arange(5) < counts[:, None],
    )


def inputs(count: int, shape: tuple[int, ...] = (3, 8, 8)) -> tuple[Tensor, Tensor, Conditioning]:
    return numbers("x", count, *shape), numbers("level", count), condition(count)


def rows(cond: Conditioning, index: Tensor | slice) -> Conditioning:
    assert cond.vector is not None and cond.tokens is not None and cond.mask is not None
    return Conditioning(vector=cond.vector[index], tokens=cond.tokens[index], mask=cond.mask[index])


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def per_sample(difference: Tensor) -> Tensor:
    return difference.flatten(1).abs().amax(1)


def test_the_largest_is_the_paper_s_network() -> None:
    """674,834,720 parameters are learned in the published DiT-XL/2. They are those of our network if it predicts a
    variance beside each of 4 channels, as that one does, and of our condition on 1000 labels: a row for each, and one
    for none. The sines that are added to 256 patches are no parameters; 294,912 is the number of them.
    """
    with torch.device("meta"):
        net = DIT_SIZES["XL"].build((4, 32, 32), answers=2).to("meta")  # as in test_unet
        labels = LabelsConfig(classes=tuple(map(str, range(1000)))).build(net.config.vector_width)
        out = net(torch.zeros(2, 4, 32, 32), torch.zeros(2), UNCONDITIONAL)
    assert parameters(labels) == 1001 * 1152
    assert parameters(net) + parameters(labels) == 674_834_720
    assert sincos((16, 16), 1152).numel() == 294_912
    assert out.shape == (2, 8, 32, 32)


def test_without_a_variance_the_last_layer_is_half_as_large() -> None:
    with torch.device("meta"):
        net = DIT_SIZES["XL"].build((4, 32, 32))
    assert parameters(net) == 674_834_720 - 1001 * 1152 - (1152 + 1) * 2 * 2 * 4


@pytest.mark.parametrize(("size", "millions"), [("S", 32), ("B", 130), ("L", 457), ("XL", 674)])
def test_the_sizes_are_as_large_as_they_say(size: str, millions: int) -> None:
    with torch.device("meta"):
        assert round(parameters(DIT_SIZES[size].build((4, 32, 32))) / 1e6) == millions


def test_the_defaults_are_the_smallest_size() -> None:
    assert DIT_SIZES["S"] == DiTConfig()


def test_it_computes_what_diffusers_does_with_the_same_weights() -> None:
    """Their embedding of a step and a label takes the place of our embedding of the noise level."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers' own, while it is imported
        diffusers = pytest.importorskip("diffusers")
        with torch_generator(0):
            theirs = diffusers.DiTTransformer2DModel(
                num_attention_heads=2,
                attention_head_dim=8,
                in_channels=3,
                out_channels=5,
                num_layers=2,
                sample_size=8,
                num_embeds_ada_norm=4,
                norm_eps=1e-6,
            )
    moved(theirs)
    for block in theirs.transformer_blocks[1:]:
        block.norm1.emb = theirs.transformer_blocks[0].norm1.emb
    ours = DiT(TINY, in_channels=3, out_channels=5)
    ours.load_state_dict(translated(theirs, ours), strict=True)
    x, step, label = numbers("x", 2, 3, 8, 8), torch.tensor([7, 500]), torch.tensor([0, 3])
    emb = theirs.transformer_blocks[0].norm1.emb(step, label, hidden_dtype=x.dtype)
    ours.noise.register_forward_hook(lambda *_: emb)
    expected = theirs(x, timestep=step, class_labels=label).sample
    assert expected.abs().amax() > 0.1
    torch.testing.assert_close(ours(x, torch.zeros(2), UNCONDITIONAL), expected, atol=1e-5, rtol=1e-5)


def translated(theirs: Any, ours: DiT) -> dict[str, Tensor]:
    """Their weights under our names. Their last layer lists a patch's pixels before the channels, ours after them."""
    state = {name: value for name, value in ours.state_dict().items() if name.startswith("noise.")}
    state |= named("inp", theirs.pos_embed.proj.weight.flatten(1), theirs.pos_embed.proj.bias)
    for k, block in enumerate(theirs.transformer_blocks):
        attention, forward = block.attn1, block.ff.net
        state |= named(f"blocks.{k}.modulation", *block.norm1.linear.parameters())
        state |= named(f"blocks.{k}.to_itself.q", *attention.to_q.parameters())
        kv = zip(attention.to_k.parameters(), attention.to_v.parameters(), strict=True)
        state |= named(f"blocks.{k}.to_itself.kv", *map(torch.cat, kv))
        state |= named(f"blocks.{k}.to_itself.out", *attention.to_out[0].parameters())
        state |= named(f"blocks.{k}.feed_forward.0", *forward[0].proj.parameters())
        state |= named(f"blocks.{k}.feed_forward.2", *forward[2].parameters())
    state |= named("modulation", *theirs.proj_out_1.parameters())
    last = (p.unflatten(0, (4, 5)).transpose(0, 1).flatten(0, 1) for p in theirs.proj_out_2.parameters())
    return state | named("out", *last)


def named(layer: str, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    return {f"{layer}.weight": weight, f"{layer}.bias": bias}


@every_variant
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 4, 4), (5, 7, 9), (3, 12, 5), (4, 2, 16), (3, 3, 3), (1, 1, 1)])
def test_any_channel_count_odd_and_oblong_sizes(config: DiTConfig, shape: tuple[int, ...]) -> None:
    net = network(config, shape)
    x, level, cond = inputs(2, shape)
    out = net(x, level, cond)
    assert out.shape == x.shape
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("patch", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 7, 9)])
def test_any_patch(patch: int, shape: tuple[int, ...]) -> None:
    net = network(replace(TINY, patch=patch), shape)
    seen: list[Tensor] = []
    net.get_submodule("blocks.0").register_forward_hook(lambda _, args, __: seen.append(args[0]))
    assert net(*inputs(2, shape)).shape == (2, *shape)
    assert seen[0].shape[1] == math.ceil(shape[1] / patch) * math.ceil(shape[2] / patch)


@every_variant
def test_what_is_beyond_the_edge_is_zero_and_cut_off(config: DiTConfig) -> None:
    net = network(replace(config, patch=4))
    x, level, cond = inputs(2, (3, 7, 9))
    whole = net(F.pad(x, (0, 3, 0, 1)), level, cond)
    assert torch.equal(net(x, level, cond), whole[..., :7, :9])


def test_a_patch_stays_where_it_was() -> None:
    """Blocks that do nothing leave a function of each patch and its place, in all channels and pixels of it."""
    net = network()
    net.register_module("blocks", nn.ModuleList())
    x, level, _ = inputs(1)
    touched = x.clone()
    touched[:, 1, 5, 2] += 1
    changed = (net(touched, level, UNCONDITIONAL) - net(x, level, UNCONDITIONAL))[0].abs() > 1e-6
    expected = torch.zeros(3, 8, 8, dtype=torch.bool)
    expected[:, 4:6, 2:4] = True
    assert torch.equal(changed, expected)


@every_variant
def test_a_network_takes_other_sizes_than_it_was_built_for(config: DiTConfig) -> None:
    small, large = network(config, (3, 8, 8)), network(config, (3, 12, 20))
    large.load_state_dict(small.state_dict(), strict=True)
    x, level, cond = inputs(2, (3, 12, 20))
    assert torch.equal(small(x, level, cond), large(x, level, cond))


def test_positions_are_sines_and_cosines_of_column_and_row() -> None:
    grid = sincos((3, 5), 8).reshape(3, 5, 8)
    for row, column in ((0, 0), (2, 1), (1, 4)):
        phases = [(place, place / 100) for place in (column, row)]
        expected = [f(phase) for pair in phases for f in (math.sin, math.cos) for phase in pair]
        assert grid[row, column].tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(sincos((7, 9), 8).reshape(7, 9, 8)[:3, :5], grid)


def test_a_turned_product_sees_displacements_alone() -> None:
    q, k = numbers("q", 1, 8), numbers("k", 1, 8)
    by = turns((6, 7), 8)
    scores = (turned(q.expand(42, 8), by) @ turned(k.expand(42, 8), by).T).reshape(6, 7, 6, 7)
    for (r, c), (down, right) in (((0, 0), (1, 2)), ((3, 4), (-2, 1)), ((5, 1), (0, 5))):
        there = scores[r, c, r + down, c + right]
        again = [scores[i, j, i + down, j + right] for i in (2, 3) for j in (0, 1)]
        torch.testing.assert_close(torch.stack(again), there.expand(4), atol=1e-5, rtol=1e-5)
    assert (scores[2, 3, 3, 3] - scores[2, 3, 2, 4]).abs() > 1e-2
    torch.testing.assert_close(scores[2, 3, 2, 3], (q * k).sum())


def test_a_turn_is_a_complex_product() -> None:
    x, by = numbers("x", 6, 8), turns((2, 3), 8)
    places = torch.tensor([(row, column) for row in range(2) for column in range(3)])
    phases = torch.stack([places[:, 1], places[:, 1] / 10, places[:, 0], places[:, 0] / 10], dim=1)
    expected = torch.complex(x[:, :4], x[:, 4:]) * torch.exp(1j * phases)
    torch.testing.assert_close(turned(x, by), torch.cat([expected.real, expected.imag], dim=1))


@every_variant
def test_places_matter_in_both_directions(config: DiTConfig) -> None:
    """Without positions, exchanging patches would exchange predictions, and nothing more."""
    net = network(config)
    x, level, cond = inputs(2)
    out = net(x, level, cond)
    for axis in (2, 3):
        exchanged = x.roll(4, axis)
        assert per_sample(net(exchanged, level, cond) - out.roll(4, axis)).min() > 1e-3


def test_attention_is_a_softmax_over_the_rows_that_count() -> None:
    with torch_generator(0):
        attention = moved(Attention(6, 3, source_width=4))
    x, y, counts = numbers("x", 2, 5, 6), numbers("y", 2, 4, 4), (4, 2)
    attended = torch.arange(4) < torch.tensor(counts)[:, None]
    out = attention(x, y, attended=attended[:, None, None])
    for k, count in enumerate(counts):
        q = attention.q(x[k]).unflatten(1, (3, 2))
        keys, values = attention.kv(y[k, :count]).unflatten(1, (2, 3, 2)).unbind(1)
        weights = torch.softmax(torch.einsum("qhd,khd->hqk", q, keys) / math.sqrt(2), dim=-1)
        mixed = torch.einsum("hqk,khd->qhd", weights, values).flatten(1)
        torch.testing.assert_close(out[k], attention.out(mixed))


def test_normed_queries_and_keys_forget_their_length() -> None:
    with torch_generator(0):
        attention = moved(Attention(8, 2, qk_norm=True))
    x = numbers("x", 2, 5, 8)
    out = attention(x, x)
    with torch.no_grad():
        attention.q.weight.mul_(100), attention.q.bias.mul_(100)
        attention.kv.weight[:8].mul_(30), attention.kv.bias[:8].mul_(30)
    torch.testing.assert_close(attention(x, x), out, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        attention.q_gain.mul_(3)
    assert (attention(x, x) - out).abs().max() > 1e-2


@every_variant
def test_a_fresh_network_says_nothing(config: DiTConfig) -> None:
    assert config.build((3, 8, 8))(*inputs(4)).abs().max() == 0


@every_variant
def test_a_fresh_block_is_the_identity(config: DiTConfig) -> None:
    x, cond = numbers("rows", 4, 16, 16), condition(4)
    positions = turns((4, 4), 8) if config.positions == "rotary" else None
    tokens = Tokens.of(cond, config.context_width)
    assert torch.equal(DiTBlock(config)(x, numbers("emb", 4, 1, 16), positions, tokens), x)


@every_variant
def test_vector_and_noise_level_are_used(config: DiTConfig) -> None:
    net = network(config)
    x, level, cond = inputs(3)
    out = net(x, level, cond)
    assert cond.vector is not None
    for other in (cond.vector.flip(0), None):
        difference = per_sample(net(x, level, replace(cond, vector=other)) - out)
        assert difference[[0, 2]].min() > 1e-2
    assert per_sample(net(x, level + 1, cond) - out).min() > 1e-2


@every_variant
def test_no_vector_is_the_zero_vector(config: DiTConfig) -> None:
    net = network(config)
    x, level, _ = inputs(2)
    assert torch.equal(net(x, level, UNCONDITIONAL), net(x, level, Conditioning(vector=torch.zeros(2, 16))))


@with_tokens
def test_tokens_that_count_are_used(config: DiTConfig) -> None:
    net = network(config)
    x, level, cond = inputs(4)
    assert cond.tokens is not None
    out = net(x, level, cond)
    changed = cond.tokens.clone()
    changed[:, 0] += 1
    difference = per_sample(net(x, level, replace(cond, tokens=changed)) - out)
    assert difference[[0, 1, 3]].min() > 1e-3
    assert difference[2] == 0


@with_tokens
@pytest.mark.parametrize("value", [1e3, math.inf, math.nan])
def test_tokens_that_do_not_count_change_no_bit(config: DiTConfig, value: float) -> None:
    net = network(config)
    x, level, cond = inputs(4)
    assert cond.tokens is not None and cond.mask is not None
    other = replace(cond, tokens=torch.where(cond.mask[..., None], cond.tokens, value))
    assert torch.equal(net(x, level, other), net(x, level, cond))


@with_tokens
def test_tokens_that_do_not_count_might_as_well_not_be_there(config: DiTConfig) -> None:
    net = network(config)
    x, level, cond = inputs(4)
    assert cond.tokens is not None and cond.mask is not None
    out = net(x, level, cond)
    for k, count in enumerate(cond.mask.sum(1).tolist()):
        short = Conditioning(vector=rows(cond, slice(k, k + 1)).vector, tokens=cond.tokens[k : k + 1, :count])
        torch.testing.assert_close(net(x[k : k + 1], level[k : k + 1], short), out[k : k + 1], atol=1e-5, rtol=1e-5)


@with_tokens
def test_no_tokens_and_none_that_counts_are_the_same(config: DiTConfig) -> None:
    net = network(config)
    x, level, cond = inputs(3)
    without = net(x, level, replace(cond, tokens=None, mask=None))
    assert torch.equal(net(x, level, replace(cond, mask=torch.zeros(3, 5, dtype=torch.bool))), without)
    assert torch.equal(net(x, level, replace(cond, tokens=torch.zeros(3, 0, 6), mask=None)), without)


@with_tokens
def test_gradients_of_masked_tokens_are_zero_and_all_others_finite(config: DiTConfig) -> None:
    net = network(config)
    x, level, cond = inputs(4)
    assert cond.tokens is not None and cond.mask is not None
    cond.tokens.requires_grad_()
    net(x, level, cond).square().sum().backward()
    assert cond.tokens.grad is not None
    assert torch.equal(cond.tokens.grad.abs().amax(2) > 0, cond.mask)
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())


@every_variant
def test_every_parameter_learns(config: DiTConfig) -> None:
    net = network(config)
    x, level, cond = inputs(2)
    (net(x, level, cond) * numbers("weights", 2, 3, 8, 8)).sum().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-6]
    assert idle == []


@every_variant
def test_a_fresh_network_learns_from_its_last_layer_on(config: DiTConfig) -> None:
    """Then all the others follow: nothing that starts at zero stays there."""
    with torch_generator(0):
        net = config.build((3, 8, 8))
    learning: list[set[str]] = []
    for _ in range(3):
        (net(*inputs(2)) * numbers("weights", 2, 3, 8, 8)).sum().backward()
        grads = {name: p.grad for name, p in net.named_parameters()}
        learning.append({name for name, grad in grads.items() if grad is not None and grad.abs().max() > 0})
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.1 * p.grad if p.grad is not None else 0
        net.zero_grad()
    assert learning[0] == {"out.weight", "out.bias"}
    assert learning[2] == {name for name, _ in net.named_parameters()}


def test_an_image_condition_lies_beside_the_input() -> None:
    net = network(shape=(3, 7, 8), image_channels=2)
    x, level, _ = inputs(2, (3, 7, 8))
    image = numbers("image", 2, 2, 7, 8)
    out = net(x, level, Conditioning(image=image))
    assert out.shape == x.shape
    assert (net(x, level, Conditioning(image=image.flip(0))) - out).abs().max() > 1e-2
    joined = DiT(TINY, in_channels=5, out_channels=3)
    joined.load_state_dict(net.state_dict())
    assert torch.equal(joined(torch.cat([x, image], dim=1), level, UNCONDITIONAL), out)


@every_variant
def test_samples_do_not_see_each_other(config: DiTConfig) -> None:
    net = network(config)
    x, level, cond = inputs(8)
    together = net(x, level, cond)
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    torch.testing.assert_close(net(x[order], level[order], rows(cond, order)), together[order], atol=1e-5, rtol=1e-5)
    for k in (0, 2, 5):
        one = slice(k, k + 1)
        torch.testing.assert_close(net(x[one], level[one], rows(cond, one)), together[one], atol=1e-5, rtol=1e-5)
    others = x.clone()
    others[1:] = 1e3
    torch.testing.assert_close(net(others, level, cond)[0], together[0], atol=1e-5, rtol=1e-5)


@every_variant
def test_gradients_do_not_cross_samples(config: DiTConfig) -> None:
    net = network(config)
    x, level, cond = inputs(3)
    x.requires_grad_()
    net(x, level, cond)[1].square().sum().backward()
    assert x.grad is not None
    assert (per_sample(x.grad) > 0).tolist() == [False, True, False]


@every_variant
def test_every_patch_sees_every_other(config: DiTConfig) -> None:
    net = network(config)
    x, level, cond = inputs(1)
    x.requires_grad_()
    net(x, level, cond)[0, 0, 0, 0].backward()
    assert x.grad is not None
    assert bool((x.grad.abs().amax((0, 1)) > 0).all())


@every_variant
def test_products_in_bfloat16_are_near_those_in_float32(config: DiTConfig) -> None:
    """A product is rounded by 2^-9 of itself at most; the network has about a dozen in a row."""
    net = network(config)
    x, level, cond = inputs(4)
    exact = net(x, level, cond)
    with torch.autocast("cpu", torch.bfloat16):
        out = net(x, level, cond)
    assert (out - exact).norm() < 12 * 2**-9 * exact.norm()
    out.float().square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())


@every_variant
def test_weights_may_be_bfloat16_too(config: DiTConfig) -> None:
    net = network(config).to(torch.bfloat16)
    x, level, cond = inputs(4)
    assert cond.vector is not None and cond.tokens is not None
    halves = replace(cond, vector=cond.vector.bfloat16(), tokens=cond.tokens.bfloat16())
    out = net(x.bfloat16(), level.bfloat16(), halves)
    assert out.dtype is torch.bfloat16
    assert bool(out.isfinite().all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "1 or more"),
        ({"depth": 0}, "1 or more"),
        ({"heads": 0}, "1 or more"),
        ({"patch": 0}, "1 or more"),
        ({"heads": 5}, "5 heads do not divide a width of 384"),
        ({"width": 6, "heads": 1}, "sincos positions need a width in multiples of 4, got 6"),
        ({"width": 12, "heads": 2, "positions": "rotary"}, "2 heads of 12 features are 6 wide"),
        ({"context_width": -1}, "context_width is the width of the condition's tokens, got -1"),
    ],
)
def test_impossible_configurations_are_refused_in_a_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiTConfig(**options)


def test_points_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"a DiT takes pictures \(C, H, W\), not samples of shape \(2,\)"):
        TINY.build((2,))
