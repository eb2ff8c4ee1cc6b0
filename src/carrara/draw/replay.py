"""Pictures made again, from the records that they carry."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from PIL import Image
from pydantic import TypeAdapter

from carrara import pixels
from carrara.draw.generate import result_of
from carrara.draw.request import Request, read_request
from carrara.draw.samples import PictureKind, collect
from carrara.draw.verbs import VERBS, Verb
from carrara.errors import UserError, option
from carrara.files import check_file
from carrara.medium import Picture, find_picture
from carrara.store import OpenModel, Store

Record = Mapping[str, Any]
"""What a picture of Carrara's carries."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A picture made again.

    Attributes:
        path: where it is.
        identical: whether every pixel is the old one's.
    """

    path: Path
    identical: bool


def replay(
    image: Path, store: Store, folder: Path | None = None, out: Path | None = None, pictures: Path = Path()
) -> Replay:
    """Makes a PNG of samples, or of an edit, again from the record that it carries.

    Args:
        folder: the run's; None is where it was.
        out: where to write it; None is beside the old one.
        pictures: the folder of the pictures that an edit was made of.

    Raises:
        NotWritten: nothing can be written there.
        UserError: it carries none, a picture is gone or another one, or the run is gone or has learned since.
    """
    about = pixels.read_recipe(image)
    path = out or image.with_stem(f"{image.stem}-replay")
    check_file(path)
    opened = open_again(image, about, store, folder)
    make = _edited if about.get("picture") == "edit" else _sampled
    again = make(image, about, opened, pictures)
    path = pixels.save_png(again, path, about)
    with Image.open(image) as before:
        same = before.size == again.size and np.array_equal(np.asarray(before), np.asarray(again))
    return Replay(path=path, identical=same)


def open_again(image: Path, about: Record, store: Store, folder: Path | None) -> OpenModel:
    """The model that made a picture.

    Args:
        about: the picture's record.
        folder: the run's; None is where it was.

    Raises:
        UserError: there is no such record, or the run is gone or has learned since.
    """
    with _understood(image):
        source, digest = folder or Path(about["run"]), str(about["weights"])
    opened = store.open(source)
    if opened.model.digest() != digest:
        raise UserError(
            f"the model in '{source}' has changed since '{image}' was made: "
            f"name the old one, or its checkpoint, with {option('run')}"
        )
    return opened


def _sampled(image: Path, about: Record, opened: OpenModel, pictures: Path) -> Image.Image:
    with _understood(image):
        kind: PictureKind = TypeAdapter(PictureKind).validate_python(about["picture"])
        request = read_request(about["request"])
    return collect(opened, request).picture(kind)


def _edited(image: Path, about: Record, opened: OpenModel, pictures: Path) -> Image.Image:
    with _understood(image):
        verb = read_verb(about["edit"], pictures)
        none = Request(wishes=(), seeds=(), settings=opened.model.settings())
        request = read_request(about["request"]) if "request" in about else none
    results = result_of(verb.run(opened, request))
    with _understood(image):
        return results.picture(about)


def read_verb(record: Mapping[str, Any], pictures: Path) -> Verb:
    """The verb of a record, with the pictures that it was made of.

    Raises:
        UserError: one of these is gone, or another one.
        ValueError, KeyError, TypeError: the record is damaged, or of another version.
    """
    values = _modern(dict(record))
    kind = VERBS[values.pop("verb")]
    hints = get_type_hints(kind)
    for name in (field.name for field in fields(kind) if field.name in values):
        if hints[name] == tuple[Picture, ...]:
            values[name] = tuple(find_picture(one, pictures) for one in values[name])
        elif hints[name] in (Picture, Picture | None):
            values[name] = find_picture(values[name], pictures)
    return TypeAdapter(kind).validate_python(values)


def _modern(values: dict[str, Any]) -> dict[str, Any]:
    """A record as verbs are now: earlier ones had options in groups, and all verbs of autoencoders the same."""
    values |= values.pop("spoilt", {})
    values |= {k: v for k, v in (values.pop("how", None) or {}).items() if k != "eta"}
    if "layer" in values and values["verb"] != "traverse":
        del values["layer"]
        steps = values.pop("steps", None)
        values |= {"frames": steps} if values["verb"] == "interpolate" else {}
    elif "layer" in values:
        values.pop("images", None)
    return {name: value for name, value in values.items() if value is not None}


@contextmanager
def _understood(image: Path) -> Generator[None]:
    """Says so where a picture's record, perhaps another version's, does not hold what is looked for in it."""
    try:
        yield
    except UserError:
        raise
    except (KeyError, IndexError, TypeError, ValueError):
        raise UserError(
            f"the recipe in '{image}' is of another kind or version: only samples and edits can be replayed"
        ) from None
