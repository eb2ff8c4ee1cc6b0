r"""The two first stages of latent diffusion (Rombach et al., 2022, section 3.1): how their latents are kept in bounds.

``Kl``: the encoder gives a mean and a variance of each latent, and pays a little for what they say,

.. math:: D_{KL}(N(\mu, \sigma^2) \| N(0, 1)) = \tfrac{1}{2} (\mu^2 + \sigma^2 - 1 - \ln \sigma^2).               (1)

``Vq``: each latent vector is replaced by one of K codes. The replacement belongs to the decoder, so what is cached and
diffused are the vectors before it.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, final

import torch
from torch import Tensor

from carrara.autoencoder import bands
from carrara.autoencoder.base import LearnedStage
from carrara.autoencoder.codebook import Codebook, perplexity, usage
from carrara.autoencoder.convolutional import ConvolutionalConfig, Decoder, Encoder
from carrara.nn import conv1
from carrara.seeds import Draws
from carrara.shapes import PerSample, Signals, cropped, spatial_of

EXPLODING, COLLAPSED, DEAD = 500.0, 0.02, 0.01
"""Nats per latent, part of the codes, part of the loudest channel's standard deviation: beyond them a run is ill."""


@dataclass(frozen=True)
class Reconstruction:
    """What an autoencoder makes of pictures while it trains.

    Attributes:
        pixels: (B, C, *N).
        z: (B, C', *n) the latents, as the decoder got them or before quantization.
        penalty: (B,) what keeps the latents in bounds, per value of the picture: equation (1), or the commitment.
        logs: numbers to watch.
    """

    pixels: Signals
    z: Tensor
    penalty: PerSample
    logs: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


