"""Self-attention over the pixels of a feature map."""

import torch.nn.functional as F
from torch import Tensor, nn

from carrara.nn.layers import group_norm, zeroed


class PixelAttention(nn.Module):
    """A residual self-attention block over all positions (Vaswani et al., 2017; in a U-Net: Ho et al., 2020).

    Args:
        channels: width of the feature map.
        head_width: channels per head; None for one head.

    Raises:
        ValueError: ``head_width`` does not divide ``channels``.
    """

    def __init__(self, channels: int, head_width: int | None = None) -> None:
        super().__init__()
        if channels % (head_width or channels):
            raise ValueError(f"heads of width {head_width} do not divide {channels} channels")
        self.heads = channels // (head_width or channels)
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.out(mixed).transpose(1, 2).reshape(x.shape)
