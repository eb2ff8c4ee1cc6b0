"""Pictures made again, from the records that they carry."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import TypeAdapter

from carrara import pixels
from carrara.errors import UserError
from carrara.model import AnyModel
from carrara.recipe import build
from carrara.recipe.folder import open_model
from carrara.recipe.sampling import PictureKind, Request, collect


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A picture made again.

    Attributes:
        path: where it is.
        identical: whether every pixel is the old one's.
    """

    path: Path
    identical: bool


def replay(image: Path, folder: Path | None = None, out: Path | None = None) -> Replay:
    """Makes a PNG again from the recipe that it carries.

    Raises:
        UserError: it carries none, or the run is gone or has learned since.
    """
    about = pixels.read_recipe(image)
    with understood(image):
        kind: PictureKind = TypeAdapter(PictureKind).validate_python(about["picture"])
    wanted, (model, _) = asked(image, about), origin(image, about, folder)
    return kept(collect(model, wanted).picture(kind), image, about, out)


@contextmanager
def understood(image: Path) -> Generator[None]:
    """Says so where a picture's record, perhaps another version's, does not hold what is looked for in it."""
    try:
        yield
    except UserError:
        raise
    except (KeyError, IndexError, TypeError, ValueError):
        raise UserError(
            f"the recipe in '{image}' is of another kind or version: only samples and edits can be replayed"
        ) from None


def asked(image: Path, about: Mapping[str, Any]) -> Request:
    """What was asked for, by a picture's record.

    Raises:
        UserError: it does not say.
    """
    with understood(image):
        return TypeAdapter(Request).validate_python(about["request"])


def origin(image: Path, about: Mapping[str, Any], folder: Path | None) -> tuple[AnyModel, Path]:
    """The model that made a picture, on a GPU where there is one, and its folder.

    Args:
        about: the picture's record.
        folder: the run's; None is where it was.

    Raises:
        UserError: there is no such record, or the run is gone or has learned since.
    """
    with understood(image):
        source, digest = folder or Path(about["run"]), str(about["weights"])
    model = open_model(source)
    if model.digest() != digest:
        raise UserError(
            f"the model in '{source}' has changed since '{image}' was made: "
            "name the old one, or its checkpoint, with --run"
        )
    return model.to(build.device()), source


def kept(again: Image.Image, image: Path, about: Mapping[str, Any], out: Path | None) -> Replay:
    """Writes a picture that was made again, with the old one's record, and compares them."""
    path = pixels.save_png(again, out or image.with_stem(f"{image.stem}-replay"), about)
    with Image.open(image) as before:
        same = before.size == again.size and np.array_equal(np.asarray(before), np.asarray(again))
    return Replay(path=path, identical=same)
