"""Adapters (LoRA) that served models have learned beside what they began with: which of them fit which model.

This is known by the headers of their files, which are read again when these change. No model is opened for it but the
one that is asked about.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from carrara.draw import Ask, Request
from carrara.errors import UserError, option
from carrara.files import Stamp, stamp_of
from carrara.lora import CONFIG, WEIGHTS, file_in, fingerprint, read_adapter, shapes_of
from carrara.model import Model
from carrara.serve.blame import blaming
from carrara.serve.shelf import Entry, Shelf
from carrara.store import OpenModel
from carrara.store.adapters import Added, fits, located

_PARTS = re.compile(r"model|best|early|step-\d+")
"""The folders of a run that hold models: they are called as the run is."""


def fitting(shelf: Shelf, own: Entry, model: Model) -> list[Entry]:
    """The served models whose adapters fit one, but itself; those that have learned beside it come first."""
    found = [entry for entry in shelf.models() if entry.id != own.id and _fits(entry, model)]
    return sorted(found, key=lambda entry: stranger(entry, own) is not None)


def stranger(entry: Entry, own: Entry) -> str | None:
    """The name of what an adapter has learned beside, if that is neither a model nor what this one began with."""
    start = _start(entry)
    return None if start in (None, own.title, _start(own)) else start


def check_adapters(opened: OpenModel, ask: Ask) -> None:
    """Refuses an adapter that is for another network, in words without places.

    Raises:
        UserError: one is.
    """
    for said in ask.lora:
        path, _ = located(said)
        if (shapes := _shapes(path, *_stamps(path))) is None or not fits(shapes, opened.model):
            with blaming("lora"):
                what = f"the adapter '{called(path)}' is for another network"
                raise UserError(f"{what}: leave it out of {option('lora')}")


def called(path: Path | str) -> str:
    """What people call an adapter: as the run that has learned it."""
    path = Path(path)
    return path.parent.name if _PARTS.fullmatch(path.name) and path.parent.name else path.name


def told(adapters: Sequence[Added]) -> tuple[str, ...]:
    """What was added to a model, as people read it."""
    return tuple(f"{called(one.file)} {_number(one.times)}" for one in adapters)


def recalled_adapters(shelf: Shelf, own: Entry, model: Model, request: Request) -> tuple[list[str], list[str]]:
    """The adapters of a record as a client says them, and what is to be said of those that are not what they were."""
    said, remarks = list[str](), list[str]()
    known = fitting(shelf, own, model) if request.adapters else []
    for one in request.adapters:
        name = called(one.file)
        same = next((entry for entry in known if _fingerprint(entry) == one.weights), None)
        alike = same or next((entry for entry in known if entry.title == name), None)
        if alike is not None:
            said.append(f"{alike.id}:{_number(one.times)}")
        if alike is None:
            remarks.append(f"the adapter '{name}', which was added to the model, is not served here for it")
        elif same is None:
            remarks.append(f"the adapter '{name}' has learned since: the same settings give another picture")
    return said, remarks


def _start(entry: Entry) -> str | None:
    """The name of the model that a run began with, if it says it and that is no part of a run."""
    start = entry.about.get("start")
    name = Path(start).name[:60] if isinstance(start, str) else ""
    return None if not name or _PARTS.fullmatch(name) else name


def _fits(entry: Entry, model: Model) -> bool:
    shapes = None if (path := _place(entry)) is None else _shapes(path, *_stamps(path))
    return shapes is not None and fits(shapes, model)


def _place(entry: Entry) -> Path | None:
    """Where the adapter of a model is; None if it has none."""
    try:
        return located(str(entry.path))[0]
    except UserError:
        return None


def _fingerprint(entry: Entry) -> str | None:
    return None if (path := _place(entry)) is None else _hash(path, *_stamps(path))


def _stamps(path: Path) -> tuple[Stamp, Stamp]:
    file = file_in(path) or path / WEIGHTS
    return stamp_of(file), stamp_of(file.with_name(CONFIG))


@lru_cache(maxsize=1024)
def _shapes(path: Path, *stamps: Stamp) -> Mapping[str, tuple[int, ...]] | None:
    try:
        return shapes_of(path)
    except UserError:
        return None


@lru_cache(maxsize=1024)
def _hash(path: Path, *stamps: Stamp) -> str | None:
    try:
        return fingerprint(read_adapter(path))
    except UserError:
        return None


def _number(times: float) -> str:
    return repr(times).removesuffix(".0")
