"""Winograd's convolutions are those of torch: values, gradients, gradients of gradients, derivatives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from carrara.measure.timing import flops_of
from carrara.nn import conv3, native, winograd

pytestmark = pytest.mark.slow  # compiles, which takes a quarter of a minute
SIZES = ((3, 5, 7, 6, 6), (1, 1, 1, 1, 1), (2, 4, 65, 3, 9), (2, 16, 8, 8, 24), (1, 3, 4, 130, 2), (2, 70, 33, 19, 37))
"""B, C, H, W, O."""


@pytest.fixture(autouse=True)
def _kernels() -> None:
    if why := native.missing():
        pytest.skip(why)


def given(size: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Maps, kernels, biases, and a gradient, in float64."""
    b, c, h, w, o = size
    draw = torch.Generator().manual_seed(0)
    shapes = (b, c, h, w), (o, c, 3, 3), (o,), (b, o, h, w)
    x, kernel, bias, gradient = (torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes)
    return x, kernel, bias, gradient


def torchs(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(x, kernel, bias, padding=1)


def apart(ours: Tensor, truth: Tensor) -> float:
    return ((ours.double() - truth).norm() / truth.norm()).item()


def singly(*tensors: Tensor) -> list[Tensor]:
    return [tensor.float().requires_grad_() for tensor in tensors]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threads", [1, 2])
def test_values_and_gradients_are_those_of_sums(size: tuple[int, ...], threads: int) -> None:
    *inputs, gradient = given(size)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = winograd.convolved(*(three := singly(*inputs)))
        ours.backward(gradient.float())
    finally:
        torch.set_num_threads(before)
    doubles = [tensor.requires_grad_() for tensor in inputs]
    truth = torchs(*doubles)
    truth.backward(gradient)
    assert apart(ours, truth) < 1e-5
    for mine, exact in zip(three, doubles, strict=True):
        assert mine.grad is not None and exact.grad is not None
        assert apart(mine.grad, exact.grad) < 1e-5


def test_it_needs_no_bias_and_no_order_in_memory() -> None:
    x, kernel, _, _ = given(SIZES[0])
    turned = x.float().mT.contiguous().mT
    assert apart(winograd.convolved(turned, kernel.float(), None), torchs(x, kernel, None)) < 1e-5


def test_gradients_have_gradients() -> None:
    """As critics that are held to small gradients need."""
    x, kernel, bias, gradient = given(SIZES[0])

    def penalty(convolved: object, *three: Tensor) -> list[Tensor]:
        out = convolved(*three)  # pyright: ignore[reportCallIssue]
        firsts = torch.autograd.grad((out * gradient.to(out)).square().sum(), three[:2], create_graph=True)
        return list(torch.autograd.grad(sum(first.square().sum() for first in firsts), three))

    ours = penalty(winograd.convolved, *singly(x, kernel, bias))
    truth = penalty(torchs, *(tensor.requires_grad_() for tensor in (x, kernel, bias)))
    assert all(apart(mine, exact) < 1e-4 for mine, exact in zip(ours, truth, strict=True))


@pytest.mark.filterwarnings("ignore:.torch.jit.script")  # of torch's own
def test_derivatives_along_a_direction() -> None:
    x, kernel, bias, _ = given(SIZES[0])
    along = tuple(torch.randn_like(tensor) for tensor in (x, kernel, bias))
    _, truth = torch.func.jvp(torchs, (x, kernel, bias), along)
    singles = tuple(tensor.float() for tensor in (x, kernel, bias))
    _, ours = torch.func.jvp(winograd.convolved, singles, tuple(tensor.float() for tensor in along))
    assert apart(ours, truth) < 1e-5
    _, of_x = torch.func.jvp(lambda x: winograd.convolved(x, *singles[1:]), singles[:1], (along[0].float(),))
    assert apart(of_x, torchs(along[0], kernel, None)) < 1e-5


def test_threads_agree_and_repeat() -> None:
    x, kernel, bias, _ = (tensor.float() for tensor in given((4, 8, 16, 16, 8)))
    assert torch.equal(winograd.convolved(x, kernel, bias), winograd.convolved(x, kernel, bias))


def test_other_numbers_go_the_direct_way() -> None:
    layer = conv3(4, 6)
    layer.chosen = {(8, 8): "winograd"}
    x = torch.randn(2, 4, 8, 8)
    assert type(layer(x).grad_fn).__name__ == "_ConvolutionBackward"
    plain = conv3(4, 6)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer.double()(x.double()), plain.double()(x.double()))
    layer.float(), plain.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), plain(x))
    assert torch.equal(layer(x[..., :7]), plain(x[..., :7])), "a size of which nothing is known"


def test_its_products_are_counted() -> None:
    x, kernel = torch.randn(2, 8, 9, 16, requires_grad=True), torch.randn(12, 8, 3, 3, requires_grad=True)
    once = 2 * 36 * (2 * 3 * 4) * 8 * 12  # of 24 tiles
    assert flops_of(lambda: winograd.convolved(x, kernel, None)) == once
    assert flops_of(lambda: winograd.convolved(x, kernel, None).sum().backward()) == 3 * once


def test_vectors_of_the_other_width_do_the_same() -> None:
    """Of AVX-512 where a processor has AVX2 alone, made of two, and of AVX2 where it has both."""
    wide = "avx512f" in Path("/proc/cpuinfo").read_text()
    environ = {**os.environ, "CXXFLAGS": "-mno-avx512f" if wide else "-DSIXTEEN_LANES"}
    call = (sys.executable, "-m", "pytest", "-q", "-m", "slow", "-p", "no:xdist", __file__)
    done = subprocess.run([*call, "-k", "sums or other_numbers"], env=environ, capture_output=True, text=True)
    assert done.returncode == 0 and "13 passed" in done.stdout, done.stdout
