"""Layers that the networks share."""

from carrara.nn.attention import PixelAttention
from carrara.nn.compiled import Compilable, compile_for_sampling, compile_for_training
from carrara.nn.cross_attention import SpatialTransformer, Tokens
from carrara.nn.embedding import NoiseEmbedding
from carrara.nn.inference import lowered
from carrara.nn.layers import Dropout, Upsample, conv3, cut, group_norm, joined, zeroed
from carrara.nn.recompute import Recomputed, recompute
from carrara.nn.residual import ResidualBlock
from carrara.nn.transformer import Attention

__all__ = [
    "Attention",
    "Compilable",
    "Dropout",
    "NoiseEmbedding",
    "PixelAttention",
    "Recomputed",
    "ResidualBlock",
    "SpatialTransformer",
    "Tokens",
    "Upsample",
    "compile_for_sampling",
    "compile_for_training",
    "conv3",
    "cut",
    "group_norm",
    "joined",
    "lowered",
    "recompute",
    "zeroed",
]
