"""What metrics of sets of pictures look at: a vector for each picture, from a network that always says its name.

A Fréchet or kernel distance means nothing without the network, the size that pictures were brought to, how, and how
many there were; so ``Features.name`` goes wherever such a number goes.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carrara.autoencoder.efficientnet import RESOLUTION, WIDTH, efficientnet_lite0
from carrara.pixels import Pictures

FeatureVectors = Float[Tensor, "B D"]
"""One vector of features per picture."""


class Features(nn.Module, ABC):
    """Pictures to vectors.

    Attributes:
        name: the network, and how pictures are brought to its size.
        width: D, how many numbers describe a picture.
        own_metrics: what is measured by this network alone.
    """

    name: str
    width: int
    own_metrics: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, pixels: Pictures) -> FeatureVectors:
        """Pictures (B, C, H, W) in [-1, 1] to (B, D) float32.

        Raises:
            UserError: the network cannot take such pictures.
        """

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self._tensors()).device

    def fingerprint(self) -> str:
        """Identifies the network: 16 hexadecimal digits over its name and all of its numbers."""
        digest = hashlib.blake2b(self.name.encode(), digest_size=8)
        for tensor in self._tensors():
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _tensors(self) -> Iterator[Tensor]:
        return chain(self.parameters(), self.buffers())


@final
class EfficientNetFeatures(Features):
    """EfficientNet-lite0's pooled features.

    Args:
        size: in pixels, that pictures are brought to. The network was trained at 224; less is faster.

    Raises:
        UserError: the package with the weights is not installed.
    """

    width = WIDTH

    def __init__(self, size: int = RESOLUTION) -> None:
        super().__init__()
        self.network, self.size = efficientnet_lite0(), size
        self.name = f"efficientnet-lite0 (ImageNet) at {size} px, bicubic, antialiased"

    def forward(self, pixels: Pictures) -> FeatureVectors:
        with torch.autocast(pixels.device.type, enabled=False):
            return self.network.pooled(pixels.float(), self.size)


@torch.no_grad()
def extract(features: Features, batches: Iterable[Float[Tensor, "_ C *N"]]) -> Iterator[FeatureVectors]:
    """Features batch by batch, on the CPU; nothing is kept, so that memory stays the same and a caller can count.

    Args:
        features: of whom.
        batches: pictures (B, C, H, W) or sounds (B, C, L) in [-1, 1], on any device.
    """
    device = features.device
    for pixels in batches:
        yield features(pixels.to(device)).cpu()
