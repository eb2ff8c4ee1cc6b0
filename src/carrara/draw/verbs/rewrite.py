"""``rewrite``: something else made of the noise that becomes a picture."""

from dataclasses import dataclass, replace

from carrara.draw.drawing import Drawing, open_drawing
from carrara.draw.generate import follow
from carrara.draw.invert import rewrite
from carrara.draw.request import Request
from carrara.draw.verbs.base import Edited, SheetRow, Steps, check_named
from carrara.draw.verbs.invert import ByNoise
from carrara.errors import UserError, option
from carrara.medium import Picture
from carrara.store import OpenModel


@dataclass(frozen=True, kw_only=True)
class Rewrite(ByNoise):
    """Makes something else of pictures: inverts them as what they are and draws what is asked for from their noise.

    There are 50 steps, if not given.

    Examples:
        carrara edit openmoji rewrite heart.png --source "red heart" --prompt "blue heart"
        carrara edit runs/digits rewrite three.png --source 3 --prompt 8

    Attributes:
        images: Pictures; they are brought to the model's own size, or to the one asked for.
        source: What they show, as a prompt; nothing in particular, if not given.
        strength: How far into noise, 0 to 1: less keeps more of the picture.
    """

    name = "rewrite"
    arguments = f"PICTURE ... {option('prompt', 'PROMPT')}"

    images: tuple[Picture, ...]
    source: str | None = None
    strength: float = 1.0

    def run(self, opened: OpenModel, request: Request) -> Steps:
        check_named(self.images, self, "needs a picture")
        (wish,) = request.wishes
        if wish is None:
            raise UserError(
                f"rewrite makes something else of a picture: say what, as in {option('prompt')} 'a blue heart'"
            )
        after = open_drawing(opened, request)
        before, rows = _unguided(after, self.source), list[SheetRow]()
        for image in self.images:
            x = after.fitted(image)
            way = rewrite(before, after, x, strength=self.strength, refinements=self.refinements)
            results = yield from follow(way)
            rows.append(SheetRow(name=image.name, before=x, results=results))
        return Edited(verb=self, request=request, rows=tuple(rows), labels=(wish,))


def _unguided(after: Drawing, source: str | None) -> Drawing:
    """The same of what the pictures show, without guidance."""
    settings = replace(after.settings, guidance=1.0)
    return replace(after.asked(wishes=(source,), settings=settings, negative=None), weak=None)
