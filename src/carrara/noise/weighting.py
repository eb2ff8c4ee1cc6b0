r"""How much each noise level counts in the loss.

With SNR = alpha^2 / sigma^2 the loss of a sample is

.. math:: w \| F - F^* \|^2 = \tilde w \| \hat x_0 - x_0 \|^2, \quad w = \tilde w \, c_{out}^2,                   (1)

where the paper behind each weighting fixes the weight of the x0 error, and c_out of the parameterization turns it into
the weight of the network's own error. So a weighting means the same for every parameterization.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch

from carrara.shapes import PerSample


@dataclass(frozen=True, kw_only=True)
class Weighting(ABC):
    """Weight of a sample's loss. The object is its own configuration."""

    @abstractmethod
    def __call__(self, half_logsnr: PerSample, out: PerSample) -> PerSample:
        """Returns w of equation (1), (B,), from the half log-SNR and c_out, (B,) each."""


@dataclass(frozen=True, kw_only=True)
class UnitWeighting(Weighting):
    """w = 1: L_simple for eps (Ho et al., 2020, equation 14), the usual loss for v, flow and EDM."""

    kind: Literal["unit"] = "unit"

    def __call__(self, half_logsnr: PerSample, out: PerSample) -> PerSample:
        return torch.ones_like(half_logsnr)


@dataclass(frozen=True, kw_only=True)
class MinSnrWeighting(Weighting):
    """x0 weight min(SNR, gamma) (Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", 2023)."""

    kind: Literal["min_snr"] = "min_snr"
    gamma: float = 5.0

    def __call__(self, half_logsnr: PerSample, out: PerSample) -> PerSample:
        return torch.exp(2 * half_logsnr).clamp(max=self.gamma) * out**2


@dataclass(frozen=True, kw_only=True)
class P2Weighting(Weighting):
    """eps weight (k + SNR)^-gamma (Choi et al., "Perception Prioritized Training of Diffusion Models", 2022)."""

    kind: Literal["p2"] = "p2"
    k: float = 1.0
    gamma: float = 1.0

    def __call__(self, half_logsnr: PerSample, out: PerSample) -> PerSample:
        snr = torch.exp(2 * half_logsnr)
        return snr * (self.k + snr) ** -self.gamma * out**2


@dataclass(frozen=True, kw_only=True)
class SigmoidWeighting(Weighting):
    """eps weight sigmoid(bias - ln SNR) (Kingma and Gao, "Understanding Diffusion Objectives as the ELBO", 2023)."""

    kind: Literal["sigmoid"] = "sigmoid"
    bias: float = 2.0

    def __call__(self, half_logsnr: PerSample, out: PerSample) -> PerSample:
        logsnr = 2 * half_logsnr
        return torch.exp(logsnr) * torch.sigmoid(self.bias - logsnr) * out**2


@dataclass(frozen=True, kw_only=True)
class VelocityWeighting(Weighting):
    r"""x0 weight ((alpha + sigma) / sigma)^2: the error of a rectified flow's velocity, whatever the network answers.

    With x0 it lets a network answer what lies on few dimensions, and still learn what a flow does (Li and He, "Back to
    Basics: Let Denoising Generative Models Denoise", 2025).

    Attributes:
        limit: the largest weight, of the levels next to the data; 400 is that paper's, from sigma = 0.05 on.
    """

    kind: Literal["velocity"] = "velocity"
    limit: float = 400.0

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise ValueError(f"velocity weights have a limit above 0, got {self.limit}")

    def __call__(self, half_logsnr: PerSample, out: PerSample) -> PerSample:
        return (1 + torch.exp(half_logsnr)).square().clamp(max=self.limit) * out**2


AnyWeighting = UnitWeighting | MinSnrWeighting | P2Weighting | SigmoidWeighting | VelocityWeighting
"""The tagged union that recipes hold."""
