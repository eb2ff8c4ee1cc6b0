"""Repeating pixels and convolving, as one transposed convolution."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from carrara.nn import Upsample


def in_two_steps(layer: Upsample, x: Tensor, size: tuple[int, int]) -> Tensor:
    return layer.conv(F.interpolate(x, size=size, mode="nearest"))


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 4)])
def test_doubled_maps_and_their_gradients_are_those_of_the_two_steps(size: tuple[int, int]) -> None:
    layer, doubled = Upsample(6).double(), (2 * size[0], 2 * size[1])
    x = torch.randn(2, 6, *size, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 6, *doubled, dtype=torch.float64)
    inputs = (x, layer.conv.weight, layer.conv.bias)
    ours, theirs = layer(x, doubled), in_two_steps(layer, x, doubled)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for a, b in zip(*(torch.autograd.grad((y * weights).sum(), inputs) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("size", [(3, 3), (5, 4), (4, 3), (9, 9)])
def test_other_sizes(size: tuple[int, int]) -> None:
    layer, x = Upsample(4), torch.randn(1, 4, 2, 2)
    assert torch.equal(layer(x, size), in_two_steps(layer, x, size))
