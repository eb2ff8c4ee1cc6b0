"""Tables that tell of many pictures, a row each: JSON lines, JSON, CSV and Parquet.

A JSON file may be a list of rows, pairs of names and what is said of them, COCO's images and annotations, or pairs
under ``labels``. Values are plain; what they mean is said in ``columns``.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carrara.data.folder.beside import decoded
from carrara.data.folder.columns import LONGEST
from carrara.data.folder.listing import ending_of
from carrara.files import LINE, BadFile, Malformed, as_kind, parse_json, read_bytes, read_lines, read_parquet, shown

TABLE = 1 << 29
"""The largest table that is read at once, in bytes; JSON lines may be longer."""
_BOM = b"\xef\xbb\xbf"
_ROWS = ("data", "rows", "images", "annotations", "items", "samples")
_NAME = "file_name"


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A row, or why it is none.

    Attributes:
        place: ``line 3`` or ``row 3``, from 1.
        fault: as it follows after the place.
    """

    place: str
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fault: str = ""


def rows_of(path: Path) -> Iterator[TableRow]:
    """The rows of a table.

    Raises:
        BadFile: it cannot be read, or is no table; then in the beginning.
        UserError: a package is missing.
    """
    ending = ending_of(path.name)
    if ending == ".parquet":
        yield from _numbered(read_parquet(path, TABLE))
    elif ending in (".csv", ".tsv", ".txt"):
        yield from _delimited(path)
    elif ending == ".json" or _is_whole(path):
        try:
            yield from _documents(parse_json(decoded(read_bytes(path, TABLE))))
        except Malformed as error:
            raise BadFile(path, str(error)) from None
    else:
        yield from _lines(path)


def _is_whole(path: Path) -> bool:
    """Whether what should be lines of JSON is an array, or another encoding than theirs."""
    first = next((text for _, text in read_lines(path)), b"").removeprefix(_BOM).lstrip()
    return first[:1] == b"[" or b"\0" in first[:4] or first[:2] in (b"\xff\xfe", b"\xfe\xff")


def _lines(path: Path) -> Iterator[TableRow]:
    for number, text in read_lines(path):
        text = text.removeprefix(_BOM) if number == 1 else text
        if not text.strip():
            continue
        place = f"line {number}"
        if len(text) >= LINE:
            yield TableRow(place=place, fault=f"a line has less than {LINE} bytes: make its captions shorter")
            continue
        try:
            yield TableRow(place=place, values=as_kind(parse_json(text), dict[str, Any]))
        except Malformed as error:
            yield TableRow(place=place, fault=f"not a JSON object (it {error})")


def _numbered(rows: Iterable[Any]) -> Iterator[TableRow]:
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield TableRow(place=f"row {number}", values=row)
        else:
            yield TableRow(place=f"row {number}", fault="not a JSON object")


def _delimited(path: Path) -> Iterator[TableRow]:
    try:
        text = decoded(read_bytes(path, TABLE))
    except Malformed as error:
        raise BadFile(path, str(error)) from None
    skipped = 0
    if re.match(r"sep=.\r?\n", text, re.IGNORECASE):  # as Excel has it
        text, skipped = text.partition("\n")[2], 1
    first = next(iter(text.lstrip().splitlines()), "")
    mark = "\t" if ending_of(path.name) == ".tsv" else max(",;\t|", key=first.count)
    csv.field_size_limit(4 * LONGEST)
    try:
        named = next(csv.reader([first], delimiter=mark, skipinitialspace=True), [])
    except csv.Error as error:
        raise BadFile(path, f"is no CSV file ({error})") from None
    if twice := [name for name in named if name and named.count(name) > 1]:
        raise BadFile(path, f"has two columns called '{shown(twice[0])}': give one another name")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=mark, strict=False, skipinitialspace=True)
    try:
        for row in reader:
            place = f"line {reader.line_num + skipped}"
            if any(row.pop(None, None) or ()):  # type: ignore[call-overload]
                names = ", ".join(map(shown, reader.fieldnames or ()))
                said = f"it has more columns than the first line ({names}): put quotes around what has a '{mark}' in it"
                yield TableRow(place=place, fault=said)
                continue
            if any(row.values()):
                yield TableRow(place=place, values={key.strip(): value for key, value in row.items() if key})
    except csv.Error as error:
        yield TableRow(place=f"line {reader.line_num + skipped}", fault=f"no line of a CSV file ({error})")


def _documents(document: Any) -> Iterator[TableRow]:
    """The rows of a JSON document.

    Raises:
        Malformed: it is none of those that are known.
    """
    match document:
        case list():
            yield from _numbered(document)
        case {"images": list(images), "annotations": list(annotations)}:
            yield from _coco(images, annotations)
        case {"labels": [[str(), _], *_] as pairs}:
            yield from _pairs(pairs)
        case dict() if listed := next((document[key] for key in _ROWS if _is_rows(document.get(key))), None):
            yield from _numbered(listed)
        case dict() if document and all(isinstance(value, str | list | dict | None) for value in document.values()):
            yield from _named(document)
        case _:
            raise Malformed("holds no rows")


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value[:100])


def _coco(images: Sequence[Any], annotations: Sequence[Any]) -> Iterator[TableRow]:
    names = {str(row.get("id")): row.get(_NAME) for row in images if isinstance(row, dict)}
    told = [row for row in annotations if isinstance(row, dict) and "caption" in row]
    if annotations and not told:
        raise Malformed("holds annotations that are no captions, such as boxes, and these are not read")
    for number, row in enumerate(told, start=1):
        place = f"annotation {number}"
        if name := names.get(str(row.get("image_id"))):
            yield TableRow(place=place, values={_NAME: name, "caption": row["caption"]})
        else:
            yield TableRow(place=place, fault=f"there is no image {shown(repr(row.get('image_id')))[:40]} in it")


def _pairs(pairs: Sequence[Any]) -> Iterator[TableRow]:
    for number, pair in enumerate(pairs, start=1):
        match pair:
            case [str(name), list(numbers)]:
                yield TableRow(place=f"row {number}", values={_NAME: name, "vector": numbers})
            case [str(name), label]:
                yield TableRow(place=f"row {number}", values={_NAME: name, "label": label})
            case _:
                yield TableRow(place=f"row {number}", fault="not a name and a label")


def _named(document: Mapping[str, Any]) -> Iterator[TableRow]:
    for number, (name, told) in enumerate(document.items(), start=1):
        values = told if isinstance(told, dict) else {"text": told}
        yield TableRow(place=f"row {number}", values={**values, _NAME: name})


def columns_of(rows: Iterable[TableRow]) -> list[str]:
    """The columns of some rows, in order."""
    return list(dict.fromkeys(key for row in rows for key in row.values))
