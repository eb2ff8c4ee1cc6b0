r"""A tiny decoder, for looking on: it makes pictures of latents in a fraction of the full decoder's time.

A convolution costs 4 times as much after each doubling of the size, so most of the work is done where the latents are,
and each doubling halves the width or so. For pictures that are f = p 2^n times as large as their latents z, with
kernels K,

.. math:: h = \operatorname{relu}(K_0 * 3 \tanh(z / 3)),                                                          (1)
.. math:: h \leftarrow \operatorname{relu}(h + K_2 * \operatorname{relu}(K_1 * h)),                               (2)
.. math:: h \leftarrow \operatorname{relu}(\operatorname{shuffle}_2(K * h)),                                      (3)
.. math:: \hat x = \operatorname{shuffle}_p(K * h).                                                               (4)

Equation (2) is a block. Each of the n + 1 levels has some; (3) leads from a level to the next. The latents are
whitened, so few values lie where the tanh bends, and none is so large that a network without normalisation fails. A
decoder of this kind is trained by ``objective.distillation``. The idea is that of TAESD (Ollin Boer Bohan, 2023);
(3) computes at the smaller size what TAESD computes at the larger one.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from carrara.autoencoder.base import FirstStage
from carrara.nn import DEEPEST, WIDEST, conv3, unfolded, zeroed
from carrara.shapes import Signals, spatial_of


@dataclass(frozen=True, kw_only=True)
class TinyDecoderConfig:
    """For a factor of 8 the defaults make about 1 M parameters.

    Attributes:
        widths: of the layers at the size of the latents, at twice their size, and so on, as far as f has factors of 2.
        blocks: of each of these levels.
    """

    kind: Literal["tiny"] = "tiny"
    widths: tuple[int, ...] = (96, 64, 32)
    blocks: tuple[int, ...] = (3, 3, 1)

    def __post_init__(self) -> None:
        if not self.widths or len(self.widths) != len(self.blocks):
            raise ValueError("a tiny decoder has as many widths as numbers of blocks, one or more")
        if max(self.widths) > WIDEST or max(*self.blocks, len(self.blocks)) > DEEPEST:
            raise ValueError(f"a tiny decoder's widths are at most {WIDEST}, and its levels and blocks {DEEPEST}")
        if min(self.widths) < 1 or min(self.blocks) < 0:
            raise ValueError("a tiny decoder's widths must be 1 or more, and its blocks 0 or more")

    def build(self, latent_shape: tuple[int, ...], shape: tuple[int, ...]) -> "TinyDecoder":
        """Makes an untrained decoder.

        Args:
            latent_shape: (C, *n) of model latents.
            shape: (C', *f n), what the full decoder makes of them: see ``decoded_shape``.

        Raises:
            ValueError: there is no such f, or the latents are no maps.
        """
        return TinyDecoder(self, latent_shape, shape)


SMALL = TinyDecoderConfig(widths=(64, 32), blocks=(2, 1))
"""For the full decoders of small pictures: 0.25 M parameters for a factor of 4."""

_ORDERS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d}
"""How maps of each number of axes lie in memory."""


@final
class TinyDecoder(nn.Module):
    """Equations (1) to (4): model latents (B, C, *n) to pictures (B, C', *f n) in about [-1, 1]."""

    def __init__(self, config: TinyDecoderConfig, latent_shape: tuple[int, ...], shape: tuple[int, ...]) -> None:
        super().__init__()
        factor, spatial = _factor(latent_shape, shape), spatial_of(shape)
        doublings = min(len(config.widths) - 1, (factor & -factor).bit_length() - 1)
        self.patch = factor >> doublings
        widths, blocks = config.widths[: doublings + 1], config.blocks[: doublings + 1]
        self.inp = conv3(latent_shape[0], widths[0], spatial=spatial)
        self.levels = nn.ModuleList(
            nn.Sequential(*(_Block(w, spatial) for _ in range(n))) for w, n in zip(widths, blocks, strict=True)
        )
        self.enlarge = nn.ModuleList(
            conv3(small, 2**spatial * large, spatial=spatial) for small, large in pairwise(widths)
        )
        self.out = conv3(widths[-1], shape[0] * self.patch**spatial, spatial=spatial)
        self.order = _ORDERS[spatial]
        self.to(memory_format=self.order)  # pyright: ignore[reportCallIssue]: torch has it, its stubs do not

    def forward(self, z: Signals) -> Tensor:
        bounded = 3 * torch.tanh(z / 3)
        h = F.relu(self.inp(bounded.contiguous(memory_format=self.order)))
        for k, level in enumerate(self.levels):
            if k:
                h = unfolded(self.enlarge[k - 1](h), 2)
                h = F.relu(h.contiguous(memory_format=self.order))
            h = level(h)
        return unfolded(self.out(h), self.patch).float()


class _Block(nn.Module):
    """Equation (2)."""

    def __init__(self, width: int, spatial: int) -> None:
        super().__init__()
        self.conv1 = conv3(width, width, spatial=spatial)
        self.conv2 = zeroed(conv3(width, width, spatial=spatial))

    def forward(self, h: Tensor) -> Tensor:
        return F.relu(h + self.conv2(F.relu(self.conv1(h))))


@torch.no_grad()
def decoded_shape(first_stage: FirstStage, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a first stage's decoder makes of the latents of pictures of ``shape``, padding included."""
    device = next(first_stage.parameters(), torch.zeros(())).device
    return tuple(first_stage.decode(torch.zeros(1, *first_stage.latent_shape(shape), device=device)).shape[1:])


def _factor(latent_shape: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """f."""
    if len(latent_shape) != len(shape) or spatial_of(shape) not in _ORDERS:
        raise ValueError(f"a tiny decoder makes pictures of maps of latents, not {shape} of {latent_shape}")
    factor = shape[1] // latent_shape[1]
    if factor < 1 or any(factor * small != large for small, large in zip(latent_shape[1:], shape[1:], strict=True)):
        raise ValueError(
            f"pictures of {shape[1:]} are not a whole number of times as large as latents of {latent_shape[1:]}"
        )
    return factor
