r"""From a noise level to a vector.

A network of other programs is told the number k of a training step, and not the half log-SNR. Where that is lambda_k,
decreasing in k, and the sines and cosines of k are a row f_k, such a network sees

.. math:: f(\lambda) = (1 - w) f_k + w f_{k+1}, \quad w = (\lambda_k - \lambda) / (\lambda_k - \lambda_{k+1}),   (1)

which at its own steps is what it has always seen. One that is told how much of a state is data, as flows often are, is
told

.. math:: \alpha / (\alpha + \sigma) = 1 / (1 + e^{-\lambda}).                                                    (2)
"""

import math

import torch
import torch.nn.functional as F
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


_STEADY = 1e-3
"""Parts of a step by which float32 may move a half log-SNR."""
_FURTHEST = 6.0
"""The half log-SNRs of a fresh table are within this."""
_SLOWEST_STEP = 10_000.0


class StepEmbedding(nn.Module):
    """Equation (1), then the two layers of ``NoiseEmbedding``. Beyond its steps f is constant.

    Args:
        features: of each row.
        width: the embedding's.
        steps: T. In a fresh table they are equally far apart, with the cosines and the sines of Ho et al.

    Attributes:
        levels: (T,) the half log-SNRs of the steps, decreasing.
        table: (T, features) what the two layers see at each.
    """

    levels: Tensor
    table: Tensor

    def __init__(self, features: int, width: int, steps: int) -> None:
        super().__init__()
        self.register_buffer("levels", torch.linspace(_FURTHEST, -_FURTHEST, steps))
        self.register_buffer("table", step_features(steps, features, cosines_first=True))
        self.layers = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, noise_level: PerSample) -> Tensor:
        """Maps (B,) half log-SNRs to (B, width)."""
        level = noise_level.float().contiguous()
        right = torch.searchsorted(-self.levels, -level).clamp(1, len(self.levels) - 1)
        before, after = self.levels[right - 1], self.levels[right]
        w = ((before - level) / (before - after).clamp(min=1e-12)).clamp(0, 1)
        w = torch.where((w - w.round()).abs() < _STEADY, w.round(), w)[:, None]
        return self.layers(torch.lerp(self.table[right - 1], self.table[right], w).to(noise_level.dtype))


class ShareEmbedding(nn.Module):
    """Cosines and sines of equation (2), then the two layers of ``NoiseEmbedding`` (Ma et al., "SiT", 2024, where it is
    the time).

    Args:
        features: how many cosines and sines, an even number.
        width: the embedding's.
    """

    rates: Tensor

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.register_buffer("rates", _rates(features // 2, 0.0), persistent=False)
        self.layers = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, noise_level: PerSample) -> Tensor:
        """Maps (B,) half log-SNRs to (B, width)."""
        phase = torch.sigmoid(noise_level.float())[:, None] * self.rates
        return self.layers(torch.cat([phase.cos(), phase.sin()], dim=1).to(noise_level.dtype))


def step_features(
    steps: int, features: int, *, cosines_first: bool = False, shift: float = 1.0, stride: float = 1.0
) -> Tensor:
    """Sines and cosines of 0 ... steps - 1, (steps, features) float32, at rates from 1 to about 1 / 10000 (Ho et al.,
    2020, appendix B, have a shift of 1).

    Args:
        cosines_first: whether the cosines are the first half.
        shift: rates end at 10000^(-(h - 1) / (h - shift)), with h of them.
        stride: what numbers are multiplied by.
    """
    phase = stride * torch.arange(steps)[:, None].float() * _rates(features // 2, shift)
    parts = (phase.cos(), phase.sin()) if cosines_first else (phase.sin(), phase.cos())
    return F.pad(torch.cat(parts, dim=1), (0, features % 2))


def _rates(count: int, shift: float) -> Tensor:
    return torch.exp(-math.log(_SLOWEST_STEP) * torch.arange(count, dtype=torch.float32) / (count - shift))
