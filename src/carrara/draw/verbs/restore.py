"""``restore``: small, blurred and colourless pictures, by a model that was never trained for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from carrara import pixels
from carrara.draw.drawing import Drawing, check_noise, open_drawing
from carrara.draw.edit import size_of
from carrara.draw.generate import Progress, Remark, follow
from carrara.draw.request import Request
from carrara.draw.restore import restore
from carrara.draw.verbs.base import Edited, RowSteps, SheetRow, Steps, Verb
from carrara.errors import UserError, known, option
from carrara.medium import Picture, Size
from carrara.model import DiffusionModel, Model
from carrara.pixels import Pictures
from carrara.sample import AnyLikelihood, Dps, Measurement, PiGdm, blurred, downscaled, greyed
from carrara.seeds import Draws
from carrara.shapes import by
from carrara.store import OpenModel

Task = Literal["upscale", "deblur", "colour"]
"""What was done to pictures, and is to be undone."""
_EXAMPLES = 4
"""Held-out pictures that are spoilt and restored where none are named."""
LIKELIHOODS: dict[str, AnyLikelihood] = {"pigdm": PiGdm(), "dps": Dps()}
"""The likelihoods by name."""


@dataclass(frozen=True, kw_only=True)
class Restore(Verb):
    """Makes small, blurred or colourless pictures whole, by a model that was never trained for it.

    Examples:
        carrara edit runs/photos restore small.png --task upscale --factor 4
        carrara edit runs/photos restore --task deblur --blur 1.5 --noise 3
        carrara edit runs/photos restore grey.png --task colour -n 8
        carrara edit openmoji restore --task deblur --sampler ddpm

    Attributes:
        images: Pictures; held-out ones of the run's own data, spoilt first and shown beside, if not given.
        task: upscale, deblur or colour.
        factor: How many times larger to make them, for upscale.
        blur: How much they are blurred, for deblur: a Gaussian's standard deviation in pixels.
        noise: Standard deviation of their noise, of values from 0 to 255.
        by: How sure the picture is of a half-finished result: pigdm, or dps, which knows less and takes longer to tune.

    Raises:
        UserError: there is no such task or likelihood, or no such noise.
    """

    name = "restore"
    arguments = "[PICTURE ...]"

    images: tuple[Picture, ...]
    task: str
    factor: int = 4
    blur: float = 2.0
    noise: float = 0.0
    by: str = "pigdm"

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", known("task", self.task, get_args(Task)))
        object.__setattr__(self, "by", known("likelihood", self.by, LIKELIHOODS))
        if not 0 <= self.noise <= 255:
            raise UserError(f"noise {self.noise:g} is none: it is a standard deviation of values from 0 to 255")
        if self.factor < 2:
            raise UserError(f"factor {self.factor} makes nothing larger: take 2 or more")

    @classmethod
    def check_model(cls, model: Model) -> None:
        super().check_model(model)
        check_noise(model, cls.name)

    def run(self, opened: OpenModel, request: Request) -> Steps:
        if request.size is not None and not self.images:
            raise UserError(
                f"{option('size')} is what named pictures are brought to, and none is named: name one, or leave "
                f"{option('size')} out"
            )
        asked, rows = open_drawing(opened, request), list[SheetRow]()
        for begin in [self._restore(asked, image) for image in self.images] or self._of_examples(asked, opened):
            rows.append((yield from begin))
        yield from _remarks(asked.model, rows)
        before = ("given",) if self.images else ("given", "original")
        return Edited(verb=self, request=request, rows=tuple(rows), before=before)

    def measure(self, channels: int, size: Size) -> Measurement:
        """What was done to pictures of ``size``.

        Raises:
            UserError: it cannot be done to such pictures.
        """
        shape = channels, size[0], size[1]
        try:
            match self.task:
                case "upscale":
                    return downscaled(shape, self.factor)
                case "deblur":
                    return blurred(shape, self.blur)
                case _:
                    return greyed(shape)
        except ValueError as error:
            raise UserError(f"{self.task} is not possible: {error}") from None

    def _restore(self, asked: Drawing, image: Picture) -> RowSteps:
        times = self.factor if self.task == "upscale" else 1
        y = self._given(asked, image, times)
        size = tuple(times * edge for edge in size_of(y))
        asked.model.latents_of(size)  # refuses what is too large before it is drawn
        results = yield from follow(self._draw(asked, y, size))
        return SheetRow(name=image.name, before=_shown(y, asked.model.shape[0], size), results=results)

    def _given(self, asked: Drawing, image: Picture, times: int) -> Tensor:
        """The measurement in a picture, (1, C', H', W')."""
        if self.task != "colour":
            return asked.brought(image, times)
        sized = asked.request.size is not None
        array = pixels.to_pixels(asked.brought(image)[0]) if sized else image.pixels
        try:
            return pixels.to_tensor(pixels.with_channels(array, 1))[None]
        except ValueError as error:
            raise UserError(f"'{image.path}' cannot be used: {error}") from None

    def _of_examples(self, asked: Drawing, opened: OpenModel) -> Iterator[RowSteps]:
        """Held-out pictures, spoilt."""
        x = opened.examples(_EXAMPLES).cpu()
        size = size_of(x)
        y = self.measure(x.shape[1], size)(x)
        draws = Draws(seed=asked.seeds[0], samples=torch.arange(len(x)))
        y = y + self.noise / 127.5 * draws.normal("measurement noise", *y.shape[1:])
        for k, (original, given) in enumerate(zip(x.split(1), y.split(1), strict=True), start=1):
            yield self._beside(asked, f"held-out-{k}", original, given)

    def _beside(self, asked: Drawing, name: str, original: Pictures, given: Tensor) -> RowSteps:
        size = size_of(original)
        results = yield from follow(self._draw(asked, given, size))
        return SheetRow(
            name=name, before=torch.cat([_shown(given, original.shape[1], size), original]), results=results
        )

    def _draw(self, asked: Drawing, y: Tensor, size: Size) -> Iterator[Progress]:
        asked.model.latents_of(size)
        measure, how, noise = self.measure(asked.model.shape[0], size), LIKELIHOODS[self.by], self.noise / 127.5
        return restore(asked, y, measure, likelihood=how, noise=noise, size=size)


def _remarks(model: DiffusionModel, rows: Sequence[SheetRow]) -> Iterator[Remark]:
    """A word about each size that the model has not learned."""
    for size in dict.fromkeys(size_of(row.results) for row in rows):
        if size != model.size:
            sizes = f"pictures of {by(model.size)}, and some become {by(size)}"
            yield Remark(text=f"the model knows {sizes}: it may draw those worse")


def _shown(y: Tensor, channels: int, size: Size) -> Pictures:
    """A measurement as a picture as large and colourful as the restored ones."""
    for axis, edge in enumerate(size, start=2):
        y = y.repeat_interleave(edge // y.shape[axis], dim=axis)
    return y.expand(-1, channels, *size)
