"""From a file's record back to what a client would say to make it: recall."""

import secrets
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from carrara.draw import Request
from carrara.draw.records import Record, read_record, requested
from carrara.draw.verbs import VERBS
from carrara.errors import UserError
from carrara.files import delete
from carrara.medium import read_about
from carrara.sample import SampleSettings
from carrara.serve.adapters import recalled_adapters
from carrara.serve.asked import PICTURES
from carrara.serve.said import sentence
from carrara.serve.shelf import Entry, Shelf
from carrara.serve.studio import Studio
from carrara.serve.uploads import without_folder


def recalled(here: Studio, content: bytes, name: str) -> dict[str, Any]:
    """The settings of a file's record, as a page says them.

    Raises:
        UserError: it has no record, or a damaged one.
    """
    path = here.uploads.written(content, name, secrets.token_hex(12))
    try:
        about = read_about(path)
        vary, about = _sheet(about)
        record = read_record(path, about)
        request = None if record.request is None else requested(path, record)
    except UserError as error:
        raise without_folder(error, path) from None
    finally:
        delete(path.parent)
    entry = here.shelf.of_record(record.run)
    ask = {} if request is None else ask_of_request(here.shelf, request, record)
    remarks = _remarks(here, entry, record)
    if entry is not None and request is not None and request.adapters:
        ask["lora"], added = _adapters(here, entry, request)
        remarks = list(dict.fromkeys([*remarks, *added]))
    return {
        "model": None if entry is None else entry.id,
        "ask": ask,
        **_verb_of(here, record),
        "vary": vary,
        "message": "; ".join(remarks) or None,
    }


def _adapters(here: Studio, entry: Entry, request: Request) -> tuple[list[str], list[str]]:
    try:
        return recalled_adapters(here.shelf, entry, here.shelf.open(entry.id).model, request)
    except UserError as error:
        return [], [sentence(error)]


def _sheet(about: Mapping[str, Any]) -> tuple[list[str], Mapping[str, Any]]:
    """What a sheet varies, and the record of what it is of."""
    match about:
        case {"vary": [*texts], "of": dict(own)}:
            return [str(text) for text in texts][:2], own
        case {"vary": str(text), "of": dict(own)}:
            return [text], own
        case _:
            return [], about


def ask_of_request(shelf: Shelf, request: Request, record: Record) -> dict[str, Any]:
    """What one would ask to draw the samples of a request: those of its first wish."""
    own = [seed for seed, wish in zip(request.seeds, request.wishes, strict=True) if wish == request.wishes[0]]
    place = record.column or 0
    first = request.seeds[place - 1] if record.picture == "edit" and 0 < place <= len(request.seeds) else None
    ask: dict[str, Any] = {"count": 1 if first is not None else len(own) or 1}
    if request.seeds:
        ask["seed"] = request.seeds[0] if first is None else first
    if request.wishes and request.wishes[0] is not None:
        ask["prompts"] = [request.wishes[0]]
    for field in fields(SampleSettings):
        ask[field.name] = _plain(getattr(request.settings, field.name))
    ask |= {name: "x".join(map(str, size)) for name, size in _sizes(request).items()}
    ask |= {"negative": request.negative, "fast": request.fast or None, "cache": request.cache}
    if request.weak is not None and (weak := shelf.of_record(request.weak.run)) is not None:
        ask["weak"] = weak.id
    if request.guide is not None:
        ask |= {"label": request.guide.name, "classifier_scale": request.guide.scale}
        named = [one.id for one in shelf.entries().values() if str(one.path) == request.guide.run]
        ask |= {"classifier": named[0]} if named else {}
    return {name: value for name, value in ask.items() if value is not None}


def _sizes(request: Request) -> dict[str, tuple[int, ...]]:
    sizes = {"size": request.pixel_size, "tile": request.window}
    return {name: size for name, size in sizes.items() if size is not None}


def _plain(value: Any) -> Any:
    """A setting as a page says it; of what has a kind and nothing unusual, the kind."""
    if isinstance(value, tuple):
        return list(value)
    kind = getattr(value, "kind", None)
    if kind is None:
        return value
    own = {field.name: getattr(value, field.name) for field in fields(value)}
    return kind if value == type(value)() else own


def _verb_of(here: Studio, record: Record) -> dict[str, Any]:
    """The verb of an edit with its options, and those of its pictures that are still here."""
    edit = dict(record.edit or {})
    name = edit.pop("verb", None)
    if name not in VERBS:
        return {"verb": None, "options": {}, "images": [], "mask": None}
    mask = edit.get("mask")
    images = [edit["image"]] if "image" in edit else list(edit.get("images") or ())
    options = {key: value for key, value in edit.items() if key not in PICTURES and value is not None}
    ids = [found for one in images if (found := _id_of(here, one)) is not None]
    return {"verb": name, "options": options, "images": ids, "mask": None if mask is None else _id_of(here, mask)}


def _id_of(here: Studio, one: Any) -> str | None:
    match one:
        case {"sha256": str(digest)}:
            return here.uploads.id_of(digest)
        case _:
            return None


def _remarks(here: Studio, entry: Entry | None, record: Record) -> list[str]:
    """What a page should say besides."""
    if entry is None:
        return ["the model that made this is not served here: the settings are for another one"]
    try:
        if here.shelf.open(entry.id).model.digest() != record.weights:
            return ["the model has learned since this was made: the same settings give another picture"]
    except UserError as error:
        return [sentence(error)]
    return []
