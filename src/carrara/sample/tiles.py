r"""Pictures larger than a network was trained on, as MultiDiffusion makes them (Bar-Tal et al., 2023).

Windows W_k of the size that the network knows cover a canvas and overlap. Each gives an estimate of its part of the
data, and among all estimates of the whole the one that is nearest to them, in squares weighted by m, is their average

.. math:: \hat x_0(x_t)_i = \sum_{k \ni i} m_{k,i} \, \hat x_0(x_t[W_k])_i \Big/ \sum_{k \ni i} m_{k,i}.          (1)

So the canvas has one estimate, and any sampler can go on with it. The paper averages what a step makes of the windows;
where a step is linear in the estimate, as DDIM's is, that is the same. The weight is largest in the middle of a window,

.. math:: m_{k,i} = \min(u + 1, a - u) \min(v + 1, b - v)                                                        (2)

at row u and column v of a window of a x b: where one ends, it counts least, and there is no seam.
"""

from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.pixels import Pictures
from carrara.types import DenoiseFn


def tiled(
    denoise: DenoiseFn, tile: tuple[int, int], stride: tuple[int, int] | None = None, beside: Pictures | None = None
) -> DenoiseFn:
    """Equation (1): a denoiser of pictures or latents (B, C, H, W) of any size.

    One window of the batch is denoised at a time, so the network's memory is a window's, however large the canvas.
    Wrap what asks the network and nothing else: what looks at whole estimates, as guidance does, belongs outside.

    Args:
        denoise: knows windows; its condition holds for all of them.
        tile: (a, b), height and width of the windows; a canvas that is smaller is one window.
        stride: at most so far apart; None is half a window.
        beside: (B, C', H, W) what is known of the canvas: ``denoise`` gets windows of both, (B, C + C', a, b).

    Raises:
        ValueError: ``tile`` or ``stride`` is no size, or the windows would leave gaps.
    """
    apart = (max(1, tile[0] // 2), max(1, tile[1] // 2)) if stride is None else stride
    if min(*tile, *apart) < 1 or any(s > a for s, a in zip(apart, tile, strict=True)):
        raise ValueError(f"windows of {tile} that are {apart} apart do not cover a canvas: take 1 <= stride <= tile")

    def denoise_canvas(x_t: Pictures, t: Tensor) -> Pictures:
        a, b = (min(edge, size) for edge, size in zip(tile, x_t.shape[2:], strict=True))
        m = _weights(a, b).to(x_t)
        total, weight = torch.zeros_like(x_t), torch.zeros_like(x_t[:1, :1])
        for top, left in product(starts(x_t.shape[2], a, apart[0]), starts(x_t.shape[3], b, apart[1])):
            window = (..., slice(top, top + a), slice(left, left + b))
            seen = x_t[window] if beside is None else torch.cat([x_t[window], beside[window]], dim=1)
            total[window] += m * denoise(seen, t)
            weight[window] += m
        return total / weight

    return denoise_canvas


def starts(size: int, tile: int, stride: int) -> list[int]:
    """Where windows begin along an edge: evenly, at most ``stride`` apart, the first and the last at its ends."""
    gaps = -(-(size - tile) // stride)
    return [round(k * (size - tile) / max(1, gaps)) for k in range(gaps + 1)]


def _weights(a: int, b: int) -> Float[Tensor, "{a} {b}"]:
    """Equation (2)."""
    u, v = torch.arange(a), torch.arange(b)
    return torch.outer(torch.minimum(u + 1, a - u), torch.minimum(v + 1, b - v)).float()
