"""``variation``: one picture drawn again, a little differently each time."""

from dataclasses import dataclass

from carrara.draw.drawing import open_drawing
from carrara.draw.request import Request
from carrara.draw.verbs.base import Edited, Steps, Verb
from carrara.draw.verbs.img2img import redraw
from carrara.medium import Picture
from carrara.store import OpenModel


@dataclass(frozen=True, kw_only=True)
class Variation(Verb):
    """Draws one picture again, a little differently for each seed.

    Examples:
        carrara edit runs/photos variation a.png -n 8

    Attributes:
        image: The picture.
        strength: How different, 0 to 1; see img2img.
    """

    name = "variation"
    arguments = "PICTURE"

    pictures = False

    image: Picture
    strength: float = 0.5

    def run(self, opened: OpenModel, request: Request) -> Steps:
        row = yield from redraw(open_drawing(opened, request), self.image, self.strength)
        return Edited(verb=self, request=request, rows=(row,), medium=opened.model.medium)
