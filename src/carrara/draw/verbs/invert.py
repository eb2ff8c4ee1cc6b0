"""``invert``: the noise that becomes a picture, and the picture of it again."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from carrara.draw.ask import Ask
from carrara.draw.drawing import Drawing, check_noise, open_drawing
from carrara.draw.edit import size_of
from carrara.draw.generate import Progress, Remark
from carrara.draw.invert import rewrite
from carrara.draw.reconstruct import reconstruct
from carrara.draw.request import Request
from carrara.draw.verbs.base import Edited, SheetRow, Steps, Verb, check_named
from carrara.errors import UserError
from carrara.evaluate.reconstruction import psnr
from carrara.medium import Picture, Size
from carrara.model import DiffusionModel, Model
from carrara.pixels import Pictures
from carrara.sample import Ddim
from carrara.store import OpenModel

MOST_REFINEMENTS = 1000
"""More are taken for a mistake."""


@dataclass(frozen=True, kw_only=True)
class ByNoise(Verb):
    """What goes by way of the noise that becomes a picture, without fresh noise. Abstract in where to.

    Attributes:
        refinements: Of each step of an inversion; 0 is plain DDIM inversion, and sooner done.
    """

    leaves = frozenset({"sampler", "seed", "count", "cache", "classifier", "label", "classifier_scale"})
    usual: ClassVar = {"count": 1, "steps": 50}

    refinements: int = 5

    def __post_init__(self) -> None:
        if not 0 <= self.refinements <= MOST_REFINEMENTS:
            raise UserError(
                f"{self.refinements} refinements cannot be: 0 is plain DDIM inversion, 5 are usually enough, and "
                f"{MOST_REFINEMENTS} the most"
            )

    @classmethod
    def check_model(cls, model: Model) -> None:
        super().check_model(model)
        check_noise(model, cls.name)

    def request(self, opened: OpenModel, ask: Ask) -> Request:
        """DDIM draws, whatever the model's own sampler is; but of levels, which have a way without noise."""
        asked = super().request(opened, ask)
        if opened.model.first_stage.levels is not None:
            return asked
        return replace(asked, settings=replace(asked.settings, sampler=Ddim()))


@dataclass(frozen=True, kw_only=True)
class Invert(ByNoise):
    """Finds the noise that becomes each picture, makes the picture of it again, and says how well.

    There are 50 steps without guidance, if not given.

    Examples:
        carrara edit openmoji invert heart.png --prompt "red heart"
        carrara edit runs/photos invert a.png b.png --steps 100

    Attributes:
        images: Pictures; they are brought to the model's own size, or to the one asked for.
        strength: How far into noise, 0 to 1.
    """

    name = "invert"
    arguments = "PICTURE ..."
    usual: ClassVar = {"count": 1, "steps": 50, "guidance": 1.0}

    images: tuple[Picture, ...]
    strength: float = 1.0

    def run(self, opened: OpenModel, request: Request) -> Steps:
        check_named(self.images, self, "needs a picture")
        asked, rows = open_drawing(opened, request), list[SheetRow]()
        for image in self.images:
            before = asked.fitted(image)
            way = rewrite(asked, asked, before, strength=self.strength, refinements=self.refinements)
            noise, again = yield from _both_ends(asked, way, size_of(before))
            rows.append(SheetRow(name=image.name, before=before, results=torch.cat([noise, again])))
            yield Remark(text=f"{image.name}: {_fidelity(asked.model, before, again)}")
        return Edited(verb=self, request=request, rows=tuple(rows), labels=("noise", "made again"))


def _both_ends(
    asked: Drawing, progress: Iterable[Progress], size: Size
) -> Generator[Progress | Remark, None, tuple[Pictures, Pictures]]:
    """The state where a way turns back, as pixels of the scale of data, and the picture at its end."""
    turn, results = torch.empty(0), list[Tensor]()
    for at in progress:
        yield at
        if at.step.index == at.step.total // 2 - 1:
            turn = asked.model.visible(at.step.x, at.step.t, size=size).cpu()
        if at.pixels is not None:
            results.append(at.pixels.cpu())
    return turn, torch.cat(results)


def _fidelity(model: DiffusionModel, before: Pictures, again: Pictures) -> str:
    encoded = reconstruct(model, before.to(model.device))
    same = f"made again with {psnr(again, encoded).item():.1f} dB"
    if torch.equal(encoded, before):
        return same
    return f"{same} of what the autoencoder makes of it, which is {psnr(encoded, before).item():.1f} dB"
