"""A residual multi-layer perceptron for points in a few dimensions."""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from carrara.backbone.base import Backbone, BackboneConfig
from carrara.nn import DEEPEST, WIDEST, NoiseEmbedding, zeroed
from carrara.shapes import PerSample, Samples
from carrara.types import Conditioning


@dataclass(frozen=True, kw_only=True)
class MlpConfig(BackboneConfig):
    """Attributes:
    width: of every hidden layer.
    depth: residual layers.
    """

    kind: Literal["mlp"] = "mlp"
    width: int = 128
    depth: int = 4

    def __post_init__(self) -> None:
        if not 2 <= self.width <= WIDEST or not 1 <= self.depth <= DEEPEST:
            raise ValueError(f"an MLP needs a width from 2 to {WIDEST}, and a depth from 1 to {DEEPEST}")

    @property
    def vector_width(self) -> int:
        return self.width

    def build(self, shape: tuple[int, ...], image_channels: int = 0, answers: int = 1) -> Backbone:
        if len(shape) != 1:
            raise ValueError(f"an MLP takes points (D,), not samples of shape {shape}; use a U-Net for pictures")
        return Mlp(self, dimensions=shape[0], answers=answers)


class Mlp(Backbone):
    """h <- h + W silu(W' silu(h + emb)), ``depth`` times, between two linear maps."""

    def __init__(self, config: MlpConfig, *, dimensions: int, answers: int = 1) -> None:
        super().__init__()
        self.config = config
        w = config.width
        self.noise = NoiseEmbedding(w, w)
        self.inp = nn.Linear(dimensions, w)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Linear(w, w), nn.SiLU(), nn.Linear(w, w)) for _ in range(config.depth)
        )
        self.out = zeroed(nn.Linear(w, dimensions * answers))

    def forward(self, x: Samples, noise_level: PerSample, cond: Conditioning) -> Tensor:
        emb = self.noise(noise_level)
        if cond.vector is not None:
            emb = emb + cond.vector
        h = self.inp(x)
        for layer in self.layers:
            h = h + layer(h + emb)
        return self.out(F.silu(h))
