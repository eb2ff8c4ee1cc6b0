"""Layers that the networks share."""

from carrara.nn.attention import PixelAttention, attending_as_gpus
from carrara.nn.compiled import Compilable, compile_for_sampling, compile_for_training
from carrara.nn.cross_attention import SpatialTransformer, Tokens
from carrara.nn.embedding import NoiseEmbedding, ShareEmbedding, StepEmbedding, step_features
from carrara.nn.inference import lowered
from carrara.nn.layers import (
    RANKS,
    Convolution3,
    Dropout,
    Upsample,
    conv1,
    conv3,
    doubled,
    folded,
    group_norm,
    patchify,
    rank_of,
    rescaled,
    unfolded,
    unpatchify,
    zeroed,
)
from carrara.nn.limits import BESIDE, DEEPEST, WIDEST, TooLarge, bounded, rehearse
from carrara.nn.recompute import Recomputed, recompute
from carrara.nn.residual import ResidualBlock
from carrara.nn.transformer import Attention
from carrara.nn.ways import Calls, Choosing, Size, calls, choose

__all__ = [
    "BESIDE",
    "DEEPEST",
    "RANKS",
    "Attention",
    "Calls",
    "Choosing",
    "Compilable",
    "Convolution3",
    "Dropout",
    "NoiseEmbedding",
    "PixelAttention",
    "Recomputed",
    "ResidualBlock",
    "ShareEmbedding",
    "Size",
    "SpatialTransformer",
    "StepEmbedding",
    "TooLarge",
    "WIDEST",
    "Tokens",
    "Upsample",
    "attending_as_gpus",
    "bounded",
    "calls",
    "choose",
    "compile_for_sampling",
    "compile_for_training",
    "conv1",
    "conv3",
    "patchify",
    "doubled",
    "folded",
    "group_norm",
    "unpatchify",
    "lowered",
    "rank_of",
    "recompute",
    "rehearse",
    "rescaled",
    "step_features",
    "unfolded",
    "zeroed",
]
