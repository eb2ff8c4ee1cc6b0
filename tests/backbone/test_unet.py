"""The U-Net: the paper's size, any picture, and a condition that is really used, sample by sample."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from carrara.backbone import Backbone, UNetConfig
from carrara.backbone.unet import ContextGate, Modulation
from carrara.nn import PixelAttention, group_norm
from carrara.seeds import Draws, torch_generator
from carrara.types import UNCONDITIONAL, Conditioning

TINY = UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,))
MODULATIONS: tuple[Modulation, ...] = ("shift", "scale_shift", "context")

every_modulation = pytest.mark.parametrize("modulation", MODULATIONS)


def numbers(name: str, count: int, *shape: int) -> Tensor:
    return Draws(0, torch.arange(count)).normal(name, *shape)


def network(config: UNetConfig = TINY, shape: tuple[int, ...] = (3, 8, 8), image_channels: int = 0) -> Backbone:
    """With every weight moved, as after some training: a fresh network's output is zero."""
    with torch_generator(0):
        net = config.build(shape, image_channels)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
    return net.eval()


def inputs(count: int, shape: tuple[int, ...] = (3, 8, 8), width: int = 32) -> tuple[Tensor, Tensor, Conditioning]:
    cond = Conditioning(vector=numbers("vector", count, width))
    return numbers("x", count, *shape), numbers("level", count), cond


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_the_defaults_are_the_paper_s_network() -> None:
    with torch.device("meta"):  # transformers, once imported, has linspace ignore it
        net = UNetConfig().build((3, 32, 32)).to("meta")
    assert parameters(net) == 35_746_307
    assert net(torch.zeros(2, 3, 32, 32, device="meta"), torch.zeros(2, device="meta"), UNCONDITIONAL).shape == (
        2,
        3,
        32,
        32,
    )


@every_modulation
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 4, 4), (5, 7, 9), (3, 12, 5), (4, 2, 16), (3, 3, 3)])
def test_any_channel_count_odd_and_oblong_sizes(modulation: Modulation, shape: tuple[int, ...]) -> None:
    net = network(replace(TINY, modulation=modulation), shape)
    x, level, cond = inputs(2, shape)
    out = net(x, level, cond)
    assert out.shape == x.shape
    assert bool(out.isfinite().all())


@pytest.mark.parametrize(
    "config",
    [
        replace(TINY, multipliers=(1,), attention_levels=()),
        replace(TINY, multipliers=(1, 2, 3), blocks=2, attention_levels=(0, 2), head_width=8),
        replace(TINY, multipliers=(2, 1, 4), blocks=3),
        replace(TINY, channels=12, modulation="context"),
        replace(TINY, channels=4, modulation="scale_shift", dropout=0.5),
    ],
    ids=str,
)
def test_any_depth_and_width(config: UNetConfig) -> None:
    net = network(config, (2, 9, 6))
    x, level, cond = inputs(2, (2, 9, 6), config.vector_width)
    assert net(x, level, cond).shape == x.shape


def test_a_fresh_network_says_nothing() -> None:
    net = TINY.build((3, 8, 8))
    assert net(*inputs(2)).abs().max() == 0


@every_modulation
def test_vector_and_noise_level_are_used(modulation: Modulation) -> None:
    net = network(replace(TINY, modulation=modulation))
    x, level, cond = inputs(3)
    out = net(x, level, cond)
    assert cond.vector is not None
    for other in (Conditioning(vector=cond.vector.flip(0)), UNCONDITIONAL):
        difference = (net(x, level, other) - out).flatten(1).abs().amax(1)
        assert difference[[0, 2]].min() > 1e-2
    assert (net(x, level + 1, cond) - out).flatten(1).abs().amax(1).min() > 1e-2


@every_modulation
def test_no_condition_is_the_zero_vector(modulation: Modulation) -> None:
    net = network(replace(TINY, modulation=modulation))
    x, level, _ = inputs(2)
    assert torch.equal(net(x, level, UNCONDITIONAL), net(x, level, Conditioning(vector=torch.zeros(2, 32))))


def test_the_gate_is_cemb_times_h_plus_temb() -> None:
    gate = ContextGate(6, 5)
    h, context, emb = numbers("h", 2, 6, 3, 4), numbers("c", 2, 5), numbers("e", 2, 5)
    cemb = F.linear(context, gate.context.weight, gate.context.bias)
    temb = F.linear(emb, gate.time.weight, gate.time.bias)
    expected = torch.stack([cemb[k, :, None, None] * h[k] + temb[k, :, None, None] for k in range(2)])
    torch.testing.assert_close(gate(h, context, emb), expected)


def test_in_the_context_form_the_condition_acts_through_the_gates_alone() -> None:
    """With the gates' own weights at zero neither the vector nor anything of it is left."""
    net = network(replace(TINY, modulation="context"))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "gates" in name and "context.weight" in name:
                parameter.zero_()
    x, level, cond = inputs(2)
    assert torch.equal(net(x, level, cond), net(x, level, UNCONDITIONAL))


@every_modulation
def test_every_parameter_learns(modulation: Modulation) -> None:
    net = network(replace(TINY, modulation=modulation))
    x, level, cond = inputs(2)
    (net(x, level, cond) * numbers("weights", 2, 3, 8, 8)).sum().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-6]
    assert idle == []


