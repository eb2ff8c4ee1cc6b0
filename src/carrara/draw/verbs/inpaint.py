"""``inpaint``: a part of a picture made new."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from carrara import pixels
from carrara.data import Transform
from carrara.draw.drawing import Drawing, open_drawing
from carrara.draw.edit import Mask, check_mask, size_of
from carrara.draw.request import Request
from carrara.draw.verbs.base import Edited, SheetRow, Steps
from carrara.draw.verbs.holes import GREY, Holes, two_numbers, whole_numbers
from carrara.errors import UserError, option
from carrara.medium import Picture, PictureMedium, Size
from carrara.model import Model
from carrara.pixels import Pixels
from carrara.store import OpenModel


@dataclass(frozen=True, kw_only=True)
class Inpaint(Holes):
    """Makes a part of a picture new, and keeps the rest of it (RePaint).

    Examples:
        carrara edit openmoji inpaint face.png --mask mask.png --prompt "face with sunglasses"
        carrara edit runs/photos inpaint a.png --box 10,20,30,16 --size 64 --resamplings 20
        carrara edit runs/chorales inpaint melody.mid --channels alto,tenor,bass
        carrara edit runs/sound inpaint bell.wav --span 0.2,0.5

    Attributes:
        image: The picture, or a file of what else the model makes; it keeps its size, unless it is brought to another.
        mask: A picture of the same size: white where something new is made. One of a single colour counts where it is
            opaque.
        box: The part that is made new as x,y,w,h, in the place of a mask: left, top, width and height in pixels.
        span: The part of time that is made new as begin,end: in seconds of sounds, in bars of music, and in places of
            all else along their first axis.
        channels: The voices of music that are made new, as alto,tenor,bass, or channels by their numbers from 1 on.
    """

    name = "inpaint"
    arguments = f"PICTURE {option('mask', 'PICTURE')}"

    image: Picture
    mask: Picture | None = None
    box: str | None = None
    span: str | None = None
    channels: str | None = None

    def run(self, opened: OpenModel, request: Request) -> Steps:
        asked = open_drawing(opened, request)
        before = asked.brought(self.image)
        new = self._mask(asked, before)
        check_mask(new, size_of(before))
        verb = self.completed(asked, size_of(before))
        results = yield from verb.draw(asked, before, new)
        shown = torch.cat([before, before.masked_fill(new, GREY)])
        row = SheetRow(name=self.image.name, before=shown, results=results)
        medium = asked.model.medium
        if not isinstance(medium, PictureMedium):
            return Edited(verb=verb, request=request, rows=(replace(row, before=before),), medium=medium)
        return Edited(verb=verb, request=request, rows=(row,), before=("input", "kept"))

    def _mask(self, asked: Drawing, before: Tensor) -> Mask:
        """The mask of what is given, (1, C, *N)."""
        parts = (self.span, self.channels) != (None, None)
        if not isinstance(asked.model.medium, PictureMedium) and not parts:
            ways = f"by {option('span', 'begin,end')} or by {option('channels', '1,2')}, or by both"
            raise UserError(f"what shall be made new? say it {ways}")
        if parts:
            return self._part(asked.model, before)
        return self._of_picture(asked.request.pixel_size)

    def _part(self, model: Model, before: Tensor) -> Mask:
        """(*N), or (C, *N): a part of time, or some channels, or these there."""
        if self.mask is not None or self.box is not None:
            raise UserError("a mask or a box says all that is made new: leave the span and the channels out")
        medium, mask = model.medium, torch.ones(size_of(before), dtype=torch.bool)
        if self.span is not None:
            unit, what = medium.unit(self.image)
            begin, end = (round(one * unit) for one in two_numbers(self.span))
            if not 0 <= begin < end <= len(mask):
                last = f"{len(mask) / unit:g}"
                raise UserError(f"the span {self.span} is none: there are {what} 0 to {last}, and its end comes last")
            mask[:begin], mask[end:] = False, False
        if self.channels is None:
            return mask
        new = torch.zeros(before.shape[1:], dtype=torch.bool)
        new[medium.channels(self.channels, model.shape)] = mask
        return new

    def _of_picture(self, size: Size | None) -> Mask:
        """The mask of a picture, or brought to ``size`` as the picture is."""
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
