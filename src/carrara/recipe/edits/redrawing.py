"""``img2img`` and ``variation``: pictures drawn again."""

from collections.abc import Sequence
from pathlib import Path

from carrara.errors import UserError
from carrara.recipe.edits.base import Edited, Job, Row
from carrara.recipe.pictures import picture
from carrara.task import finished
from carrara.task import img2img as redraw


def img2img(job: Job, images: Sequence[Path], strength: float) -> Edited:
    """Draws each picture again, at the model's own size or the one asked for.

    Args:
        strength: how far into noise it goes first, 0 to 1.

    Raises:
        UserError: no picture is named, one cannot be used, or the strength is none.
    """
    if not images:
        raise UserError("img2img draws pictures again, and none is named: carrara edit RUN img2img PICTURE ...")
    return Edited(
        verb="img2img",
        rows=tuple(_redrawn(job, path, strength) for path in images),
        about={"images": images, "strength": strength},
    )


def variation(job: Job, image: Path, strength: float) -> Edited:
    """Draws one picture again, a little differently for each seed; errors as ``img2img``."""
    edited = img2img(job, [image], strength)
    return Edited(verb="variation", rows=edited.rows, about={"image": image, "strength": strength})


def _redrawn(job: Job, path: Path, strength: float) -> Row:
    before, told = picture(job.model, path, job.own_size()), job.told()
    results = finished(job.watch(redraw(job.model, before, strength, told), len(told.seeds)))
    return Row(name=path.stem, before=before, results=results)
