"""Reconstruction: each metric against an independent one, and moved the right way by damage; the report of each stage."""

import json
from collections.abc import Iterator
from typing import final

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from carrara.autoencoder import FirstStage, IdentityConfig, KlConfig, Perceptual, VaeConfig, VqConfig
from carrara.errors import UserError
from carrara.evaluate import Features, ReconstructionReport, active_channels, psnr, reconstruction, ssim
from carrara.seeds import Draws, torch_generator
from carrara.types import Batch


@final
class Coarse(Features):
    """Features of which everything is known: the picture, made small."""

    name, width = "4x4 means", 16

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("nothing", torch.zeros(()), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(pixels.mean(1, keepdim=True), 4).flatten(1)


@final
class Plain(Perceptual):
    """The pixels themselves."""

    name = "pixels"

    def maps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return (pixels + 2,)

    def weights(self, stages: int) -> list[float]:
        return [1.0]


@final
class Damaging(FirstStage):
    """Latents are pixels; decoding spoils them, and adds what padding would."""

    def __init__(self, blur: int = 1, noise: float = 0.0) -> None:
        super().__init__()
        self.blur, self.noise = blur, noise

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape

    def encode_raw(self, pixels: Tensor) -> Tensor:
        return F.pad(pixels, (0, 3, 0, 2))

    def latents(self, raw: Tensor, draws: Draws | None) -> Tensor:
        return raw

    def decode(self, z: Tensor) -> Tensor:
        noise = Draws(7, torch.arange(len(z))).normal("damage", *z.shape[1:])
        return F.avg_pool2d(z, self.blur, 1, self.blur // 2, count_include_pad=False) + self.noise * noise


def pictures(count: int = 12, channels: int = 3, size: int = 32) -> Tensor:
    coarse = Draws(1, torch.arange(count)).normal("x", channels, size // 4, size // 4)
    return F.interpolate(coarse, (size, size), mode="bicubic").tanh()


def batches(x: Tensor, size: int = 5) -> Iterator[Batch]:
    yield from Batch(x=x, position=torch.arange(len(x))).split(size)


def report(stage: FirstStage, x: Tensor | None = None, size: int = 5) -> ReconstructionReport:
    x = pictures() if x is None else x
    return reconstruction(stage, batches(x, size), Plain(), Coarse())


def slow_ssim(v: np.ndarray, w: np.ndarray, edge: int) -> float:
    """Of one channel of values 0 .. 255, window by window."""
    places = np.arange(edge) - edge // 2
    window = np.exp(-(places[:, None] ** 2 + places**2) / (2 * 1.5**2))
    window /= window.sum()
    found = []
    for i in range(v.shape[0] - edge + 1):
        for j in range(v.shape[1] - edge + 1):
            a, b = v[i : i + edge, j : j + edge], w[i : i + edge, j : j + edge]
            m, n = (window * a).sum(), (window * b).sum()
            va, vb, cov = (window * (p * q)).sum, (window * (b - n) ** 2).sum(), (window * (a - m) * (b - n)).sum()
            found.append((m, n, va, vb, cov))
    return float(np.mean(found))
