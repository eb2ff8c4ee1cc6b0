"""What metrics of sets of pictures look at: a vector for each picture, from a network that always says its name.

A Fréchet or kernel distance means nothing without the network, the size that pictures were brought to, how, and how
many there were; so ``Features.name`` goes wherever such a number goes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carrara.autoencoder.efficientnet import RESOLUTION, WIDTH, efficientnet_lite0
from carrara.errors import unknown
from carrara.pixels import Pictures

Vectors = Float[Tensor, "B D"]
"""One vector of features per picture."""


class Features(nn.Module, ABC):
    """Pictures to vectors.

    Attributes:
        name: the network, and how pictures are brought to its size.
        width: D, how many numbers describe a picture.
    """

    name: str
    width: int

    @abstractmethod
    def forward(self, pixels: Pictures) -> Vectors:
        """Pictures (B, C, H, W) in [-1, 1] to (B, D) float32.

        Raises:
            UserError: the network cannot take such pictures.
        """


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

    def forward(self, pixels: Pictures) -> Vectors:
        with torch.autocast(pixels.device.type, enabled=False):
            return self.network.pooled(pixels.float(), self.size)


_NETWORKS = {"efficientnet-lite0": EfficientNetFeatures}


def extractor(name: str = "efficientnet-lite0", size: int = RESOLUTION) -> Features:
    """Makes the features of this name.

    Args:
        name: of the network.
        size: in pixels, that pictures are brought to.

    Raises:
        UserError: no such network, or its weights are not there.
    """
    if name not in _NETWORKS:
        raise unknown("features", name, _NETWORKS)
    return _NETWORKS[name](size)


@torch.no_grad()
def extract(features: Features, batches: Iterable[Float[Tensor, "_ C H W"]]) -> Iterator[Vectors]:
    """Features batch by batch, on the CPU; nothing is kept, so that memory stays the same and a caller can count.

    Args:
        features: of whom.
        batches: pictures (B, C, H, W) in [-1, 1], on any device.
    """
    device = next(features.buffers()).device
    for pixels in batches:
        yield features(pixels.to(device)).cpu()
