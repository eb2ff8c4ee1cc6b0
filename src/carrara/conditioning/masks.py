r"""Holes in pictures, drawn at random: what a model that fills holes is trained on.

A hole is a box, strokes of a brush, all but a box, or everything, in one dimension, two or three. A stroke of radius r
along the points :math:`p_1, \dots, p_n` covers what is near to it,

.. math:: \{ q : \min_k \min_{0 \le u \le 1} | q - (1 - u) p_k - u p_{k+1} | \le r \}.                           (1)
"""

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.nn import rank_of
from carrara.seeds import Draws
from carrara.shapes import expand, padded

Masks = Float[Tensor, "B 1 *N"]
"""1 where a picture is to be made new, 0 where it is to be kept."""

SHARES = (0.4, 0.4, 0.1)
"""How often a hole is a box, strokes, or all but a box; else it is everything."""
EDGES = (0.2, 0.8)
"""The edges of boxes, as parts of the picture's."""
POINTS, RADII = 5, (0.03, 0.12)
"""Of a stroke; radii as parts of the picture's shorter edge."""


def holes(draws: Draws, size: tuple[int, ...]) -> Masks:
    """One hole for each sample of ``draws``, in pictures of ``size`` (height, width), sounds or volumes."""
    q = _places(size).to(draws.samples.device)
    box = _boxes(draws, q)
    kinds = torch.stack([box, _strokes(draws, q, min(size)), 1 - box, torch.ones_like(box)])
    ends = torch.tensor(SHARES, device=q.device).cumsum(0)
    which = torch.bucketize(draws.uniform("kind of hole"), ends)
    return kinds[which, torch.arange(len(which), device=q.device)][:, None]


def touched(m: Masks, f: int) -> Float[Tensor, "B 1 *n"]:
    """Which latents have a pixel in a mask: (B, 1, *n), where each stands for f x f pixels."""
    return rank_of(m).highest(padded(m, f), f)


def _places(size: tuple[int, ...]) -> Float[Tensor, "*N n"]:
    """The middles of all pixels, in pixels."""
    return torch.stack(torch.meshgrid(*(torch.arange(n) + 0.5 for n in size), indexing="ij"), dim=-1)


def _boxes(draws: Draws, q: Tensor) -> Float[Tensor, "B *N"]:
    size = torch.tensor(q.shape[:-1], device=q.device)
    edges = _between(EDGES, draws.uniform("edges of a box", len(size))) * size
    begin = draws.uniform("place of a box", len(size)) * (size - edges)
    end = begin + edges
    return ((q > _everywhere(begin, q)) & (q < _everywhere(end, q))).all(-1).float()


def _strokes(draws: Draws, q: Tensor, shorter: int) -> Float[Tensor, "B *N"]:
    """Equation (1)."""
    size = torch.tensor(q.shape[:-1], device=q.device)
    p = draws.uniform("points of a stroke", POINTS, len(size)) * size
    r = _between(RADII, draws.uniform("radius of a stroke")) * shorter
    begin, way = _everywhere(p[:, :-1], q), _everywhere(p.diff(dim=1), q)
    u = ((q - begin) * way).sum(-1) / way.square().sum(-1).clamp(min=1e-6)
    nearest = (q - begin - u.clamp(0, 1)[..., None] * way).square().sum(-1).amin(1)
    return (nearest <= expand(r.square(), nearest)).float()


def _everywhere(points: Tensor, q: Tensor) -> Tensor:
    """(..., n) so that it meets all places q (*N, n)."""
    return points.reshape(*points.shape[:-1], *[1] * (q.ndim - 1), points.shape[-1])


def _between(ends: tuple[float, float], u: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * u
