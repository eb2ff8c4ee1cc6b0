"""From a noise level to a vector."""

import math

import torch
from torch import Tensor, nn

from carrara.shapes import PerSample

_SLOWEST, _FASTEST = 1 / 8, 32.0  # radians per unit of half log-SNR, which lives in about -10 ... 10


class NoiseEmbedding(nn.Module):
    """Sines and cosines of the half log-SNR at geometrically spaced rates, then two layers (Ho et al., 2020, appendix
    B, with the log-SNR in the place of the step number).

    Args:
        features: how many sines and cosines; an odd number is rounded down.
        width: the embedding's width.
    """

    rates: Tensor

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        rates = torch.exp(torch.linspace(math.log(_SLOWEST), math.log(_FASTEST), features // 2))
        self.register_buffer("rates", rates, persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * len(rates), width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, noise_level: PerSample) -> Tensor:
        """Maps (B,) half log-SNRs to (B, width)."""
        phase = noise_level[:, None] * self.rates
        return self.layers(torch.cat([torch.cos(phase), torch.sin(phase)], dim=1))
