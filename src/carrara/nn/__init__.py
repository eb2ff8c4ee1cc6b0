"""Layers that the networks share."""

from carrara.nn.attention import PixelAttention
from carrara.nn.embedding import NoiseEmbedding
from carrara.nn.layers import Upsample, conv3, group_norm, zeroed
from carrara.nn.residual import ResidualBlock

__all__ = ["NoiseEmbedding", "PixelAttention", "ResidualBlock", "Upsample", "conv3", "group_norm", "zeroed"]
