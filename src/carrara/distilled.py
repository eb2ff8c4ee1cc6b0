"""A small decoder that was distilled from a first stage's, as a model of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, final

from pydantic import ConfigDict
from torch import Tensor

from carrara.autoencoder import TinyDecoderConfig
from carrara.kinds import SHAPE
from carrara.saved import Saved


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Everything needed to build a decoder that was distilled from a first stage's.

    Attributes:
        shape: of what it makes, (C, H, W), padding included.
        latent_shape: of model latents, (C', h, w).
        teacher: the digest of the first stage that it learned from, which it belongs to.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: Literal["decoder"] = "decoder"
    shape: Annotated[tuple[int, ...], SHAPE]
    latent_shape: Annotated[tuple[int, ...], SHAPE]
    decoder: TinyDecoderConfig
    teacher: str


@final
class DistilledDecoder(Saved):
    """A small decoder that makes what a first stage's decoder makes, sooner."""

    def __init__(self, config: DecoderConfig, about: Mapping[str, Any] | None = None) -> None:
        super().__init__(about)
        self._config = config
        self.shape, self.latent_shape = config.shape, config.latent_shape
        self.decoder = config.decoder.build(config.latent_shape, config.shape)

    @property
    def config(self) -> DecoderConfig:
        return self._config

    def purpose(self, path: Path) -> str:
        return "a distilled decoder, which is used through the run above it: name that one"

    def forward(self, z: Tensor) -> Tensor:
        """Model latents (B, C', h, w) to pixels (B, C, H, W)."""
        return self.decoder(z)
