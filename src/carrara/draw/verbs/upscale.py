"""``upscale``: pictures enlarged by a model that was trained to."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from carrara.conditioning import Lowres
from carrara.draw.drawing import Drawing, open_drawing
from carrara.draw.edit import size_of
from carrara.draw.generate import follow
from carrara.draw.image_input import upscale
from carrara.draw.request import Request
from carrara.draw.verbs.base import Edited, RowSteps, SheetRow, Steps, Verb, check_named, untrained
from carrara.errors import UserError
from carrara.medium import Picture
from carrara.store import OpenModel


@dataclass(frozen=True, kw_only=True)
class Upscale(Verb):
    """Enlarges pictures, by a model that was trained to: 'carrara train DATA --preset upscale-x4'.

    Examples:
        carrara edit runs/upscale upscale small.png
        carrara edit runs/upscale upscale old.jpg --noise 0.1 -n 2

    Attributes:
        images: Pictures of any size, or brought to the one asked for before.
        noise: How much noise hides the flaws of bad pictures, 0 to 1.
    """

    name = "upscale"
    arguments = "PICTURE ..."

    images: tuple[Picture, ...]
    noise: float = 0.0

    def run(self, opened: OpenModel, request: Request) -> Steps:
        asked, rows = open_drawing(opened, request), list[SheetRow]()
        lowres = asked.model.image
        if lowres is None or lowres.kind != "lowres":
            raise untrained(opened, "to enlarge pictures", "upscale-x4")
        check_named(self.images, self, "enlarges pictures")
        if not 0 <= self.noise < 1:
            raise UserError(f"noise {self.noise:g} is none: it goes from 0 to below 1, and 0.1 hides small flaws")
        for image in self.images:
            rows.append((yield from self._enlarge(asked, lowres, image)))
        return Edited(verb=self, request=request, rows=tuple(rows), before=("pixels", "bicubic"))

    def _enlarge(self, asked: Drawing, lowres: Lowres, image: Picture) -> RowSteps:
        low = asked.brought(image, lowres.factor)
        size = tuple(lowres.factor * edge for edge in size_of(low))
        results = yield from follow(upscale(asked, lowres, low, self.noise))
        smooth = F.interpolate(low, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
        return SheetRow(name=image.name, before=torch.cat([F.interpolate(low, size), smooth]), results=results)
