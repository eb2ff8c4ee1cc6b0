"""Pictures made again, from the records that they carry."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from PIL import Image

from carrara import pixels
from carrara.draw.generate import result_of
from carrara.draw.records import (
    Record,
    check_edit,
    check_extent,
    check_place,
    not_understood,
    read_record,
    requested,
    step_of,
)
from carrara.draw.request import Request
from carrara.draw.samples import collect
from carrara.draw.verbs import VERBS, Verb
from carrara.errors import UserError, option
from carrara.files import Malformed, as_kind, check_file, is_regular, read_bytes
from carrara.medium import RECORDED, Picture, Size, find_picture, read_about
from carrara.medium.base import STRIP_SAMPLES
from carrara.pixels import read_picture
from carrara.saved import CONFIG
from carrara.store import OpenModel, Store
from carrara.store.runs import EARLY
from carrara.train import checkpoint

_MOST_KEPT = 8
"""So many models of a run are looked at for the one that made a picture."""


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
    about = read_about(image)
    path = out or image.with_stem(f"{image.stem}-replay")
    check_file(path)
    if image.suffix.lower() in RECORDED:
        return _sample_again(image, about, open_again(image, read_record(image, about), store, folder), pictures, path)
    record, before = read_record(image, about), read_picture(image)
    opened = open_again(image, record, store, folder)
    make = _edited if record.picture == "edit" else _sampled
    again = make(image, record, opened, pictures, (before.height, before.width))
    path = pixels.save_png(again, path, about)
    same = before.size == again.size and np.array_equal(np.asarray(before), np.asarray(again))
    return Replay(path=path, identical=same)


def _sample_again(image: Path, about: Mapping[str, Any], opened: OpenModel, pictures: Path, path: Path) -> Replay:
    """A file that holds one sample, made again in the same format."""
    record = read_record(image, about)
    if record.picture == "edit":
        with _understood(image):
            results = result_of(read_verb(record.edit or {}, pictures).run(opened, requested(image, record)))
            sample = results.sample(record.place)
    else:
        request = requested(image, record)
        if record.picture != "sample" or len(request.seeds) != 1:
            raise not_understood(image)
        with _understood(image):
            sample = collect(opened, request).values[0]
    if sample is None:
        raise not_understood(image)
    written = opened.model.medium.write(sample, path.with_suffix(""), about)
    made = next((one for one in written if one.suffix.lower() == path.suffix.lower()), None)
    if made is None:
        raise UserError(f"the model in '{opened.folder}' writes no {path.suffix} files: replay another one")
    return Replay(path=made, identical=read_bytes(made) == read_bytes(image))


def open_again(image: Path, record: Record, store: Store, folder: Path | None) -> OpenModel:
    """The model that made a picture: the run's newest, or where training went on the one of that step, if it is kept.

    Args:
        folder: the run's; None is where it was, if that is one of those that a record may lead to.

    Raises:
        UserError: the run is elsewhere, is gone, or has learned since.
    """
    if folder is None:
        check_place(image, record.run, None, "the model")
    source = folder or Path(record.run)
    for rival, what in record.rivals:
        check_place(image, rival, source, what)
    opened = store.open(source)
    if opened.model.digest() == record.weights:
        return opened
    for kept in _kept(source, step_of(image)):
        earlier = _opened_quietly(store, kept)
        if earlier is not None and earlier.model.digest() == record.weights:
            return earlier
    raise _changed(image, source, opened)


def _kept(source: Path, step: int | None) -> list[Path]:
    """The other models of a run, that of a step first."""
    checkpoints = reversed(checkpoint.steps(source / "checkpoints"))
    others = [*checkpoints, *(source / name for name in ("best", EARLY, "model"))]
    there = [path for path in others if is_regular(path / CONFIG)]
    return sorted(there, key=lambda path: path.name != f"step-{step}")[:_MOST_KEPT]


def _opened_quietly(store: Store, folder: Path) -> OpenModel | None:
    """In a store of its own, so that those which are another one's are not kept."""
    try:
        return Store(store.device).open(folder)
    except UserError:
        return None


def _changed(image: Path, source: Path, opened: OpenModel) -> UserError:
    """What to say where no model of a run made a picture."""
    step, now = step_of(image), opened.model.about.get("step")
    instead = f"name the old one, or its checkpoint, with {option('run')}"
    said = f"the model in '{source}' has changed since '{image}' was made"
    if step is not None and now is not None and now > step:
        said += f", as training went on from step {step} to step {now}, and that checkpoint is not kept"
    elif now is not None:
        said += f", as where training goes on: it is at step {now} now"
    return UserError(f"{said}: {instead}")


def _sampled(image: Path, record: Record, opened: OpenModel, pictures: Path, size: Size) -> Image.Image:
    kind, request = record.picture, requested(image, record)
    if kind is None or kind == "edit" or not request.seeds:
        raise not_understood(image)
    each, count = request.pixel_size or opened.model.size, len(request.seeds)
    shown = {"sample": 1, "strip": min(count, STRIP_SAMPLES)}.get(kind, max(count, request.columns or 1))
    check_extent(image, [each] * shown, size)
    with _understood(image):
        return collect(opened, request, strip=kind == "strip").picture(kind)


def _edited(image: Path, record: Record, opened: OpenModel, pictures: Path, size: Size) -> Image.Image:
    if record.edit is None or not record.edit:
        raise not_understood(image)
    check_edit(image, record.edit, size)
    with _understood(image):
        verb = read_verb(record.edit, pictures)
        none = Request(wishes=(), seeds=(), settings=opened.model.settings())
    request = requested(image, record) if record.request is not None else none
    check_extent(image, [request.pixel_size or (0, 0)] * (1 if record.row else len(request.seeds)), size)
    with _understood(image):
        results = result_of(verb.run(opened, request))
        return results.picture(record.place)


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
    return as_kind(values, kind)


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
    except Malformed as error:
        raise not_understood(image, error) from None
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, AssertionError):
        raise not_understood(image) from None
