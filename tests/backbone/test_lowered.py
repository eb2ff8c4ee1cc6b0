"""The form in which networks answer only: the same numbers to the bit, and no more memory than it takes."""

import pytest
import torch
from torch import Tensor, nn

from carrara.backbone import Backbone, BackboneConfig, DiTConfig, MlpConfig, UNetConfig
from carrara.nn import lowered
from carrara.seeds import Draws, torch_generator
from carrara.types import UNCONDITIONAL, Conditioning

PLAIN = UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,), head_width=8)
NETWORKS = {
    "unet": PLAIN,
    "context": UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(), modulation="context"),
    "transformers": UNetConfig(
        channels=8, multipliers=(1, 2), attention_levels=(1,), transformer_depths=(0, 1), heads=2, context_width=5
    ),
    "dit": DiTConfig(width=16, depth=2, heads=2, context_width=5),
    "rotary": DiTConfig(width=16, depth=2, heads=2, positions="rotary", qk_norm=True),
    "mlp": MlpConfig(width=16, depth=2),
}
LOW = torch.bfloat16


def network(config: BackboneConfig) -> Backbone:
    shape, image = ((2,), 0) if isinstance(config, MlpConfig) else ((3, 8, 8), 2)
    with torch_generator(0), torch.no_grad():
        net = config.build(shape, image)
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return net.eval()


def inputs(config: BackboneConfig) -> tuple[Tensor, Tensor, Conditioning]:
    draws = Draws(0, torch.arange(3))
    tokens = None if config.context_width is None else draws.normal("tokens", 4, config.context_width)
    mask = torch.tensor([[True] * 4, [True, False] * 2, [False] * 4])
    pictures = not isinstance(config, MlpConfig)
    cond = Conditioning(
        vector=draws.normal("vector", config.vector_width),
        tokens=tokens,
        mask=None if tokens is None else mask,
        image=draws.normal("image", 2, 8, 8) if pictures else None,
    )
    return draws.normal("x", *((3, 8, 8) if pictures else (2,))), draws.normal("level"), cond


def answer(net: nn.Module, x: Tensor, level: Tensor, cond: Conditioning) -> Tensor:
    with torch.autocast("cpu", LOW):
        return net(x, level, cond)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_to_the_bit(name: str) -> None:
    config = NETWORKS[name]
    net, given = network(config), inputs(config)
    fast = lowered(net, LOW)
    with torch.no_grad():
        assert torch.equal(answer(fast, *given), answer(net, *given))


def test_gradients_of_the_input_are_the_same() -> None:
    net, (x, level, cond) = network(PLAIN), inputs(PLAIN)
    ours, theirs = (
        torch.autograd.grad(answer(f, y, level, cond).float().square().sum(), y)[0]
        for f in (lowered(net, LOW), net)
        for y in [x.clone().requires_grad_()]
    )
    assert bool(ours.abs().max() > 0)
    assert torch.equal(ours, theirs)


def test_only_the_weights_of_products_are_copied() -> None:
    net = network(PLAIN)
    fast = lowered(net, LOW)
    own = dict(net.named_parameters())
    copied = {name for name, p in fast.named_parameters() if p is not own[name]}
    assert copied == {
        f"{path}.{name}"
        for path, layer in net.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
        for name in ("weight", "bias")
    }
    assert {p.dtype for name, p in fast.named_parameters() if name in copied} == {LOW}
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in net.parameters())


def test_a_network_with_a_gradient_or_one_tied_to_another_is_copied_too() -> None:
    layer = nn.Linear(3, 3)
    layer(torch.ones(1, 3)).sum().backward()
    fast = lowered(nn.Sequential(layer, nn.ReLU(), layer), LOW)
    assert fast[0] is fast[2]
    assert fast[0].weight.dtype == LOW
    assert layer.weight.grad is not None


def test_points_of_nothing_told() -> None:
    net, x = network(NETWORKS["mlp"]), torch.ones(1, 2)
    with torch.no_grad():
        level = torch.zeros(1)
        assert torch.equal(answer(lowered(net, LOW), x, level, UNCONDITIONAL), answer(net, x, level, UNCONDITIONAL))
