"""``map``: maps of flat colours painted over by a model that was trained to."""

from dataclasses import dataclass

import numpy as np
import torch

from carrara import pixels
from carrara.conditioning import LayoutMap
from carrara.data import Transform, numbered
from carrara.draw.drawing import Drawing, open_drawing
from carrara.draw.generate import follow
from carrara.draw.image_input import paint
from carrara.draw.request import Request
from carrara.draw.verbs.base import Edited, RowSteps, SheetRow, Steps, Verb, check_named, untrained
from carrara.errors import UserError
from carrara.medium import Picture
from carrara.store import OpenModel


@dataclass(frozen=True, kw_only=True)
class Map(Verb):
    """Paints over maps of flat colours, by a model that was trained to: 'carrara train DATA --preset segmentation'.

    Examples:
        carrara edit runs/segmentation map layout.png -n 6

    Attributes:
        images: Maps; each colour is taken for the nearest one of the training's. They are brought to the model's own
            size, or to the one asked for.
    """

    name = "map"
    arguments = "MAP ..."

    images: tuple[Picture, ...]

    def run(self, opened: OpenModel, request: Request) -> Steps:
        asked, rows = open_drawing(opened, request), list[SheetRow]()
        layout = asked.model.image
        if layout is None or layout.kind != "map":
            raise untrained(opened, "to paint over maps", "segmentation")
        check_named(self.images, self, "paints over maps")
        for image in self.images:
            rows.append((yield from _paint(asked, layout, image)))
        return Edited(verb=self, request=request, rows=tuple(rows), before=("map",))


def _paint(asked: Drawing, layout: LayoutMap, image: Picture) -> RowSteps:
    """A map's colours are taken for the nearest of those that the model knows."""
    size, colours = asked.own_size, image.pixels
    asked.model.latents_of(size)  # refuses what is too large before it is drawn
    if colours.dtype != np.uint8 or colours.shape[2] not in (1, 3, 4):
        raise UserError(f"'{image.path}' is no map: paint it in flat colours, with 8 bits, and save it as PNG")
    numbers = numbered(pixels.with_channels(colours, 3), layout.colours)
    column = torch.from_numpy(Transform(size=size, channels=1).prepare_map(numbers)[None, ..., 0].copy())
    results = yield from follow(paint(asked, layout, column))
    return SheetRow(name=image.name, before=layout.painted(column, results.shape[1]), results=results)
