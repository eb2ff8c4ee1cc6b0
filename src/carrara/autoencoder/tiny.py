r"""A tiny decoder, for looking on: it makes pictures of latents in a fraction of the full decoder's time.

A convolution costs 4 times as much after each doubling of the size. So the work is done where the latents are, and the
pixels come last. For pictures that are f = p 2^n times as large as their latents z, with kernels K,

.. math:: h = \operatorname{relu}(K_0 * 3 \tanh(z / 3)),                                                          (1)
.. math:: h \leftarrow \operatorname{relu}(h + K_2 * \operatorname{relu}(K_1 * h)),                               (2)
.. math:: \hat x = \operatorname{shuffle}_p(K * h).                                                               (3)

Equation (2) is a block. Each of the n + 1 levels has some; between two levels each pixel is repeated 2 x 2. The latents
are whitened, so few values lie where the tanh bends, and none is so large that a network without normalisation fails.
A decoder of this kind is trained by ``objective.distillation``. The idea is that of TAESD (Ollin Boer Bohan, 2023).
"""

from dataclasses import dataclass
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from carrara.autoencoder.base import FirstStage
from carrara.nn import Upsample, conv3, zeroed
from carrara.pixels import Pictures


@dataclass(frozen=True, kw_only=True)
class TinyDecoderConfig:
    """For a factor of 8 the defaults make about 1 M parameters.

    Attributes:
        channels: width of all layers.
        blocks: of each level.
        patch: the largest p, unless f has a larger odd divisor; 1 ends at full resolution, and is slow.
    """

    kind: Literal["tiny"] = "tiny"
    channels: int = 64
    blocks: int = 6
    patch: int = 4

    def __post_init__(self) -> None:
        if min(self.channels, self.blocks, self.patch) < 1:
            raise ValueError("a tiny decoder's channels, blocks and patch must be 1 or more")

    def build(self, latent_shape: tuple[int, ...], shape: tuple[int, ...]) -> "TinyDecoder":
        """Makes an untrained decoder.

        Args:
            latent_shape: (C, h, w) of model latents.
            shape: (C', f h, f w), what the full decoder makes of them: see ``decoded_shape``.

        Raises:
            ValueError: there is no such f, or the latents are no maps.
        """
        return TinyDecoder(self, latent_shape, shape)


SMALL = TinyDecoderConfig(channels=48, blocks=3)
"""For the full decoders of small pictures: 0.15 M parameters for a factor of 4."""


@final
class TinyDecoder(nn.Module):
    """Equations (1) to (3): model latents (B, C, h, w) to pictures (B, C', f h, f w) in about [-1, 1]."""

    def __init__(self, config: TinyDecoderConfig, latent_shape: tuple[int, ...], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.patch, doublings = _factors(latent_shape, shape, config.patch)
        width = config.channels
        self.inp = conv3(latent_shape[0], width)
        self.levels = nn.ModuleList(
            nn.Sequential(*(_Block(width) for _ in range(config.blocks))) for _ in range(doublings + 1)
        )
        self.enlarge = nn.ModuleList(Upsample(width) for _ in range(doublings))
        self.out = conv3(width, shape[0] * self.patch**2)

    def forward(self, z: Tensor) -> Pictures:
        bounded = 3 * torch.tanh(z / 3)
        h = F.relu(self.inp(bounded.contiguous(memory_format=torch.channels_last)))
        for k, level in enumerate(self.levels):
            h = level(h if k == 0 else self.enlarge[k - 1](h, (2 * h.shape[-2], 2 * h.shape[-1])))
        return F.pixel_shuffle(self.out(h), self.patch).float()


class _Block(nn.Module):
    """Equation (2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv3(width, width), zeroed(conv3(width, width))

    def forward(self, h: Tensor) -> Tensor:
        return F.relu(h + self.conv2(F.relu(self.conv1(h))))


@torch.no_grad()
def decoded_shape(first_stage: FirstStage, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a first stage's decoder makes of the latents of pictures of ``shape``, padding included."""
    device = next(first_stage.parameters(), torch.zeros(())).device
    return tuple(first_stage.decode(torch.zeros(1, *first_stage.latent_shape(shape), device=device)).shape[1:])


def _factors(latent_shape: tuple[int, ...], shape: tuple[int, ...], patch: int) -> tuple[int, int]:
    """p and n."""
    if len(latent_shape) != 3 or len(shape) != 3:
        raise ValueError(f"a tiny decoder makes pictures of maps of latents, not {shape} of {latent_shape}")
    factor = shape[1] // latent_shape[1]
    if factor < 1 or any(factor * small != large for small, large in zip(latent_shape[1:], shape[1:], strict=True)):
        raise ValueError(
            f"pictures of {shape[1:]} are not a whole number of times as large as latents of {latent_shape[1:]}"
        )
    doublings = 0
    while factor > patch and factor % 2 == 0:
        factor, doublings = factor // 2, doublings + 1
    return factor, doublings
