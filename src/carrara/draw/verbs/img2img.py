"""``img2img``: pictures drawn again."""

from dataclasses import dataclass

from carrara.draw.drawing import Drawing, open_drawing
from carrara.draw.edit import img2img
from carrara.draw.generate import follow
from carrara.draw.request import Request
from carrara.draw.verbs.base import Edited, RowSteps, SheetRow, Steps, Verb, check_named
from carrara.medium import Picture
from carrara.store import OpenModel


@dataclass(frozen=True, kw_only=True)
class Img2Img(Verb):
    """Draws pictures again from a noised copy of them (SDEdit).

    Examples:
        carrara edit openmoji img2img sketch.png --prompt "a red heart" --strength 0.7
        carrara edit runs/digits img2img three.png --prompt 8 --guidance 3

    Attributes:
        images: Pictures; they are brought to the model's own size, or to the one asked for.
        strength: How far into noise it goes first: 0 keeps the picture, 1 next to nothing. Of 20 steps it makes 12 at
            0.6.
    """

    name = "img2img"
    arguments = "PICTURE ..."

    pictures = False

    images: tuple[Picture, ...]
    strength: float = 0.6

    def run(self, opened: OpenModel, request: Request) -> Steps:
        check_named(self.images, self, "draws pictures again")
        asked, rows = open_drawing(opened, request), list[SheetRow]()
        for image in self.images:
            rows.append((yield from redraw(asked, image, self.strength)))
        return Edited(verb=self, request=request, rows=tuple(rows), medium=opened.model.medium)


def redraw(asked: Drawing, image: Picture, strength: float) -> RowSteps:
    """One picture drawn again, once for each seed."""
    before = asked.fitted(image)
    results = yield from follow(img2img(asked, before, strength))
    return SheetRow(name=image.name, before=before, results=results)