def test_a_fresh_network_learns_from_its_last_layer_on() -> None:
    net = TINY.build((3, 8, 8))
    (net(*inputs(2)) * numbers("weights", 2, 3, 8, 8)).sum().backward()
    learning = {n for n, p in net.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert learning == {"out.weight", "out.bias"}


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 7, 10), (2, 5, 4)])
def test_patches_are_the_channels_of_a_smaller_picture(shape: tuple[int, ...]) -> None:
    """The same weights, given the patches of pictures that are filled up with zeros, answer in patches."""
    channels, rows, columns = shape
    full = (channels, rows + rows % 2, columns + columns % 2)
    net, small = network(replace(TINY, patch=2), shape), network(shape=(4 * channels, full[1] // 2, full[2] // 2))
    small.load_state_dict(net.state_dict())
    x, level, cond = inputs(2, shape)
    filled = F.pad(x, (0, columns % 2, 0, rows % 2))
    expected = F.pixel_shuffle(small(F.pixel_unshuffle(filled, 2), level, cond), 2)
    assert torch.equal(net(x, level, cond), expected[..., :rows, :columns])


def test_an_image_condition_lies_beside_the_input() -> None:
    net = network(shape=(3, 8, 8), image_channels=2)
    x, level, _ = inputs(2)
    image = numbers("image", 2, 2, 8, 8)
    out = net(x, level, Conditioning(image=image))
    assert out.shape == x.shape
    assert (net(x, level, Conditioning(image=image.flip(0))) - out).abs().max() > 1e-2
    joined = network(shape=(5, 8, 8))
    joined.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("out.")}, strict=False)
    features: list[Tensor] = []
    for net_ in (net, joined):
        net_.get_submodule("norm").register_forward_hook(lambda _, args, __: features.append(args[0]))
    net(x, level, Conditioning(image=image))
    joined(torch.cat([x, image], dim=1), level, UNCONDITIONAL)
    assert torch.equal(*features)


@every_modulation
def test_samples_do_not_see_each_other(modulation: Modulation) -> None:
    net = network(replace(TINY, modulation=modulation))
    x, level, cond = inputs(8)
    assert cond.vector is not None
    together = net(x, level, cond)
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    permuted = net(x[order], level[order], Conditioning(vector=cond.vector[order]))
    torch.testing.assert_close(permuted, together[order], atol=1e-5, rtol=1e-5)
    for k in (0, 5):
        alone = net(x[k : k + 1], level[k : k + 1], Conditioning(vector=cond.vector[k : k + 1]))
        torch.testing.assert_close(alone, together[k : k + 1], atol=1e-5, rtol=1e-5)
    others = x.clone()
    others[1:] = 1e3
    torch.testing.assert_close(net(others, level, cond)[0], together[0], atol=1e-5, rtol=1e-5)


def test_gradients_do_not_cross_samples() -> None:
    net = network()
    x, level, cond = inputs(3)
    x.requires_grad_()
    net(x, level, cond)[1].square().sum().backward()
    assert x.grad is not None
    assert (x.grad.flatten(1).abs().amax(1) > 0).tolist() == [False, True, False]


def test_attention_reaches_every_pixel_and_heads_are_separate() -> None:
    with torch_generator(0):
        attention = PixelAttention(8, head_width=4)
        torch.nn.init.normal_(attention.out.weight)
    x = numbers("x", 1, 8, 3, 3).requires_grad_()
    attention(x)[0, 0, 0, 0].backward()
    assert x.grad is not None
    assert bool((x.grad.abs().amax((0, 1)) > 0).all())
    q, k, v = (p.unflatten(1, (2, 4)) for p in attention.qkv(attention.norm(x)[0].flatten(1).T).chunk(3, dim=1))
    mixed = torch.einsum("hqk,khd->qhd", torch.softmax(torch.einsum("qhd,khd->hqk", q, k) / 2, -1), v).flatten(1)
    torch.testing.assert_close(attention(x)[0].flatten(1), x[0].flatten(1) + attention.out(mixed).T)


@pytest.mark.parametrize(
    ("channels", "groups"), [(128, 32), (256, 32), (384, 32), (64, 16), (96, 24), (12, 3), (20, 5), (4, 1), (7, 1)]
)
def test_groups_of_normalisation_divide_the_channels(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups


def test_dropout_acts_in_training_only() -> None:
    net = network(replace(TINY, dropout=0.5))
    assert torch.equal(net(*inputs(2)), net(*inputs(2)))
    net.train()
    with torch_generator(0):
        assert not torch.equal(net(*inputs(2)), net(*inputs(2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 10}, "multiples of 4"),
        ({"channels": 0}, "multiples of 4"),
        ({"blocks": 0}, "one block"),
        ({"multipliers": (), "attention_levels": ()}, "one level"),
        ({"patch": 0}, "a patch of 1 pixel"),
        ({"multipliers": (1, 0)}, "multipliers"),
        ({"attention_levels": (4,)}, "must be among the levels 0 to 3"),
        ({"dropout": 1.0}, "dropout is a probability below 1"),
        ({"head_width": 0}, "head_width"),
    ],
)
def test_impossible_configurations_are_refused_in_a_sentence(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNetConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        (TINY, (2,), "takes pictures"),
        (TINY, (3, 1, 8), "2 levels are too many for samples of 1x8"),
        (replace(TINY, head_width=5), (3, 8, 8), "heads of width 5 do not divide 16 channels"),
    ],
)
def test_pictures_that_do_not_fit_are_refused_in_a_sentence(
    config: UNetConfig, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        config.build(shape)
