"""JSON and YAML from files that anybody may have written: bounded in bytes, depth and digits, and plain values alone.

What comes out is made of None, booleans, integers, floats, text, lists, and mappings with text as keys. NaN is no
number of JSON, and what is infinite must be a field that says so. YAML may name no anchors, so nothing can refer to
itself, and a small file is a small value. A type says what a document holds, and pydantic compares them:
``read_as(path, Manifest)``.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import yaml
from yaml.composer import ComposerError

from carrara.errors import UserError
from carrara.files.reading import TEXT, BadFile, opened, read_bytes

T = TypeVar("T")
DEPTH = 64
"""So deeply may lists and mappings stand in each other."""
DIGITS = 40
"""So many digits may a whole number have."""
RECIPE = 1 << 17
"""The largest YAML, in bytes: its reader is slow."""
LINE = 1 << 20
"""The longest line of a file of lines, in bytes."""
_ENDLESS = 64 * LINE
LARGEST = 1 << 63
"""A whole number of a type lies below that, and above its negative."""


class Malformed(ValueError):
    """A text that is no document; says why, as it follows after a name."""


@dataclass(frozen=True, kw_only=True)
class Yaml:
    """What a YAML text holds.

    Attributes:
        values: None if there is nothing in it.
        lines: of each key, by its path, in order; a key that stands there twice is there twice.
    """

    values: Any
    lines: Sequence[tuple[tuple[str, ...], int]]


def parse_json(text: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        Malformed: it is no JSON, or beyond the bounds.
    """
    try:
        plain = text if isinstance(text, str) else text.decode("utf-8-sig")  # json.loads would take UTF-16 too
        value = json.loads(plain, parse_int=_whole, parse_float=_finite, parse_constant=_infinite)
    except Malformed:
        raise
    except UnicodeDecodeError:
        raise Malformed("is no text in UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, character {error.colno}"
        raise Malformed(f"is no JSON ({error.msg[:1].lower()}{error.msg[1:]} in {where})") from None
    except (RecursionError, MemoryError):
        raise Malformed(f"is nested more than {DEPTH} deep") from None
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
    if raw.count(b"[") + raw.count(b"{") > DEPTH or b"\\u" in raw:
        _check_plain(value)
    return value


def read_json(path: Path, most: int = TEXT) -> Any:
    """The value of a JSON file.

    Raises:
        BadFile: it cannot be read, or is no JSON within the bounds.
    """
    try:
        return parse_json(read_bytes(path, most))
    except Malformed as error:
        raise BadFile(path, str(error)) from None


def read_lines(path: Path, most: int | None = None) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that have something in them, with their numbers from 1; too long ones are cut, and
    after one without an end nothing is read.

    Raises:
        BadFile: see ``opened``.
    """
    with opened(path, most) as file:
        number = 0
        while line := file.readline(LINE):
            number += 1
            if line.strip():
                yield number, line.rstrip(b"\r\n")
            skipped = 0
            while len(line) == LINE and not line.endswith(b"\n"):  # the rest of one that is longer, if more are wanted
                line, skipped = file.readline(LINE), skipped + LINE
                if skipped > _ENDLESS:
                    return


def parse_yaml(text: str | bytes) -> Yaml:
    """The value of a YAML text, and where its keys stand.

    Raises:
        yaml.MarkedYAMLError: it is no YAML, or has anchors; with its place.
        Malformed: it is beyond the bounds.
    """
    if len(text) > RECIPE:
        raise Malformed(f"has {len(text)} bytes, and YAML is read up to {RECIPE}")
    loader: Any = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Yaml(values=None, lines=())
        values = loader.construct_document(node)
        _check_plain(values)
        return Yaml(values=values, lines=tuple(_lines(node, ())))
    except RecursionError:
        raise Malformed(f"is nested more than {DEPTH} deep") from None
    except (yaml.MarkedYAMLError, Malformed):
        raise
    except yaml.YAMLError as error:
        raise Malformed(f"is no YAML ({' '.join(str(error).split())[:100]})") from None
    except (ValueError, LookupError, AttributeError, TypeError) as error:  # a date in month 13, a number without digits
        raise Malformed(f"has a value that cannot be read ({str(error)[:100]})") from None
    finally:
        if loader is not None:
            loader.dispose()


def read_yaml(path: Path) -> Any:
    """The values of a YAML file.

    Raises:
        BadFile: it cannot be read, or is no YAML within the bounds.
        UserError: a newer version wrote it.
    """
    try:
        values = parse_yaml(read_bytes(path, RECIPE)).values
    except (Malformed, yaml.MarkedYAMLError) as error:
        raise BadFile(
            path, error.args[0] if isinstance(error, Malformed) else f"is no YAML ({error.problem})"
        ) from None
    check_format(values, path)
    return values


def check_format(document: Any, path: Path | str, known: int = 1) -> None:
    """Refuses what a newer version wrote, before anything else in it is looked at.

    Args:
        document: a mapping that says its ``format``; one that says nothing has format 1.
        known: the newest format that this version reads.

    Raises:
        UserError: the document's is newer.
    """
    match document:
        case {"format": int(found)} if found > known:
            raise UserError(
                f"'{path}' was written by a newer Carrara, in format {found}, and this one reads {known}: "
                "update Carrara"
            )
        case _:
            pass


@overload
def read_as(path: Path, kind: type[T], most: int = TEXT, *, known: int = 1) -> T: ...
@overload
def read_as(path: Path, kind: Any, most: int = TEXT, *, known: int = 1) -> Any: ...
def read_as(path: Path, kind: Any, most: int = TEXT, *, known: int = 1) -> Any:
    """A JSON file as what it should hold.

    Args:
        kind: a type that pydantic can validate; what it does not name is passed over, unless it says otherwise.
        known: its newest format; see ``check_format``.

    Raises:
        BadFile: it cannot be read, is no JSON within the bounds, or holds something else.
        UserError: a newer version wrote it.
    """
    document = read_json(path, most)
    check_format(document, path, known)
    try:
        return as_kind(document, kind)
    except Malformed as error:
        raise BadFile(path, str(error)) from None


@overload
def as_kind(value: Any, kind: type[T]) -> T: ...
@overload
def as_kind(value: Any, kind: Any) -> Any: ...
def as_kind(value: Any, kind: Any) -> Any:
    """A plain value as what it should be. Its numbers are finite, and whole ones have 64 bits; only where the metadata
    of a field say ``unlimited``, it may be infinite.

    Raises:
        Malformed: it is something else; with the first key that is wrong.
    """
    from pydantic import ValidationError

    try:
        found = _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(str(part)[:40] for part in first["loc"][:6])
        reason = first["msg"].removeprefix("Value error, ")
        reason = reason[:1].lower() + reason[1:200]
        raise Malformed(f"has '{key}' wrong ({reason})" if key else f"holds something else ({reason})") from None
    except (ValueError, TypeError, ArithmeticError, RecursionError, AssertionError) as error:
        raise Malformed(f"holds something else ({str(error)[:200]})") from None
    _check_numbers(found)
    return found


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _check_numbers(value: Any, where: str = "", *, finite: bool = True) -> None:
    """Refuses numbers that nothing can be made of, anywhere in a value of dataclasses, lists and mappings."""
    match value:
        case bool() | None | str():
            pass
        case int() if not -LARGEST < value < LARGEST:
            raise Malformed(f"has '{where}' wrong (a number of more than 64 bits)")
        case float() if math.isnan(value) or (finite and math.isinf(value)):
            raise Malformed(f"has '{where}' wrong ({value} is no number that can be used)")
        case list() | tuple() | dict():
            items = value.items() if isinstance(value, dict) else enumerate(cast(Sequence[Any], value))
            for name, below in cast(Iterable[tuple[Any, Any]], items):
                own = finite and not isinstance(value, dict)  # a mapping is plain: its types are looked at later
                _check_numbers(below, f"{where}.{name}".lstrip(".")[:200], finite=own)
        case _ if is_dataclass(value):
            for own in fields(value):
                name = f"{where}.{own.name}".lstrip(".")
                _check_numbers(getattr(value, own.name), name, finite=not own.metadata.get("unlimited"))
        case _:
            pass


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise Malformed(f"has a number of {len(digits)} digits, and at most {DIGITS} are read")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Malformed(f"has a number that is too large ({digits[:20]})")
    return value


def _infinite(name: str) -> float:
    if name == "NaN":
        raise Malformed("has NaN, which is no number of JSON")
    return float(name)


def _check_plain(value: Any) -> None:
    """Walks over a tree that has no circles."""
    level: list[Any] = [value]
    for _ in range(DEPTH + 1):
        level = [below for one in level for below in _below(one)]
        if not level:
            return
    raise Malformed(f"is nested more than {DEPTH} deep")


def _below(value: Any) -> Iterator[Any]:
    match value:
        case str():
            if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise Malformed("has half of a character (a lone surrogate)")
        case int():
            if abs(value) >= 10**DIGITS:
                raise Malformed(f"has a number of more than {DIGITS} digits")
        case list():
            yield from value
        case dict():
            for key, below in value.items():
                if not isinstance(key, str):
                    raise Malformed(f"has the key {str(key)[:40]}, which is no text")
                yield key
                yield below
        case None | float():
            pass
        case _:
            raise Malformed(f"has a value of another type ({type(value).__name__}): put it in quotes")


class _Loader(yaml.SafeLoader):
    """A loader of plain values: nothing may be named, and what is not named cannot be repeated. A key must be text."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        if getattr(event, "anchor", None) is not None:
            problem = "anchors (&name) and aliases (*name) are not read: write the value twice"
            raise ComposerError(None, None, problem, event.start_mark)
        return super().compose_node(parent, index)


def _lines(node: yaml.Node, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, str(key.value)), key.start_mark.line + 1
            yield from _lines(value, (*path, str(key.value)))
