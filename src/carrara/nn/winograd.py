r"""3x3 convolutions by Winograd's minimal filtering, F(4x4, 3x3) (Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks", 2016), in float32 on a CPU.

A tile y of 4x4 places is made of the window d of 6x6 places around it and of the kernel g by

.. math:: y = A^T \big[ (G g G^T) \odot (B^T d B) \big] A.                                                        (1)

That are 36 products for 16 places, where a sum has 144: four times fewer. Summed over the channels, each of the 36 is a
matrix product of kernels and tiles. With U, V and M for the transforms of kernel, windows and tiles, the gradients are

.. math:: \partial d: \text{(1) with the kernel turned by half, its channels exchanged}; \quad
          \partial g = G^T \Big[ \sum_{tiles} (A \, \partial y \, A^T) \odot V \Big] G,                            (2)

which are as much cheaper. The price is exactness: transforms add values that nearly cancel. With random numbers of 64
to 512 channels the error is 2 millionths of the result's size, where torch's own convolutions leave .2 to 3
(``benchmarks/convolutions.py``).

The kernels are in ``native/winograd.cpp``; ``native.missing`` says whether they can be had.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether a convolution with a padding and a stride of 1 can go this way now: float32, on a CPU, as it is said."""
    alike = x.dtype is weight.dtype is torch.float32 and x.device.type == weight.device.type == "cpu"
    return alike and x.numel() > 0 and not (torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling())


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(B, C, H, W) with kernels (O, C, 3, 3) to (B, O, H, W), with zeros around.

    It has gradients of any order, and derivatives along a direction.
    """
    return _Convolution.apply(x, weight, bias, False)  # pyright: ignore[reportReturnType]


def _turned(x: Tensor, weight: Tensor) -> Tensor:
    """(B, O, H, W) with kernels (O, C, 3, 3), turned by half, to (B, C, H, W)."""
    return _Convolution.apply(x, weight, None, True)  # pyright: ignore[reportReturnType]


def _kernel_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    return _KernelGradient.apply(x, gradient)  # pyright: ignore[reportReturnType]


class _Convolution(Function):
    """Equation (1), and its adjoint."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, turned: bool) -> Tensor:
        return torch.ops.carrara.winograd(x, weight, bias, turned)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None, bool], output: Tensor) -> None:
        x, weight, _, ctx.turned = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        pair = (gradient, x) if ctx.turned else (x, gradient)
        return (
            _Convolution.apply(gradient, weight, None, not ctx.turned) if of_x else None,  # pyright: ignore
            _kernel_gradient(*pair) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
            None,
        )

    @staticmethod
    def jvp(ctx: Any, *along: Tensor | None) -> Tensor:
        x, weight, bias, _ = along
        given, kernel = ctx.saved_tensors
        moved = [(x, kernel)] if x is not None else []
        moved += [(given, weight)] if weight is not None else []
        parts: list[Tensor] = [_Convolution.apply(*pair, None, ctx.turned) for pair in moved]  # pyright: ignore
        parts += [bias[:, None, None].expand(len(given), -1, *given.shape[2:])] if bias is not None else []
        return sum(parts[1:], parts[0])


class _KernelGradient(Function):
    """Equation (2)."""

    @staticmethod
    def forward(x: Tensor, gradient: Tensor) -> Tensor:
        return torch.ops.carrara.winograd_kernel_gradient(x, gradient)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (weight,) = gradients
        x, gradient = ctx.saved_tensors
        return _turned(gradient, weight), convolved(x, weight, None)