class ConvolutionalStage(LearnedStage):
    """An encoder and a decoder of pictures. Abstract in what keeps the latents in bounds.

    Attributes:
        weight: what the penalty counts unless told otherwise.
    """

    weight: float

    def __init__(self, config: ConvolutionalConfig, shape: tuple[int, ...], features: int) -> None:
        super().__init__(config.latent_channels)
        channels, spatial = config.checked(shape), spatial_of(shape)
        self.encoder = Encoder(config, channels, features, spatial=spatial)
        self.to_raw = conv1(features, features, spatial=spatial)
        self.from_latent = conv1(config.latent_channels, config.latent_channels, spatial=spatial)
        self.decoder = Decoder(config, channels, config.latent_channels, spatial=spatial)

    @property
    def factor(self) -> int:
        return self.encoder.factor

    @property
    def last_layer(self) -> Tensor:
        """The weights nearest to the pixels, where losses are weighed against each other."""
        return self.decoder.out.weight

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (len(self.mean), *(-(-edge // self.factor) for edge in shape[1:]))

    def encode_raw(self, pixels: Signals) -> Tensor:
        encode = partial(bands.encode_in_bands, self.encoder) if self._large(pixels.shape[2:]) else self.encoder
        return self.to_raw(encode(pixels)).float()

    @abstractmethod
    def reconstruct(self, pixels: Signals, draws: Draws) -> Reconstruction:
        """Encodes and decodes, with everything that training needs."""

    @abstractmethod
    def learn(self, z: Tensor, draws: Draws) -> Mapping[str, Tensor]:
        """Learns what no gradient teaches, from a training step's latents on all ranks; returns what is worth
        watching."""

    def _large(self, size: Sequence[int]) -> bool:
        """Whether pictures of a size are encoded and decoded in bands, which gives the same."""
        return bands.wanted(self.encoder.inp.out_channels, *(edge // self.encoder.patch for edge in size))

    def _decode(self, z: Tensor, like: Tensor | None = None) -> Tensor:
        """The decoder's picture, cut to the size of ``like``: what was padded goes."""
        edges = [self.factor * edge for edge in z.shape[2:]]
        decode = partial(bands.decode_in_bands, self.decoder) if self._large(edges) else self.decoder
        pixels = decode(self.from_latent(z)).float()
        return pixels if like is None else cropped(pixels, like.shape[2:])


@dataclass(frozen=True, kw_only=True)
class KlConfig(ConvolutionalConfig):
    """A KL autoencoder; the defaults are Stable Diffusion v1's."""

    kind: Literal["kl"] = "kl"

    def build(self, shape: tuple[int, ...]) -> "Kl":
        """Makes the stage for pictures of ``shape``."""
        return Kl(self, shape)


@final
class Kl(ConvolutionalStage):
    """See the module's head. Raw latents are the means and log-variances, (B, 2 C, *n)."""

    weight = 1e-6

    def __init__(self, config: KlConfig, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape, 2 * config.latent_channels)

    def sample(self, raw: Tensor, draws: Draws | None) -> Tensor:
        mean, log_variance = _posterior(raw)
        if draws is None:
            return mean
        return mean + torch.exp(0.5 * log_variance) * draws.normal("posterior", *mean.shape[1:])

    def render(self, z: Tensor) -> Tensor:
        return self._decode(z)

    def reconstruct(self, pixels: Signals, draws: Draws) -> Reconstruction:
        raw = self.encode_raw(pixels)
        mean, log_variance = _posterior(raw)
        z = self.sample(raw, draws)
        nats = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1)
        return Reconstruction(
            pixels=self._decode(z, pixels),
            z=z,
            penalty=nats / pixels[0].numel(),
            logs={"kl": nats.detach() / z[0].numel()},
        )

    def learn(self, z: Tensor, draws: Draws) -> Mapping[str, Tensor]:
        return {}

    def diagnose(self, logs: Mapping[str, float]) -> list[str]:
        if (nats := logs.get("kl", 0.0)) < EXPLODING:
            return _dead(logs)
        text = f"each latent costs {nats:.0f} nats: the KL explodes; raise objective.penalty (1e-5, say)"
        return [text, *_dead(logs)]


@dataclass(frozen=True, kw_only=True)
class VqConfig(ConvolutionalConfig):
    """A VQ autoencoder.

    Attributes:
        codes: K.
        decay: of the codes' moving average.
    """

    kind: Literal["vq"] = "vq"
    codes: int = 8192
    decay: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.codes < 2 or not 0 <= self.decay < 1:
            raise ValueError(f"take 2 codes or more and a decay in [0, 1), not {self.codes} and {self.decay}")

    def build(self, shape: tuple[int, ...]) -> "Vq":
        """Makes the stage for pictures of ``shape``."""
        return Vq(self, shape)


@final
class Vq(ConvolutionalStage):
    """See the module's head. Raw latents are the vectors before quantization, (B, C, *n)."""

    weight = 0.25

    def __init__(self, config: VqConfig, shape: tuple[int, ...]) -> None:
        super().__init__(config, shape, config.latent_channels)
        self.codebook = Codebook(config.codes, config.latent_channels, config.decay)

    def sample(self, raw: Tensor, draws: Draws | None) -> Tensor:
        return raw

    def render(self, z: Tensor) -> Tensor:
        return self._decode(self.codebook.quantized(z, self.codebook.nearest(z)))

    def reconstruct(self, pixels: Signals, draws: Draws) -> Reconstruction:
        z = self.encode_raw(pixels)
        indices = self.codebook.nearest(z)
        return Reconstruction(
            pixels=self._decode(self.codebook.quantized(z, indices), pixels),
            z=z,
            penalty=(z - self.codebook.lookup(indices)).square().flatten(1).mean(1),
            logs={},
        )

    def code_counts(self, raw: Tensor) -> Tensor:
        return torch.bincount(self.codebook.nearest(raw).flatten(), minlength=len(self.codebook))

    def learn(self, z: Tensor, draws: Draws) -> Mapping[str, Tensor]:
        chosen, size = self.codebook.learn(z, self.codebook.nearest(z), draws), len(self.codebook)
        return {"perplexity": perplexity(chosen, size), "usage": torch.tensor(usage(chosen, size))}

    def diagnose(self, logs: Mapping[str, float]) -> list[str]:
        if (used := logs.get("usage", 1.0)) > COLLAPSED:
            return _dead(logs)
        return [
            f"a batch uses {used:.1%} of the codes: the codebook collapses; take fewer codes (first_stage.codes), or a "
            "lower train.lr",
            *_dead(logs),
        ]


def _posterior(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance, each (B, C, *n); the bounds keep the exponential finite in float32."""
    mean, log_variance = raw.chunk(2, dim=1)
    return mean, log_variance.clamp(-30, 20)


def _dead(logs: Mapping[str, float]) -> list[str]:
    if logs.get("quietest", 1.0) >= DEAD:
        return []
    return ["a latent channel says nothing (its values hardly differ): lower objective.penalty, or take fewer channels"]
