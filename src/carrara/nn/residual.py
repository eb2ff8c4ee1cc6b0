"""The residual block of networks that are told nothing but their input."""

import torch.nn.functional as F
from torch import Tensor, nn

from carrara.nn.layers import conv1, conv3, group_norm, zeroed
from carrara.nn.recompute import Recomputed


class ResidualBlock(Recomputed):
    """Normalise, activate, convolve, twice, around a skip connection: (B, inp, *N) to (B, out, *N).

    Args:
        groups, eps: as of ``group_norm``.
    """

    def __init__(self, inp: int, out: int, *, spatial: int = 2, groups: int | None = None, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm1, self.conv1 = group_norm(inp, groups, eps), conv3(inp, out, spatial=spatial)
        self.norm2, self.conv2 = group_norm(out, groups, eps), zeroed(conv3(out, out, spatial=spatial))
        self.skip = conv1(inp, out, spatial=spatial) if inp != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))
