"""``reconstruct``: pictures through a trained autoencoder."""

from dataclasses import dataclass

from PIL import Image

from carrara import pixels
from carrara.draw.reconstruct import compared, reconstruct
from carrara.draw.request import Request
from carrara.draw.verbs.base import DecodedVerb, Plates, Steps
from carrara.draw.verbs.decode import check_decodes, encodable
from carrara.medium import Picture
from carrara.store import OpenModel

_EXAMPLES = 24
"""Held-out pictures that stand in where none are named."""


@dataclass(frozen=True, kw_only=True)
class Reconstruct(DecodedVerb):
    """Sends pictures through a trained autoencoder.

    Examples:
        carrara edit runs/photos reconstruct
        carrara edit runs/photos reconstruct a.png b.png

    Attributes:
        images: Pictures; held-out ones of the run's own data, if not given.
    """

    name = "reconstruct"
    arguments = "[PICTURE ...]"

    images: tuple[Picture, ...]

    def run(self, opened: OpenModel, request: Request) -> Steps:
        check_decodes(opened, self.name)
        plates = [(image.name, _reconstructed(opened, image)) for image in self.images]
        if not plates:
            plates = [("reconstruction", compared(opened.model, opened.examples(_EXAMPLES)))]
        return Plates(verb=self, plates=tuple(plates))
        yield


def _reconstructed(opened: OpenModel, image: Picture) -> Image.Image:
    again = reconstruct(opened.model, encodable(opened, image, resized=False))
    return pixels.to_image(pixels.to_uint8(again)[0])
