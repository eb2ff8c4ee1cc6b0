"""``metadata.jsonl``: what its lines say of the pictures of a folder.

A line can name nothing that the folder does not show anyway: what it names lies in the folder, and of maps it can only
name what is listed there.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from carrara.data.base import Row
from carrara.data.listing import Listing
from carrara.errors import UserError
from carrara.files import LINE, Malformed, as_kind, is_regular, parse_json, read_lines, shown

METADATA = "metadata.jsonl"
CAPTION = 1 << 16
"""The longest caption, in bytes."""
WIDEST = 1 << 16
"""So many numbers may a vector have, and so many classes may there be."""
_BOM = b"\xef\xbb\xbf"
_LARGEST = float(np.finfo(np.float32).max)

_Text = Annotated[str, Field(max_length=CAPTION)]
_Texts = _Text | list[_Text]
_Number = Annotated[float, Field(strict=True, ge=-_LARGEST, le=_LARGEST)]
_Numbers = Annotated[list[_Number], Field(max_length=WIDEST)]


@dataclass(frozen=True, kw_only=True)
class Line:
    """What a line says of one picture.

    Attributes:
        number: of the line, from 1.
        texts: its captions; None = nothing is said of them.
        labels: the names of its classes.
        vector: numbers (D,); None = nothing is said of them.
        map: the name of its map within the folder.
    """

    number: int
    texts: tuple[str, ...] | None = None
    labels: tuple[str, ...] = ()
    vector: Row | None = None
    map: str | None = None


def read_metadata(folder: Path, listing: Listing) -> dict[str, Line]:
    """Reads ``metadata.jsonl``, if there is one: its lines by the names of their files.

    Args:
        listing: of the folder.

    Raises:
        UserError: a line is wrong; with its number.
    """
    path, lines, pictures = folder / METADATA, dict[str, Line](), frozenset(listing.pictures)
    if not os.path.lexists(path):
        return lines
    for number, text in read_lines(path):
        text = text.removeprefix(_BOM) if number == 1 else text
        if not text.strip():
            continue
        where = f"{shown(path)}, line {number}"
        row = _row(text, where)
        file = _within(row["file_name"])
        if file is None:
            raise UserError(
                f"{where}: \"file_name\" is the name of a file in the folder, without '..', and not "
                f"{_brief(row['file_name'])}"
            )
        if file not in pictures and not is_regular(folder / file):
            raise UserError(f"{where}: there is no file {_brief(file)} in the folder")
        if file in lines:
            raise UserError(
                f"{where}: line {lines[file].number} tells of {_brief(file)} too: keep one of them; "
                'several captions are a list, "text": ["one", "another"]'
            )
        lines[file] = _line(row, number, where, pictures)
    return lines


def _row(text: bytes, where: str) -> Mapping[str, Any]:
    if len(text) >= LINE:
        raise UserError(f"{where}: a line has less than {LINE} bytes: make its captions shorter")
    try:
        row = as_kind(parse_json(text), dict[str, Any])
        as_kind(row.get("file_name"), str)
    except Malformed as error:
        raise UserError(f'{where}: not a JSON object with a "file_name" (it {error})') from None
    return row


def _within(name: str) -> str | None:
    """A name within the folder as a listing has it; None if it leads elsewhere."""
    path = Path(name)
    return None if path.is_absolute() or path.drive or ".." in path.parts else path.as_posix()


def _line(row: Mapping[str, Any], number: int, where: str, pictures: frozenset[str]) -> Line:
    vector = _value(row, "vector", _Numbers, f"a list of numbers, at most {WIDEST}", where)
    named = _value(row, "map", str, "the name of a picture in the folder", where)
    beside = None if named is None else _within(named)
    if named is not None and beside not in pictures:
        raise UserError(f'{where}: "map" is the name of a picture in the folder, and there is no {_brief(named)}')
    captions = f"a caption in quotes or a list of captions, of at most {CAPTION} characters each"
    return Line(
        number=number,
        texts=None if "text" not in row else _listed(_value(row, "text", _Texts, captions, where)),
        labels=_listed(_value(row, "label", str | list[str], "a name in quotes or a list of names", where)),
        vector=None if vector is None else np.array(vector, np.float32),
        map=beside,
    )


def _value(row: Mapping[str, Any], key: str, kind: Any, rule: str, where: str) -> Any:
    """What stands at a key; None if it is not there.

    Raises:
        UserError: it is something else.
    """
    if key not in row:
        return None
    try:
        return as_kind(row[key], kind)
    except Malformed:
        raise UserError(f'{where}: "{key}" is {rule}, not {_brief(row[key])}') from None


def _listed(value: str | list[str] | None) -> tuple[str, ...]:
    """What may be a list, or one of its elements."""
    return (value,) if isinstance(value, str) else tuple(value or ())


def _brief(value: object) -> str:
    text = shown(repr(value))
    return text if len(text) <= 60 else f"{text[:60]}..."
