"""``inpaint`` and ``outpaint``: a part of a picture made new, or what is around it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from carrara import pixels
from carrara.autoencoder import Identity
from carrara.conditioning import Masked
from carrara.data import Transform
from carrara.errors import UserError, unknown
from carrara.model import DiffusionModel, Size
from carrara.pixels import Pictures, Pixels
from carrara.recipe.edits.base import Edited, Job, Row
from carrara.recipe.pictures import converted, opened, picture
from carrara.sample import Ddim, Repaint
from carrara.task import Progress, check_mask, fill, finished, placed, window
from carrara.task import inpaint as paint
from carrara.task.edit import Mask, check_feather, size_of

ETA = {"ddpm": 1.0, "euler_a": 1.0, "ddim": 0.0, "euler": 0.0}
"""The samplers that resampling works with: those that look at one step, once."""

GREY = 0.4
"""What the sheet shows where something new is made."""


def repaint(model: DiffusionModel, resamplings: int | None, jump: int | None, sampler: str | None) -> Repaint | None:
    """How to make a part new, from what a user says; None says nothing. A model that learned to fill holes just draws.

    Raises:
        UserError: a number below 1, a sampler that cannot go back up, or resampling for a model that needs none.
    """
    if isinstance(model.image, Masked):
        if resamplings is None and jump is None:
            return None
        raise UserError(
            "this model was trained to fill holes and resamples nothing: leave --resamplings and --jump out"
        )
    if sampler is not None and sampler not in ETA:
        raise unknown("sampler of inpainting", sampler, ETA)
    numbers = {name: value for name, value in (("resamplings", resamplings), ("jump", jump)) if value is not None}
    try:
        return Repaint(**numbers, eta=ETA[sampler or "ddpm"])
    except ValueError as error:
        raise UserError(f"this cannot be inpainted with: {error}") from None


def inpaint(
    job: Job, image: Path, mask: Path | None, box: str | None, how: Repaint | None, feather: int | None
) -> Edited:
    """Makes a part of a picture new. The picture keeps its size, unless one is asked for.

    Args:
        mask: a picture of the same size, white where something new is made; see ``read_mask``.
        box: the part as ``x,y,w,h`` in the place of a mask, in the picture's own pixels.
        how: see ``repaint``.
        feather: how far beside the mask the picture is blended; None is 0 in pixels, and 2 in latents.

    Raises:
        UserError: the picture or its mask cannot be used.
    """
    array = opened(image)
    before = converted(job.model, array, image, job.wanted.size)
    new = _mask((array.shape[0], array.shape[1]), mask, box, job.wanted.size)
    check_mask(new, size_of(before))
    how, width = _way(job.model, how), _feather(job.model, feather, size_of(before))
    results = _made_new(job, before, new, how, width)
    return _edited(
        "inpaint",
        Row(
            name=image.stem,
            before=torch.cat([before, before.masked_fill(new, GREY)]),
            results=_watched(job, results, size_of(before)),
        ),
        ("input", "kept"),
        {"image": image, "mask": mask, "box": box, "how": how, "feather": width},
    )


def outpaint(
    job: Job, image: Path, canvas: Size | None, margins: str | None, how: Repaint | None, feather: int | None
) -> Edited:
    """Draws what is around a picture.

    Args:
        canvas: (height, width), the picture in its middle.
        margins: how much to add, ``top,right,bottom,left``, in the place of a canvas.
        how: see ``repaint``.

    Raises:
        UserError: the picture cannot be used, or the canvas is not larger than it.
    """
    known = picture(job.model, image, job.wanted.size)
    size, corner = _canvas(size_of(known), canvas, margins)
    job.model.latents_of(size)  # refuses what is too large before it is drawn
    before, new = placed(known, size, corner)
    if not new.any():
        raise UserError(f"the canvas of {size[0]}x{size[1]} is the picture itself: ask for a larger one")
    how, width = _way(job.model, how), _feather(job.model, feather, size_of(before))
    results = _made_new(job, before, new, how, width)
    return _edited(
        "outpaint",
        Row(name=image.stem, before=before.masked_fill(new, GREY), results=_watched(job, results, size_of(before))),
        ("input",),
        {"image": image, "canvas": canvas, "margins": margins, "how": how, "feather": width},
    )


def _way(model: DiffusionModel, how: Repaint | None) -> Repaint | None:
    """Resampling; None is what the model was trained for, if that is to fill holes."""
    return None if isinstance(model.image, Masked) else how or Repaint()


def _made_new(job: Job, before: Pictures, new: Mask, how: Repaint | None, feather: int) -> Iterable[Progress]:
    model = job.model
    if isinstance(model.image, Masked):
        return fill(model, model.image, before, new, job.told(), feather=feather)
    return paint(model, before, new, job.told(), how, feather=feather)


def read_mask(path: Path) -> Pixels:
    """A mask from a file: (H, W, 1) uint8, 255 where something new is made.

    White counts, as far as it is opaque. If all of the file is of one colour, its transparency is the mask: what is
    opaque is made new.

    Raises:
        UserError: it cannot be read, or is no picture.
    """
    array = opened(path)
    opacity = array[..., 3:].astype(np.float64) if array.shape[-1] == 4 else None
    try:
        bright = pixels.with_channels(array[..., :3] if opacity is not None else array, 1)
    except ValueError as error:
        raise UserError(f"'{path}' cannot be a mask: {error}") from None
    top = pixels.largest(array.dtype)
    white = bright / top if opacity is None else _opaque(array, bright, opacity, top)
    return np.where(white >= 0.5, 255, 0).astype(np.uint8)


def _opaque(array: Pixels, bright: Pixels, opacity: Pixels, top: float) -> Pixels:
    plain = bool((array[..., :3] == array[0, 0, :3]).all())
    return opacity / top if plain else bright / top * opacity / top


def _mask(own: Size, mask: Path | None, box: str | None, size: Size | None) -> Mask:
    """The mask of a picture of the size ``own``, or brought to ``size`` as the picture is."""
    if (mask is None) == (box is None):
        raise UserError("what shall be made new? say it by --mask PICTURE or by --box x,y,w,h, and by one of them only")
    values = read_mask(mask) if mask is not None else _boxed(str(box), own)
    check_mask(torch.from_numpy(values[..., 0] > 127), own)
    if size is not None:
        values = Transform(size=size, channels=1).prepare(values)
    return torch.from_numpy(values[..., 0] > 127)


def _boxed(box: str, size: Size) -> Pixels:
    x, y, w, h = whole_numbers(box, "box", "x,y,w,h")
    if min(w, h) < 1 or min(x, y) < 0 or x + w > size[1] or y + h > size[0]:
        raise UserError(
            f"the box {box} (x,y,w,h) is not within the picture, which is {size[1]} wide and {size[0]} high"
        )
    values = np.zeros((*size, 1), np.uint8)
    values[y : y + h, x : x + w] = 255
    return values


def whole_numbers(text: str, what: str, form: str) -> tuple[int, ...]:
    """As many whole numbers as ``form`` names, with commas between.

    Raises:
        UserError: it is not of this form.
    """
    parts = text.split(",")
    try:
        numbers = tuple(int(part) for part in parts)
    except ValueError:
        numbers = ()
    if len(numbers) != len(form.split(",")):
        raise UserError(f"'{text}' is no {what}: say {form} in whole pixels")
    return numbers


def _canvas(size: Size, canvas: Size | None, margins: str | None) -> tuple[Size, tuple[int, int]]:
    """The canvas, and the picture's corner on it."""
    if (canvas is None) == (margins is None):
        raise UserError(
            "how large shall it become? say it by --canvas HEIGHTxWIDTH or by --margins top,right,bottom,left, and by "
            "one of them only"
        )
    if canvas is not None:
        return canvas, ((canvas[0] - size[0]) // 2, (canvas[1] - size[1]) // 2)
    top, right, bottom, left = whole_numbers(str(margins), "margins", "top,right,bottom,left")
    if min(top, right, bottom, left) < 0:
        raise UserError(f"margins are added, and {margins} has one below 0: take 0 or more")
    return (top + size[0] + bottom, left + size[1] + right), (top, left)


def _feather(model: DiffusionModel, width: int | None, size: Size) -> int:
    """The width of the seam; None is 2 in latents, and none in pixels."""
    in_latents = not isinstance(model.first_stage, Identity)
    if width is not None and width > 0 and not in_latents:
        raise UserError("a model in pixels keeps all that is beside the mask, so nothing fades: leave --feather out")
    width = 2 * in_latents if width is None else width
    check_feather(width, size)
    return width


def _watched(job: Job, results: Iterable[Progress], size: Size) -> Tensor:
    """The results, after a word about a size that the model has not learned, unless it sees windows of its own."""
    model, own = job.model, (job.model.shape[1], job.model.shape[2])
    tile = window(model, size, job.wanted.tile) if isinstance(model.image, Masked) else job.wanted.tile
    if size != own and tile is None:
        height, width = own
        larger = size[0] > height or size[1] > width
        windows = f", and --tile {height}x{width} shows the network windows of what it knows" * larger
        job.say(
            f"The picture is {size[0]}x{size[1]}, and the model has learned {height}x{width}: --size {height}x{width} "
            f"brings pictures to that{windows}."
        )
    return finished(job.watch(results, len(job.wanted.seeds)))


def _edited(verb: str, row: Row, before: tuple[str, ...], about: dict[str, Any]) -> Edited:
    how: Repaint | None = about["how"]
    if how is None:
        return Edited(verb=verb, rows=(row,), before=before, about=about)
    return Edited(verb=verb, rows=(row,), before=before, about=about | {"how": vars(how)}, sampler=Ddim(eta=how.eta))
