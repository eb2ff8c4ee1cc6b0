"""What is in a user's files before a model is trained on them, said in lines and listed in rows."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from carrara.data.base import DataInfo
from carrara.data.folder.layout import counted
from carrara.errors import UserError
from carrara.files import replacing, shown

Told = Mapping[str, str | int | float]
_TITLE = 13
_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is found out about files that are no pictures.

    Attributes:
        lines: for people.
        rows: a file, a column or an array each: its name, and what is in it or why it cannot be used.
    """

    lines: tuple[str, ...]
    rows: tuple[Told, ...] = ()


def write_rows(rows: Sequence[Told], path: Path) -> int:
    """Writes rows as CSV, whose columns are all that any of them has; how many there are.

    Raises:
        UserError: there is such a file already, or the disk refuses.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows(rows)
    if os.path.lexists(path):
        raise UserError(f"'{shown(path)}' is there already: name a file that is not")
    with replacing(path) as file:
        file.write(text.getvalue().encode())
    return len(rows)


def titled(title: str, text: str) -> str:
    """A line of what is told, below the first."""
    return f"  {title:<{_TITLE}}{text}"


def taken_as(info: DataInfo) -> list[str]:
    """The remarks of data, a line each."""
    return [titled("taken as", remark) for remark in info.remarks]


def ranged(values: Sequence[float], form: str = "g") -> str:
    """From the least of some values to the greatest, with the median."""
    ordered = sorted(values)
    low, middle, high = ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1]
    return f"{low:{form}}" if low == high else f"{low:{form}} to {high:{form}}, median {middle:{form}}"


def counts(found: Mapping[str, int]) -> str:
    """How often there is what, common ones first."""
    ordered = sorted(found.items(), key=lambda one: -one[1])
    more = f" and {counted(len(ordered) - _SHOWN, 'other')}" if len(ordered) > _SHOWN else ""
    return ", ".join(f"{name} ({count})" for name, count in ordered[:_SHOWN]) + more
