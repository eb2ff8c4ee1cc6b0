"""``interpolate``: the way from one picture, prompt or seed to another."""

from dataclasses import dataclass, replace

import torch

from carrara import pixels
from carrara.draw.ask import Ask, check_seed
from carrara.draw.drawing import Drawing, check_noise, editable, open_drawing
from carrara.draw.generate import follow
from carrara.draw.invert import between_pictures, between_wishes
from carrara.draw.levels import between_levels
from carrara.draw.reconstruct import interpolate
from carrara.draw.request import Request
from carrara.draw.verbs.base import Edited, Plates, SheetRow, Steps
from carrara.draw.verbs.decode import check_decodes, ends_for
from carrara.draw.verbs.invert import ByNoise
from carrara.errors import UserError, option
from carrara.medium import Medium, Picture
from carrara.model import Model
from carrara.shapes import Signals
from carrara.store import OpenModel

MOST_FRAMES = 1000
"""From one end of a strip to the other."""


@dataclass(frozen=True, kw_only=True)
class Interpolate(ByNoise):
    """Goes from one picture, prompt or seed to another, as a strip and as an animation.

    An autoencoder's run goes from picture to picture in its latents, with the number of frames alone.

    Examples:
        carrara edit openmoji interpolate --prompt "red heart" --to "red apple" --frames 24
        carrara edit runs/digits interpolate a.png b.png
        carrara edit runs/digits interpolate --prompt 3 --seed 1 --to-seed 2
        carrara edit runs/autoencoder interpolate a.png b.png

    Attributes:
        images: Two pictures, by way of the noise that becomes them, without guidance, if not given. Without them, from
            prompt to prompt or from seed to seed. There are 50 steps, if not given.
        frames: Pictures from one end to the other.
        to: The prompt at the other end; the same, if not given.
        seed: The noise at the first end; 0, if not given. Pictures bring their own.
        to_seed: The noise at the other end; the same, if not given.
    """

    name = "interpolate"
    arguments = "[PICTURE PICTURE]"
    pictures = False

    images: tuple[Picture, ...]
    frames: int = 9
    to: str | None = None
    seed: int | None = None
    to_seed: int | None = None

    def request(self, opened: OpenModel, ask: Ask) -> Request:
        if not opened.model.diffuses:
            if ask != Ask() or replace(self, images=(), frames=9) != Interpolate(images=()):
                takes = f"{option('frames')} and {option('out')}"
                raise UserError(f"an autoencoder draws nothing: besides two pictures, it takes {takes}")
            return Request(wishes=(), seeds=(), settings=opened.model.settings())
        usual = {"guidance": 1.0} if self.images else {}
        return super().request(opened, replace(ask.unless(**usual), seed=self.seed or 0))

    @classmethod
    def check_model(cls, model: Model) -> None:
        if model.diffuses and model.first_stage.levels is None:
            super().check_model(model)
        elif model.diffuses:
            editable(model, pictures=cls.pictures)

    def check(self, ask: Ask) -> None:
        super().check(replace(ask, seed=0))

    def run(self, opened: OpenModel, request: Request) -> Steps:
        if not opened.model.diffuses:
            return (yield from self._in_latents(opened))
        if self.frames < 2:
            least = option("frames", "2")
            raise UserError(f"a way has two ends, and {self.frames} pictures are fewer: ask for {least} or more")
        if self.frames > MOST_FRAMES:
            most = option("frames", str(MOST_FRAMES))
            raise UserError(f"{self.frames} pictures are too many for a strip: ask for at most {most}")
        first = open_drawing(opened, request)
        other = first if self.to is None else first.asked(wishes=(self.to,))
        return (yield from self._by_pictures(first, other) if self.images else self._by_wishes(first, other))

    def _by_pictures(self, first: Drawing, other: Drawing) -> Steps:
        if (self.seed, self.to_seed) != (None, None):
            seeds = f"{option('seed')} and {option('to_seed')}"
            raise UserError(f"pictures bring their own noise: leave {seeds} out, or the pictures")
        if len(self.images) != 2:
            raise UserError(f"interpolate goes between two pictures, and {len(self.images)} are named: name two")
        ends = torch.cat([first.fitted(image) for image in self.images])
        if first.model.first_stage.levels is not None:
            way = between_levels(first, ends, self._shares)
        else:
            way = between_pictures((first, other), ends, self._shares, refinements=self.refinements)
        name = "-".join(image.name for image in self.images)
        row = SheetRow(name=name, before=ends, results=(yield from follow(way)))
        return self._edited(first.request, row, first.model.medium)

    def _by_wishes(self, first: Drawing, other: Drawing) -> Steps:
        seed = self.seed or 0
        to_seed = seed if self.to_seed is None else self.to_seed
        check_seed(to_seed)
        check_noise(first.model, "the way between prompts or seeds")
        if self.to is None and to_seed == seed:
            ways = f"another wish with {option('to')}, or another {option('to_seed')}"
            raise UserError(f"there is only one end: name two pictures, or {ways}")
        drawings = first.asked(seeds=(seed,)), other.asked(seeds=(to_seed,))
        way = between_wishes(drawings, self._shares, size=first.request.pixel_size)
        none: Signals = torch.empty(0, first.model.shape[0], *first.own_size)
        row = SheetRow(name="way", before=none, results=(yield from follow(way)))
        return replace(self, seed=seed, to_seed=to_seed)._edited(first.request, row, first.model.medium)

    def _in_latents(self, opened: OpenModel) -> Steps:
        """An autoencoder's way, in one piece."""
        check_decodes(opened, self.name)
        if not 1 <= self.frames <= MOST_FRAMES:
            raise UserError(f"{self.frames} pictures are none, or too many for a strip: take 1 to {MOST_FRAMES}")
        ends = ends_for(opened, self.images)
        picture = pixels.grid(interpolate(opened.model, ends, self.frames), self.frames)
        return Plates(verb=self, plates=(("interpolation", picture),))
        yield

    @property
    def _shares(self) -> torch.Tensor:
        return torch.linspace(0, 1, self.frames)

    def _edited(self, request: Request, row: SheetRow, medium: Medium) -> Edited:
        labels = tuple(f"{share:.2f}" for share in self._shares.tolist())
        before = ("from", "to") if self.images else ()
        return Edited(
            verb=self,
            request=request,
            rows=(row,),
            before=before,
            labels=labels,
            medium=medium,
            animated=True,
        )
