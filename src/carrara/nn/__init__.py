"""Layers that the networks share."""

from carrara.nn.attention import PixelAttention
from carrara.nn.cross_attention import SpatialTransformer, Tokens
from carrara.nn.embedding import NoiseEmbedding
from carrara.nn.inference import lowered
from carrara.nn.layers import Upsample, conv3, cut, group_norm, joined, zeroed
from carrara.nn.recompute import Recomputed, recompute
from carrara.nn.residual import ResidualBlock
from carrara.nn.transformer import Attention

__all__ = [
    "Attention",
    "NoiseEmbedding",
    "PixelAttention",
    "Recomputed",
    "ResidualBlock",
    "SpatialTransformer",
    "Tokens",
    "Upsample",
    "conv3",
    "cut",
    "group_norm",
    "joined",
    "lowered",
    "recompute",
    "zeroed",
]
