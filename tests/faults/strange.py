"""Strange values in the place of each value of a record, one at a time."""

import copy
import json
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from carrara.errors import UserError

Key = tuple[str | int, ...]


def _deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**9,
    10**30,
    int("9" * 4000),
    1.5,
    -1e30,
    float("nan"),
    float("inf"),
    "",
    "nan",
    "x" * 5000,
    "\ud800",
    "../../etc/passwd\0[/]",
    [],
    [1, "a", None],
    {},
    {"kind": "cosine", "a": 1},
    _deep(70),
)
MEMORY = 1 << 30
"""Bytes by which the most memory that a process ever had may grow, a test at a time."""


def keys(value: Any, above: Key = ()) -> Iterator[Key]:
    """Where something stands in a value: all of it, its parts, and theirs."""
    yield above
    match value:
        case dict():
            for name, below in value.items():
                yield from keys(below, (*above, name))
        case list():
            for k, below in enumerate(value[:3]):
                yield from keys(below, (*above, k))
        case _:
            pass


def replaced(value: Any, key: Key, new: Any) -> Any:
    """The same with another value at a key."""
    if not key:
        return new
    changed = copy.copy(value)
    changed[key[0]] = replaced(value[key[0]], key[1:], new)
    return changed


def without(value: Any, key: Key) -> Any:
    """The same without a key."""
    changed = copy.copy(value)
    if len(key) == 1:
        del changed[key[0]]
    else:
        changed[key[0]] = without(value[key[0]], key[1:])
    return changed


def cases(value: Any, values: Sequence[Any] = VALUES) -> Iterator[tuple[str, Any]]:
    """What to call each change of a value, and what it makes of it."""
    for key in keys(value):
        name = ".".join(map(str, key))
        for new in values:
            yield f"{name} = {str(new)[:30]!r}", replaced(value, key, new)
        if key:
            yield f"{name} is missing", without(value, key)


def text(value: Any) -> str:
    """As JSON, strange as it is."""
    sys.set_int_max_str_digits(10_000)
    try:
        return json.dumps(value)
    finally:
        sys.set_int_max_str_digits(4300)


def check(named: Iterator[tuple[str, Any]], act: Callable[[Any], object], least: int) -> None:
    """Nothing comes of strange values but sentences, in little memory.

    Args:
        act: is done with each.
        least: so many there are at least.
    """
    wrong, count, before = list[str](), 0, _peak()
    for name, value in named:
        count += 1
        try:
            act(value)
        except UserError as error:
            if len(error.message) > 3000 or "\n\n" in error.message:
                wrong.append(f"{name}: a sentence of {len(error.message)} letters")
        except Exception as error:  # whatever else comes is what is looked for
            wrong.append(f"{name}: {type(error).__name__} {str(error)[:150]}")
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong[:60])
    assert count >= least
    assert _peak() - before < MEMORY


def png(path: Path, record: str, size: tuple[int, int] = (8, 8)) -> Path:
    """A picture that carries any text as its record."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("carrara", record)
    Image.new("RGB", size).save(path, pnginfo=chunks)
    return path


def _peak() -> int:
    """The most memory that this process ever had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
