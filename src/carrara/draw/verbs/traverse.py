"""``traverse``: single latents of a variational autoencoder, moved from one side to the other."""

from dataclasses import dataclass

from carrara import pixels
from carrara.autoencoder import LayeredVae
from carrara.draw.reconstruct import traverse
from carrara.draw.request import Request
from carrara.draw.verbs.base import DecodedVerb, Plates, Steps
from carrara.draw.verbs.decode import check_decodes
from carrara.draw.verbs.interpolate import MOST_FRAMES
from carrara.errors import UserError
from carrara.store import OpenModel


@dataclass(frozen=True, kw_only=True)
class Traverse(DecodedVerb):
    """Moves single latents of a variational autoencoder from one side to the other.

    Examples:
        carrara edit runs/vae traverse

    Attributes:
        steps: Pictures from one end to the other.
        layer: Whose latents to traverse, from 1 next to the pixels; 0 = the last.
    """

    name = "traverse"
    arguments = ""

    steps: int = 9
    layer: int = 0

    def run(self, opened: OpenModel, request: Request) -> Steps:
        check_decodes(opened, self.name)
        if not 1 <= self.steps <= MOST_FRAMES:
            raise UserError(f"{self.steps} pictures are none, or too many for a strip: take 1 to {MOST_FRAMES}")
        vae = opened.model.first_stage
        if not isinstance(vae, LayeredVae):
            raise UserError("only a variational autoencoder (vae) has single latents to traverse: interpolate instead")
        if not 0 <= self.layer <= len(vae.widths):
            raise UserError(f"there is no layer {self.layer}: this model has the layers 1 to {len(vae.widths)}")
        layer = (self.layer or len(vae.widths)) - 1
        names = [f"z{layer + 1}.{k + 1}" for k in range(vae.widths[layer])]
        picture = pixels.grid(traverse(vae, layer, self.steps), self.steps, row_labels=names)
        return Plates(verb=self, plates=(("traversal", picture),))
        yield
