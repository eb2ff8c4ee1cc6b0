"""What a row of a table says of a picture, under any of the names that people give to columns.

Names are compared in small letters, with ``_`` for blanks and hyphens. Where several columns say the same thing, the
first one of the lists below counts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from carrara.data.base import Row
from carrara.data.folder.layout import Part, part_of
from carrara.files import Malformed, as_kind, parse_json, shown

FILE = (
    "file_name", "filename", "file", "image_file", "image_filename", "image_file_name", "image_path", "img_path",
    "image", "img", "picture", "photo", "path", "filepath", "file_path", "relative_path", "image_name", "img_name",
    "name", "image_id", "img_id", "imageid", "file_id", "key", "id", "url",
)  # fmt: skip
TEXT = (
    "text", "texts", "caption", "captions", "prompt", "prompts", "description", "descriptions", "sentence", "sentences",
    "caption_text", "image_caption", "image_description", "raw_caption", "long_caption", "short_caption", "txt", "alt",
    "alt_text", "raw", "comment", "tags", "tag_string", "tag", "keywords", "title",
)  # fmt: skip
LABEL = (
    "label_name", "class_name", "category_name", "label", "labels", "class", "classes", "category", "categories",
    "class_label", "classname", "target", "class_id", "category_id", "label_id", "cls", "y",
)  # fmt: skip
SPLIT = ("split", "partition", "set", "subset", "usage")
TAGS = frozenset({"tags", "tag_string", "tag", "keywords"})
"""Columns of text that hold parts of one caption, where they hold a list."""
VECTOR = ("vector", "vectors", "embedding", "attributes", "features")
MAP = ("map", "map_file")
LONGEST = 1 << 16
"""The longest caption, in letters."""
WIDEST = 1 << 16
"""So many numbers may a vector have, and so many classes may there be."""
_LARGEST = float(np.finfo(np.float32).max)
_NUMBERED_PARTS: Mapping[Any, Part] = {0: "train", 1: "val", 2: "test"}

_Number = Annotated[float, Field(strict=True, ge=-_LARGEST, le=_LARGEST)]
_Numbers = Annotated[list[_Number], Field(max_length=WIDEST)]


@dataclass(frozen=True, kw_only=True)
class Line:
    """What is said of one picture.

    Attributes:
        place: where that stands in its table: ``line 3``.
        texts: its captions; None = nothing is said of them.
        labels: the names of its classes.
        vector: numbers (D,); None = nothing is said of them.
        map: the name of its map.
        part: of a split.
    """

    place: str = ""
    texts: tuple[str, ...] | None = None
    labels: tuple[str, ...] = ()
    vector: Row | None = None
    map: str | None = None
    part: Part = ""


@lru_cache(4096)
def plain(column: str) -> str:
    """The name of a column as the lists have it."""
    return "_".join(column.strip().casefold().replace("-", " ").replace("_", " ").split())


def line_of(row: Mapping[str, Any], place: str = "") -> Line:
    """What a row says.

    Raises:
        Malformed: a value is not what its column holds.
    """
    named = {plain(str(key)): (key, value) for key, value in row.items()}
    key, value = _first(named, TEXT)
    texts = (
        None if key is None else _read(key, _joined(key, value), texts_of, "a caption in quotes or a list of captions")
    )
    key, value = _first(named, LABEL)
    labels = () if key is None else _read(key, value, _labels, "a name, a whole number, or a list of these")
    key, value = _first(named, VECTOR)
    vector = None if key is None else _read(key, value, _vector, f"a list of numbers, at most {WIDEST}")
    key, value = _first(named, MAP)
    beside = None if key is None else _read(key, value, _name, "the name of a picture in the folder")
    _, value = _first(named, SPLIT)
    return Line(place=place, texts=texts, labels=labels, vector=vector, map=beside, part=_part(value))


def texts_in(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The captions of a row; none where it has no such column, or something else in it."""
    _, value = _first({plain(str(key)): (key, value) for key, value in row.items()}, TEXT)
    try:
        return texts_of(value)
    except Malformed:
        return ()


def read_in(row: Mapping[str, Any]) -> set[str]:
    """The columns of a row that are read, as they are called there."""
    named = {plain(str(key)): (key, value) for key, value in row.items()}
    return {key for names in (TEXT, LABEL, SPLIT, VECTOR, MAP) if (key := _first(named, names)[0]) is not None}


def name_in(row: Mapping[str, Any], column: str) -> str | None:
    """The name of a file that stands in a column; None if it is empty."""
    match row.get(column):
        case {"path": str(name)} | str(name) if name.strip():
            return name.strip()
        case int(number) if not isinstance(number, bool):
            return str(number)
        case _:
            return None


def brief(value: object) -> str:
    """A value as it can stand in a message."""
    text = shown(repr(value))
    return text if len(text) <= 60 else f"{text[:60]}..."


def texts_of(value: Any) -> tuple[str, ...]:
    """The captions that a value holds.

    Raises:
        Malformed: it is something else.
    """
    match value:
        case None:
            return ()
        case str():
            found = (value,)
        case {"raw": one} | {"caption": one} | {"text": one} | {"sentence": one}:
            found = texts_of(one)
        case list():
            found = tuple(text for one in value for text in texts_of(one))
        case float() if np.isnan(value):
            return ()
        case _:
            raise Malformed("is no text")
    if any(len(text) > LONGEST for text in found):
        raise Malformed(f"has more than {LONGEST} letters")
    return tuple(filter(None, map(str.strip, found)))


def _first(named: Mapping[str, tuple[str, Any]], names: tuple[str, ...]) -> tuple[str | None, Any]:
    """The key and the value of the first column of these that says something, or that is there."""
    there = [named[name] for name in names if name in named]
    full = [(key, value) for key, value in there if value not in (None, "", [])]
    return (*full, *there, (None, None))[0]


def _joined(key: str, value: Any) -> Any:
    """What a column of text holds; tags as one text."""
    if plain(str(key)) in TAGS and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return value


def _read(key: str, value: Any, read: Any, rule: str) -> Any:
    try:
        return read(value)
    except Malformed as error:
        why = f" ({error})" if str(error).startswith("has ") else ""
        raise Malformed(f'"{shown(key)}" is {rule}, not {brief(value)}{why}') from None


def _labels(value: Any) -> tuple[str, ...]:
    match value:
        case None | "":
            return ()
        case bool():
            return (str(value).lower(),)
        case int():
            return (str(value),)
        case float() if value.is_integer():
            return (str(int(value)),)
        case float() if np.isnan(value):
            return ()
        case str():
            return (value.strip(),) if value.strip() else ()
        case list():
            return tuple(label for one in value for label in _labels(one))
        case _:
            raise Malformed("is no label")


def _vector(value: Any) -> Row | None:
    if value in (None, ""):
        return None
    if isinstance(value, str):
        text = value.strip()
        if re.search(r"\d,\d+[;\s]+[-+\d]", text):
            raise Malformed("has commas for points: write 0.5")
        value = parse_json(text if text[:1] == "[" else f"[{', '.join(text.replace(',', ' ').split())}]")
    return np.array(as_kind(value, _Numbers), np.float32)


def _name(value: Any) -> str | None:
    return None if value in (None, "") else as_kind(value, str)


def _part(value: Any) -> Part:
    if isinstance(value, int | float) or (isinstance(value, str) and value.strip() in ("0", "1", "2")):
        return _NUMBERED_PARTS.get(int(value), "")
    return part_of(value) if isinstance(value, str) else ""
