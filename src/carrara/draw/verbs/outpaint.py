"""``outpaint``: what is around a picture."""

from dataclasses import dataclass

from carrara.draw.drawing import open_drawing
from carrara.draw.edit import placed, size_of
from carrara.draw.request import Request
from carrara.draw.verbs.base import Edited, SheetRow, Steps
from carrara.draw.verbs.holes import GREY, Holes, whole_numbers
from carrara.errors import UserError, option
from carrara.medium import Picture, Size, read_size
from carrara.store import OpenModel


@dataclass(frozen=True, kw_only=True)
class Outpaint(Holes):
    """Draws what is around a picture.

    Examples:
        carrara edit runs/photos outpaint a.png --canvas 64x128 --tile 64
        carrara edit openmoji outpaint rocket.png --size 64 --margins 0,32,0,0 --prompt "rocket"

    Attributes:
        image: The picture; it keeps its size, unless it is brought to another.
        canvas: Height x width of the result, with the picture in its middle.
        margins: How many pixels to add, as top,right,bottom,left, in the place of a canvas.
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
        size, corner = self._place(size_of(known))
        asked.model.latents_of(size)  # refuses what is too large before it is drawn
        before, new = placed(known, size, corner)
        if not new.any():
            raise UserError(f"the canvas of {size[0]}x{size[1]} is the picture itself: ask for a larger one")
        verb = self.completed(asked, size)
        results = yield from verb.draw(asked, before, new)
        row = SheetRow(name=self.image.name, before=before.masked_fill(new, GREY), results=results)
        return Edited(verb=verb, request=request, rows=(row,))

    def _place(self, size: Size) -> tuple[Size, tuple[int, int]]:
        """The canvas, and the corner on it of a picture of ``size``."""
        canvas = read_size(self.canvas)
        if (canvas is None) == (self.margins is None):
            ways = f"by {option('canvas', 'HEIGHTxWIDTH')} or by {option('margins', 'top,right,bottom,left')}"
            raise UserError(f"how large shall it become? say it {ways}, and by one of them only")
        if canvas is not None:
            return canvas, ((canvas[0] - size[0]) // 2, (canvas[1] - size[1]) // 2)
        top, right, bottom, left = whole_numbers(str(self.margins), "margins", "top,right,bottom,left")
        if min(top, right, bottom, left) < 0:
            raise UserError(f"margins are added, and {self.margins} has one below 0: take 0 or more")
        return (top + size[0] + bottom, left + size[1] + right), (top, left)
