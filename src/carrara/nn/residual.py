"""The residual block of networks that are told nothing but their input."""

import torch.nn.functional as F
from torch import Tensor, nn

from carrara.nn.layers import conv3, group_norm, zeroed
from carrara.nn.recompute import Recomputed


class ResidualBlock(Recomputed):
    """Normalise, activate, convolve, twice, around a skip connection: (B, inp, H, W) to (B, out, H, W)."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = group_norm(inp), conv3(inp, out)
        self.norm2, self.conv2 = group_norm(out), zeroed(conv3(out, out))
        self.skip = nn.Conv2d(inp, out, 1) if inp != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))
