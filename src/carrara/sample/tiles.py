r"""Pictures larger than a network was trained on, as MultiDiffusion makes them (Bar-Tal et al., 2023).

Windows W_k of the size that the network knows cover a canvas and overlap. Each gives an estimate of its part of the
data, and among all estimates of the whole the one that is nearest to them, in squares weighted by m, is their average

.. math:: \hat x_0(x_t)_i = \sum_{k \ni i} m_{k,i} \, \hat x_0(x_t[W_k])_i \Big/ \sum_{k \ni i} m_{k,i}.          (1)

So the canvas has one estimate, and any sampler can go on with it. The paper averages what a step makes of the windows;
where a step is linear in the estimate, as DDIM's is, that is the same. The weight is largest in the middle of a window,

.. math:: m_{k,i} = \min(u + 1, a - u) \min(v + 1, b - v)                                                        (2)

at row u and column v of a window of a x b: where one ends, it counts least, and there is no seam. Sounds have one such
factor, and volumes three.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.shapes import Signals, window
from carrara.types import DenoiseFn


def tiled(
    denoise: DenoiseFn, tile: tuple[int, ...], stride: tuple[int, ...] | None = None, beside: Signals | None = None
) -> DenoiseFn:
    """Equation (1): a denoiser of pictures, sounds, volumes or latents (B, C, *N) of any size.

    One window of the batch is denoised at a time, so the network's memory is a window's, however large the canvas.
    Wrap what asks the network and nothing else: what looks at whole estimates, as guidance does, belongs outside.

    Args:
        denoise: knows windows; its condition holds for all of them.
        tile: (a, b), height and width of the windows, or an edge for each axis; a canvas that is smaller is one.
        stride: at most so far apart; None is half a window.
        beside: (B, C', *N) what is known of the canvas: ``denoise`` gets windows of both, (B, C + C', *tile).

    Raises:
        ValueError: ``tile`` or ``stride`` is no size, or the windows would leave gaps.
    """
    apart = tuple(max(1, edge // 2) for edge in tile) if stride is None else stride
    if min(*tile, *apart) < 1 or any(s > a for s, a in zip(apart, tile, strict=True)):
        raise ValueError(f"windows of {tile} that are {apart} apart do not cover a canvas: take 1 <= stride <= tile")

    def denoise_canvas(x_t: Signals, t: Tensor) -> Signals:
        edges = [min(edge, whole) for edge, whole in zip(tile, x_t.shape[2:], strict=True)]
        m = _weights(edges).to(x_t)
        total, weight = torch.zeros_like(x_t), torch.zeros_like(x_t[:1, :1])
        for firsts in product(*map(starts, x_t.shape[2:], edges, apart)):
            here = (..., *window(firsts, edges))
            seen = x_t[here] if beside is None else torch.cat([x_t[here], beside[here]], dim=1)
            total[here] += m * denoise(seen, t)
            weight[here] += m
        return total / weight

    return denoise_canvas


def starts(size: int, tile: int, stride: int) -> list[int]:
    """Where windows begin along an edge: evenly, at most ``stride`` apart, the first and the last at its ends."""
    gaps = -(-(size - tile) // stride)
    return [round(k * (size - tile) / max(1, gaps)) for k in range(gaps + 1)]


def _weights(edges: Sequence[int]) -> Float[Tensor, "..."]:
    """Equation (2), as large as a window."""
    factors = (torch.minimum(u + 1, a - u) for a, u in ((a, torch.arange(a)) for a in edges))
    return reduce(lambda m, factor: m[..., None] * factor, factors).float()
