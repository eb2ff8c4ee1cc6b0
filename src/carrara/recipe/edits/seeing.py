"""``upscale`` and ``map``: what models draw that were trained to see something beside their input."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from carrara import pixels
from carrara.conditioning import LayoutMap, Lowres
from carrara.data import Transform, numbered
from carrara.errors import UserError
from carrara.recipe.edits.base import Edited, Job, Row
from carrara.recipe.pictures import opened, picture
from carrara.task import finished, paint
from carrara.task import upscale as enlarge


def upscale(job: Job, images: Sequence[Path], noise: float = 0.0) -> Edited:
    """Enlarges each picture by the factor that the model was trained for, at its own size or the one asked for.

    Args:
        noise: 0 to 1, how much of it hides the flaws of bad pictures.

    Raises:
        UserError: the model does not enlarge, or a picture cannot be used.
    """
    lowres = job.model.image
    if not isinstance(lowres, Lowres):
        raise _untrained(job, "to enlarge pictures", "upscale-x4")
    if not images:
        raise UserError("upscale enlarges pictures, and none is named: carrara edit RUN upscale PICTURE ...")
    if not 0 <= noise < 1:
        raise UserError(f"noise {noise:g} is none: it goes from 0 to below 1, and 0.1 hides small flaws")
    return Edited(
        verb="upscale",
        rows=tuple(_enlarged(job, lowres, path, noise) for path in images),
        before=("pixels", "bicubic"),
        about={"images": images, "noise": noise},
    )


def _enlarged(job: Job, lowres: Lowres, path: Path, noise: float) -> Row:
    low, told = picture(job.model, path, job.wanted.size, lowres.factor), job.told()
    size = lowres.factor * low.shape[2], lowres.factor * low.shape[3]
    results = finished(job.watch(enlarge(job.model, lowres, low, told, noise), len(told.seeds)))
    smooth = F.interpolate(low, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    return Row(name=path.stem, before=torch.cat([F.interpolate(low, size), smooth]), results=results)


def paint_map(job: Job, images: Sequence[Path]) -> Edited:
    """Paints over each map, at the model's own size or the one asked for.

    Raises:
        UserError: the model sees no maps, or a map cannot be used.
    """
    layout = job.model.image
    if not isinstance(layout, LayoutMap):
        raise _untrained(job, "to paint over maps", "segmentation")
    if not images:
        raise UserError("map paints over maps, and none is named: carrara edit RUN map MAP ...")
    rows = tuple(_painted(job, layout, path) for path in images)
    return Edited(verb="map", rows=rows, before=("map",), about={"images": images})


def _painted(job: Job, layout: LayoutMap, path: Path) -> Row:
    """A map's colours are taken for the nearest of those that the model knows."""
    job.model.latents_of(job.own_size())
    colours = opened(path)
    if colours.dtype != np.uint8 or colours.shape[2] not in (1, 3, 4):
        raise UserError(f"'{path}' is no map: paint it in flat colours, with 8 bits, and save it as PNG")
    numbers = numbered(pixels.with_channels(colours, 3), layout.colours)
    brought = Transform(size=job.own_size(), channels=1).prepare_map(numbers)
    column, told = torch.from_numpy(brought[None, ..., 0].copy()), job.told()
    results = finished(job.watch(paint(job.model, layout, column, told), len(told.seeds)))
    return Row(name=path.stem, before=layout.painted(column, results.shape[1]), results=results)


def _untrained(job: Job, what: str, preset: str) -> UserError:
    return UserError(
        f"'{job.folder}' was not trained {what}: train one that is with 'carrara train DATA --preset {preset}'"
    )
