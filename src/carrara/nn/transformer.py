r"""Attention between rows, and the positions of patches in a picture, a sound or a volume.

With rates w_i and a patch at ``row`` and ``column`` of the grid of patches,

.. math::
    \phi &= (\text{column} \cdot w, \text{row} \cdot w), \quad w_i = \text{base}^{-i/n}, \quad i = 0 \dots n - 1 (1) \\
    p &= (\sin \phi_1, \cos \phi_1, \sin \phi_2, \cos \phi_2)                                                    (2) \\
    R(u, v) &= (u \cos \phi - v \sin \phi, u \sin \phi + v \cos \phi)                                            (3) \\
    A(x, y) &= W_o \operatorname{softmax}(Q K^T / \sqrt d) V + b_o, \quad Q = W_q x + b_q                        (4) \\
    (K, V) &= W_{kv} y + b_{kv}                                                                                  (5)

(2) is added to features (Vaswani et al., 2017; in two dimensions: Chen et al., 2021, MoCo v3). (3) turns the two halves
of each query and key, so that their product sees displacements alone (Su et al., 2021; in two dimensions: Heo et al.,
2024). Both are functions of the grid of patches, and exist for any size. In one or three dimensions, as many axes share
the rates, and features that are left over stay 0, or are not turned.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from carrara.nn.attention import attend

_ADDED, _TURNED = 10_000.0, 100.0  # the bases of Vaswani et al., and of Heo et al. for the short axes of pictures


def linear(inp: int, out: int, *, bias: bool = True) -> nn.Linear:
    """A layer that keeps the scale of features and of gradients (Glorot and Bengio, 2010), with its bias at zero."""
    layer = nn.Linear(inp, out, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def sincos(grid: tuple[int, ...], width: int, device: torch.device | None = None) -> Float[Tensor, "L {width}"]:
    """Equation (2) for the patches of a grid (rows, columns), row by row; ``width`` is a multiple of 4."""
    phi = _phases(grid, width // (2 * len(grid)), _ADDED, device)
    p = torch.cat([phi.sin(), phi.cos()], dim=-1).flatten(1)
    return F.pad(p, (0, width - p.shape[1]))


def turns(grid: tuple[int, ...], width: int, device: torch.device | None = None) -> Float[Tensor, "2 L {width}//2"]:
    """The cosines and the sines of equation (3) for heads of ``width``, a multiple of 4, row by row."""
    phi = _phases(grid, width // (2 * len(grid)), _TURNED, device).flatten(1)
    phi = F.pad(phi, (0, width // 2 - phi.shape[1]))
    return torch.stack([phi.cos(), phi.sin()])


def turned(x: Float[Tensor, "*B L D"], by: Float[Tensor, "2 L D//2"]) -> Float[Tensor, "*B L D"]:
    """Equation (3) for every head's rows, by what ``turns`` gives; in float32 where that is."""
    (u, v), (cos, sin) = x.chunk(2, dim=-1), by
    return torch.cat([u * cos - v * sin, u * sin + v * cos], dim=-1)


def _phases(grid: tuple[int, ...], count: int, base: float, device: torch.device | None) -> Tensor:
    """Equation (1): (L, axes, count) radians, the last axis first."""
    rates = base ** (-torch.arange(count, device=device) / count)
    places = torch.meshgrid(*(torch.arange(n, device=device) for n in grid), indexing="ij")
    return torch.stack(places[::-1], dim=-1).reshape(-1, len(grid), 1) * rates


class Attention(nn.Module):
    """Equations (4) and (5), in heads of d features.

    Args:
        width: of x.
        heads: how many; they divide ``width``.
        source_width: of y; None for that of x.
        qk_norm: brings each head's queries and keys to a learned length, which bounds the softmax's argument (Henry et
            al., 2020; Dehghani et al., 2023; here by the root of the mean square).
        bias: whether there are b_q and b_kv.

    Raises:
        ValueError: ``heads`` does not divide ``width``.
    """

    def __init__(
        self, width: int, heads: int, *, source_width: int | None = None, qk_norm: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads = heads
        self.q, self.kv = linear(width, width, bias=bias), linear(source_width or width, 2 * width, bias=bias)
        self.q_gain = nn.Parameter(torch.ones(width // heads)) if qk_norm else None
        self.k_gain = nn.Parameter(torch.ones(width // heads)) if qk_norm else None
        self.out = linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "B L C"],
        y: Float[Tensor, "B N D"],
        *,
        positions: Float[Tensor, "2 L d"] | None = None,
        attended: Bool[Tensor, "B 1 1 N"] | Float[Tensor, "B 1 1 N"] | None = None,
    ) -> Float[Tensor, "B L C"]:
        """A(x, y).

        Args:
            positions: what ``turns`` gives for heads of this width, if (3) is wanted; then x and y are at these places.
            attended: the rows of y that the softmax runs over, at least one in each sample; or the logarithms of how
                often each is in it.
        """
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(y).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = (_scaled(u, gain) for u, gain in ((q, self.q_gain), (k, self.k_gain)))
        if positions is not None:
            q, k = turned(q, positions), turned(k, positions)
        bias = attended if attended is None or attended.dtype == torch.bool else attended.to(v.dtype)
        mixed = attend(q.to(v.dtype), k.to(v.dtype), v, attended=bias)
        return self.out(mixed.transpose(1, 2).flatten(2))


def _scaled(x: Tensor, gain: Tensor | None) -> Tensor:
    return x if gain is None else gain * F.rms_norm(x, x.shape[-1:], eps=1e-6)
