"""``restore``: small, blurred and colourless pictures, by a model that was never trained for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from carrara import pixels
from carrara.errors import UserError, unknown
from carrara.model import DiffusionModel, Size
from carrara.pixels import Pictures
from carrara.recipe.editing import examples
from carrara.recipe.edits.base import Edited, Job, Row
from carrara.recipe.pictures import opened, picture
from carrara.sample import AnyLikelihood, Dps, Measurement, PiGdm, blurred, downscaled, greyed
from carrara.seeds import Draws
from carrara.task import finished
from carrara.task import restore as drawn
from carrara.task.edit import size_of

Task = Literal["upscale", "deblur", "colour"]
"""What was done to pictures, and is to be undone."""
EXAMPLES = 4
"""Held-out pictures that are spoilt and restored where none are named."""
LIKELIHOODS: dict[str, AnyLikelihood] = {"pigdm": PiGdm(), "dps": Dps()}
"""The likelihoods by name."""


@dataclass(frozen=True, kw_only=True)
class Spoilt:
    """What was done to a picture.

    Attributes:
        task: what is to be undone.
        factor: how many times smaller it is, for ``upscale``.
        blur: standard deviation of the blur, in pixels, for ``deblur``.
        noise: standard deviation of its noise, of values from 0 to 255.
        by: the likelihood's name.

    Raises:
        UserError: there is no such task or likelihood, or no such noise.
    """

    task: str
    factor: int = 4
    blur: float = 2.0
    noise: float = 0.0
    by: str = "pigdm"

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise unknown("task", self.task, get_args(Task))
        if self.by not in LIKELIHOODS:
            raise unknown("likelihood", self.by, LIKELIHOODS)
        if not 0 <= self.noise <= 255:
            raise UserError(f"noise {self.noise:g} is none: it is a standard deviation of values from 0 to 255")
        if self.factor < 2:
            raise UserError(f"factor {self.factor} makes nothing larger: take 2 or more")

    def measure(self, channels: int, size: Size) -> Measurement:
        """What was done to pictures of ``size``.

        Raises:
            UserError: it cannot be done to such pictures.
        """
        shape = (channels, *size)
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


def restore(job: Job, images: Sequence[Path], spoilt: Spoilt) -> Edited:
    """Draws what spoilt pictures may have been; without any, spoils held-out ones and shows the originals beside.

    Raises:
        UserError: a picture cannot be used, or what was done to it cannot be done to such pictures.
    """
    if job.wanted.size is not None and not images:
        raise UserError(
            "--size is what named pictures are brought to, and none is named: name one, or leave --size out"
        )
    rows = [_restored(job, path, spoilt) for path in images] or _of_examples(job, spoilt)
    return Edited(
        verb="restore",
        rows=tuple(rows),
        before=("given",) if images else ("given", "original"),
        about={"images": images, "spoilt": vars(spoilt)},
        notes=tuple(_far(job.model, rows)),
    )


def _far(model: DiffusionModel, rows: Sequence[Row]) -> Iterator[str]:
    """A word about each size that the model has not learned."""
    own = model.shape[1], model.shape[2]
    for size in dict.fromkeys(size_of(row.results) for row in rows):
        if size != own:
            sizes = f"pictures of {own[0]}x{own[1]}, and some become {size[0]}x{size[1]}"
            yield f"the model knows {sizes}: it may draw those worse"


def _restored(job: Job, path: Path, spoilt: Spoilt) -> Row:
    times = spoilt.factor if spoilt.task == "upscale" else 1
    y = _given(job.model, path, spoilt.task == "colour", job.wanted.size, times)
    size = y.shape[-2] * times, y.shape[-1] * times
    job.model.latents_of(size)  # refuses what is too large before it is drawn
    return Row(name=path.stem, before=_shown(y, job.model.shape[0], size), results=_drawn(job, y, spoilt, size))


def _given(model: DiffusionModel, path: Path, grey: bool, size: Size | None, times: int) -> Tensor:
    """The measurement in a file, (1, C', H', W')."""
    if not grey:
        return picture(model, path, size, times)
    array = opened(path) if size is None else pixels.to_pixels(picture(model, path, size)[0])
    try:
        return pixels.to_tensor(pixels.with_channels(array, 1))[None]
    except ValueError as error:
        raise UserError(f"'{path}' cannot be used: {error}") from None


def _of_examples(job: Job, spoilt: Spoilt) -> list[Row]:
    x = examples(job.model, job.folder, EXAMPLES).cpu()
    y = spoilt.measure(x.shape[1], size_of(x))(x)
    draws = Draws(seed=job.wanted.seeds[0], samples=torch.arange(len(x)))
    y = y + spoilt.noise / 127.5 * draws.normal("measurement noise", *y.shape[1:])
    rows = zip(x.split(1), y.split(1), strict=True)
    return [
        Row(
            name=f"held-out-{k + 1}",
            before=torch.cat([_shown(given, x.shape[1], size_of(x)), original]),
            results=_drawn(job, given, spoilt, size_of(x)),
        )
        for k, (original, given) in enumerate(rows)
    ]


def _drawn(job: Job, y: Tensor, spoilt: Spoilt, size: Size) -> Pictures:
    job.model.latents_of(size)
    measure, told = spoilt.measure(job.model.shape[0], size), job.told()
    how, noise = LIKELIHOODS[spoilt.by], spoilt.noise / 127.5
    steps = drawn(job.model, y, measure, told, likelihood=how, noise=noise, size=size)
    return finished(job.watch(steps, len(told.seeds)))


def _shown(y: Tensor, channels: int, size: Size) -> Pictures:
    """A measurement as a picture as large and colourful as the restored ones."""
    larger = y.repeat_interleave(size[0] // y.shape[-2], dim=-2).repeat_interleave(size[1] // y.shape[-1], dim=-1)
    return larger.expand(-1, channels, -1, -1)
