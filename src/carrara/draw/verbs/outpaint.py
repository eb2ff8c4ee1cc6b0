"""``outpaint``: what is around a picture."""

from dataclasses import dataclass, replace

from carrara.draw.drawing import open_drawing
from carrara.draw.edit import placed, size_of
from carrara.draw.request import Request
from carrara.draw.verbs.base import Edited, SheetRow, Steps
from carrara.draw.verbs.holes import GREY, Holes, two_numbers, whole_numbers
from carrara.errors import UserError, option
from carrara.medium import Medium, Picture, PictureMedium, Size, read_size, suited
from carrara.shapes import by
from carrara.store import OpenModel


@dataclass(frozen=True, kw_only=True)
class Outpaint(Holes):
    """Draws what is around a picture.

    Examples:
        carrara edit runs/photos outpaint a.png --canvas 64x128 --tile 64
        carrara edit openmoji outpaint rocket.png --size 64 --margins 0,32,0,0 --prompt "rocket"
        carrara edit runs/chorales outpaint phrase.mid --margins 0,4

    Attributes:
        image: The picture, or a file of what else the model makes; it keeps its size, unless it is brought to another.
        canvas: Height x width of the result, with the picture in its middle; of sounds and music the length, and they
            go on at their end.
        margins: How much to add, in the place of a canvas: as top,right,bottom,left in pixels; of sounds and music as
            before,after in seconds or bars.
    """

    name = "outpaint"
    arguments = f"PICTURE {option('canvas', 'HEIGHTxWIDTH')}"

    image: Picture
    canvas: str | int | Size | None = None
    margins: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "canvas", read_size(self.canvas))

    def run(self, opened: OpenModel, request: Request) -> Steps:
        asked = open_drawing(opened, request)
        known = asked.brought(self.image)
        size, corner = self._place(size_of(known), asked.model.medium)
        asked.model.latents_of(size)  # refuses what is too large before it is drawn
        before, new = placed(known, size, corner)
        if not new.any():
            raise UserError(f"the canvas of {by(size)} is the picture itself: ask for a larger one")
        verb = self.completed(asked, size)
        results = yield from verb.draw(asked, before, new)
        row = SheetRow(name=self.image.name, before=before.masked_fill(new, GREY), results=results)
        medium = asked.model.medium
        if not isinstance(medium, PictureMedium):
            return Edited(verb=verb, request=request, rows=(replace(row, before=row.before[:0]),), before=(), medium=medium)
        return Edited(verb=verb, request=request, rows=(row,))

    def _place(self, size: Size, medium: Medium) -> tuple[Size, Size]:
        """The canvas, and the corner on it of what has ``size``."""
        canvas = suited(read_size(self.canvas), len(size))
        if (canvas is None) == (self.margins is None):
            ways = f"by {option('canvas', 'HEIGHTxWIDTH')} or by {option('margins', 'top,right,bottom,left')}"
            raise UserError(f"how large shall it become? say it {ways}, and by one of them only")
        if canvas is not None:
            if len(canvas) == 1 < len(size) or (medium.timed and len(size) > 1):
                canvas = (canvas[0], *size[1:])
            if len(canvas) != len(size):
                raise UserError(f"a canvas of {by(canvas)} is none for what has {len(size)} edges: name as many")
            if medium.timed:
                return canvas, (0,) * len(size)
            return canvas, tuple((edge - own) // 2 for edge, own in zip(canvas, size, strict=True))
        if medium.timed:
            unit, _ = medium.unit(self.image)
            before, after = (round(one * unit) for one in two_numbers(str(self.margins)))
            if min(before, after) < 0:
                raise UserError(f"margins are added, and {self.margins} has one below 0: take 0 or more")
            return (before + size[0] + after, *size[1:]), (before, *(0 for _ in size[1:]))
        if len(size) != 2:
            raise UserError(f"margins are of pictures: say {option('canvas', by(size))} or larger")
        top, right, bottom, left = whole_numbers(str(self.margins), "margins", "top,right,bottom,left")
        if min(top, right, bottom, left) < 0:
            raise UserError(f"margins are added, and {self.margins} has one below 0: take 0 or more")
        return (top + size[0] + bottom, left + size[1] + right), (top, left)
