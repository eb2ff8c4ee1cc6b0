"""``inpaint``: a part of a picture made new."""

from dataclasses import dataclass

import numpy as np
import torch

from carrara import pixels
from carrara.data import Transform
from carrara.draw.drawing import open_drawing
from carrara.draw.edit import Mask, check_mask, size_of
from carrara.draw.request import Request
from carrara.draw.verbs.base import Edited, SheetRow, Steps
from carrara.draw.verbs.holes import GREY, Holes, whole_numbers
from carrara.errors import UserError, option
from carrara.medium import Picture, Size
from carrara.pixels import Pixels
from carrara.store import OpenModel


@dataclass(frozen=True, kw_only=True)
class Inpaint(Holes):
    """Makes a part of a picture new, and keeps the rest of it (RePaint).

    Examples:
        carrara edit openmoji inpaint face.png --mask mask.png --prompt "face with sunglasses"
        carrara edit runs/photos inpaint a.png --box 10,20,30,16 --size 64 --resamplings 20

    Attributes:
        image: The picture; it keeps its size, unless it is brought to another.
        mask: A picture of the same size: white where something new is made. One of a single colour counts where it is
            opaque.
        box: The part that is made new as x,y,w,h, in the place of a mask: left, top, width and height in pixels.
    """

    name = "inpaint"
    arguments = f"PICTURE {option('mask', 'PICTURE')}"

    image: Picture
    mask: Picture | None = None
    box: str | None = None

    def run(self, opened: OpenModel, request: Request) -> Steps:
        asked = open_drawing(opened, request)
        before = asked.brought(self.image)
        new = self._mask(request.pixel_size)
        check_mask(new, size_of(before))
        verb = self.completed(asked, size_of(before))
        results = yield from verb.draw(asked, before, new)
        shown = torch.cat([before, before.masked_fill(new, GREY)])
        row = SheetRow(name=self.image.name, before=shown, results=results)
        return Edited(verb=verb, request=request, rows=(row,), before=("input", "kept"))

    def _mask(self, size: Size | None) -> Mask:
        """The mask of the picture, or brought to ``size`` as the picture is."""
        if (self.mask is None) == (self.box is None):
            ways = f"by {option('mask', 'PICTURE')} or by {option('box', 'x,y,w,h')}"
            raise UserError(f"what shall be made new? say it {ways}, and by one of them only")
        own = self.image.size
        values = _boxed(str(self.box), own) if self.mask is None else read_mask(self.mask)
        check_mask(torch.from_numpy(values[..., 0] > 127), own)
        if size is not None:
            values = Transform(size=size, channels=1).prepare(values)
        return torch.from_numpy(values[..., 0] > 127)


def read_mask(picture: Picture) -> Pixels:
    """A mask from a picture: (H, W, 1) uint8, 255 where something new is made.

    White counts, as far as it is opaque. If all of the picture is of one colour, its transparency is the mask: what is
    opaque is made new.

    Raises:
        UserError: it is no picture.
    """
    array = picture.pixels
    opacity = array[..., 3:].astype(np.float64) if array.shape[-1] == 4 else None
    try:
        bright = pixels.with_channels(array[..., :3] if opacity is not None else array, 1)
    except ValueError as error:
        raise UserError(f"'{picture.path}' cannot be a mask: {error}") from None
    top = pixels.largest(array.dtype)
    white = bright / top if opacity is None else _opaque(array, bright, opacity, top)
    return np.where(white >= 0.5, 255, 0).astype(np.uint8)


def _opaque(array: Pixels, bright: Pixels, opacity: Pixels, top: float) -> Pixels:
    plain = bool((array[..., :3] == array[0, 0, :3]).all())
    return opacity / top if plain else bright / top * opacity / top


def _boxed(box: str, size: Size) -> Pixels:
    x, y, w, h = whole_numbers(box, "box", "x,y,w,h")
    if min(w, h) < 1 or min(x, y) < 0 or x + w > size[1] or y + h > size[0]:
        raise UserError(
            f"the box {box} (x,y,w,h) is not within the picture, which is {size[1]} wide and {size[0]} high"
        )
    values = np.zeros((*size, 1), np.uint8)
    values[y : y + h, x : x + w] = 255
    return values
