"""Edits made again, from what their files say of them and the pictures that they were made of."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import TypeAdapter

from carrara import pixels
from carrara.recipe.editing import Edit, decoded
from carrara.recipe.edits.base import Edited, Job
from carrara.recipe.edits.inverting import interpolate, invert, rewrite
from carrara.recipe.edits.painting import inpaint, outpaint
from carrara.recipe.edits.redrawing import img2img, variation
from carrara.recipe.edits.restoring import Spoilt, restore
from carrara.recipe.edits.seeing import paint_map, upscale
from carrara.recipe.pictures import found
from carrara.recipe.replaying import Replay, asked, kept, origin, understood
from carrara.sample import Repaint
from carrara.task import editable

VERBS: Mapping[str, Callable[..., Edited]] = {
    "img2img": img2img,
    "variation": variation,
    "upscale": upscale,
    "map": paint_map,
    "restore": restore,
    "inpaint": inpaint,
    "outpaint": outpaint,
    "invert": invert,
    "rewrite": rewrite,
    "interpolate": interpolate,
}


def replay_edit(image: Path, pictures: Path, folder: Path | None = None, out: Path | None = None) -> Replay:
    """Makes a PNG of an edit again.

    Args:
        pictures: the folder of the pictures that it was made of.
        folder: the run's; None is where it was.
        out: where to write it; None is beside the old one.

    Raises:
        UserError: it carries no such record, a picture is gone or another one, or the run is gone or has learned since.
    """
    about = pixels.read_recipe(image)
    model, source = origin(image, about, folder)
    with understood(image):
        options = {name: _value(name, given, pictures) for name, given in dict(about["edit"]).items()}
        verb = options.pop("verb")
        if "request" in about:
            job = Job(model=editable(model), folder=source, wanted=asked(image, about))
            edit, show = _bound(VERBS[verb], job, **options), partial(_shown, job=job)
        else:
            edit, show = _bound(decoded, model, source, TypeAdapter(Edit).validate_python(verb), **options), _result
    made = edit()
    with understood(image):
        again = show(made, about=about)
    return kept(again, image, about, out)


def _bound(verb: Callable[..., Any], /, *given: Any, **options: Any) -> Callable[[], Any]:
    """A verb with its arguments.

    Raises:
        TypeError: it has no such.
    """
    inspect.signature(verb).bind(*given, **options)
    return partial(verb, *given, **options)


def _value(name: str, given: Any, pictures: Path) -> Any:
    """An argument of an edit from what its record says."""
    match name, given:
        case "images", list():
            return [found(one, pictures) for one in given]
        case "image" | "mask", dict():
            return found(given, pictures)
        case "how", dict():
            return Repaint(**given)
        case "spoilt", dict():
            return Spoilt(**given)
        case "canvas", list():
            return tuple(given)
        case _:
            return given


def _result(made: Sequence[tuple[str, Image.Image]], about: Mapping[str, Any]) -> Image.Image:
    """The one of an autoencoder's results that a record is about."""
    return made[about["result"]][1]


def _shown(edited: Edited, job: Job, about: Mapping[str, Any]) -> Image.Image:
    """The sheet, or the one result that a record is about."""
    if "row" not in about:
        return edited.sheet(job.wanted.seeds)
    return pixels.to_image(pixels.to_pixels(edited.rows[about["row"] - 1].results[about["column"] - 1]))
