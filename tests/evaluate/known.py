"""Features and vectors of which everything is known."""

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from carrara.evaluate import Features
from carrara.seeds import Draws


@final
class Squares(Features):
    """How bright each part of a picture is."""

    name, width = "4x4 squares", 16

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.scale * F.adaptive_avg_pool2d(pixels.mean(1, keepdim=True), 4).flatten(1)


def normal(count: int, width: int, seed: int = 0) -> Tensor:
    return Draws(seed, torch.arange(count)).normal("features", width)
