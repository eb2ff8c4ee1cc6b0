r"""Tables of numbers and categories as points, and back.

A column of numbers v is one coordinate, standardised by its mean m and its deviation s; a category k of K is K
coordinates, the centred unit vector over the root r of its coordinates' mean variance p (1 - p), so that its clusters
are as far apart, beside the noise, as numbers are spread:

.. math:: x = (v - m) / s, \qquad x_j = (1[j = k] - 1 / K) / r, \quad r^2 = \tfrac1K \sum_j p_j (1 - p_j).         (1)

Back, whole numbers are rounded, and the largest coordinate is the category.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrara.data.folder.layout import counted, some
from carrara.errors import UserError
from carrara.files import shown
from carrara.modality import Column

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""Texts of cells that say nothing, in small letters."""
CATEGORIES = 200
"""So many different texts, or fewer, are categories."""
LARGEST = 1e150
"""Of numbers whose squares can be added."""
_STRAY = 0.5  # of a column's cells: as many that are no numbers, or fewer, are mistakes
_SHARE = 0.5  # of all rows: more different texts than that are names, and no categories


@dataclass(frozen=True)
class Cells:
    """A table, column by column; None where a cell says nothing."""

    columns: Mapping[str, Sequence[float | str | None]]

    @property
    def count(self) -> int:
        """How many rows it has."""
        return len(next(iter(self.columns.values()), ()))


def width_of(column: Column) -> int:
    """How many coordinates it has."""
    return len(column.categories) or 1


def cells_of(rows: Iterable[Mapping[str, Any]], names: Sequence[str], categories: Sequence[str]) -> Cells:
    """The cells of rows: numbers where a column has numbers alone, and texts otherwise.

    Args:
        names: of the columns.
        categories: columns whose numbers are names.
    """
    texts: dict[str, list[str | None]] = {name: [] for name in names}
    for row in rows:
        for name, column in texts.items():
            column.append(_text(row.get(name)))
    return Cells({name: column if name in categories else _numbers(column) for name, column in texts.items()})


def columns_of_cells(cells: Cells, categories: Sequence[str]) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """What the columns are, over the rows in which all of them say something, and what is left out, in sentences.

    Raises:
        UserError: nothing is left.
    """
    left_out, kept = list[str](), dict[str, Sequence[float | str | None]]()
    for name, column in cells.columns.items():
        if why := _useless(column, said=name in categories):
            left_out.append(f"column '{shown(name)}' is left out: {why}")
        else:
            kept[name] = column
    whole = complete_rows(kept, cells.count)
    if not kept or not whole.any():
        nothing = "no row in which every column says something" if kept else "no column of numbers or of categories"
        raise UserError(f"the table has {nothing}: {'; '.join(left_out) or 'give one that has'}")
    return tuple(_column(name, [column[k] for k in np.flatnonzero(whole).tolist()]) for name, column in kept.items()), (
        *left_out,
    )


def complete_rows(columns: Mapping[str, Sequence[float | str | None]], count: int) -> NDArray[np.bool_]:
    """(N,): the rows in which every column says something."""
    whole = np.ones(count, bool)
    for column in columns.values():
        whole &= np.array([cell is not None for cell in column], bool)
    return whole


def encoded(cells: Cells, columns: Sequence[Column]) -> tuple[NDArray[np.float32], int]:
    """The points (N, D) of the rows that say something of every column, by equation (1), and how many others there are.

    Raises:
        UserError: a column is gone, or has become another one.
    """
    for column in columns:
        if column.name not in cells.columns:
            raise UserError(f"the table has no column '{shown(column.name)}' any more")
    parts = [_coordinates(cells.columns[column.name], column) for column in columns]
    points = np.concatenate(parts, 1)
    whole = ~np.isnan(points).any(1)
    return points[whole].astype(np.float32), int((~whole).sum())


def decoded(points: NDArray[Any], columns: Sequence[Column]) -> list[list[float | int | str]]:
    """Equation (1) backwards: the rows of points (N, D)."""
    parts: list[list[float | int | str]] = []
    first = 0
    for column in columns:
        own = points[:, first : first + width_of(column)].astype(np.float64)
        first += width_of(column)
        if column.categories:
            parts.append([column.categories[k] for k in own.argmax(1).tolist()])
        else:
            values = own[:, 0] * column.std + column.mean
            parts.append([round(value) if column.whole else _brief(value) for value in values.tolist()])
    return [list(row) for row in zip(*parts, strict=True)]


def _brief(value: float) -> float:
    """As many digits as float32 has."""
    return float(f"{value:.7g}")


def _text(value: Any) -> str | None:
    """A cell as a text; None if it says nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    text = str(value).strip()
    return None if text.lower() in MISSING else text


def _numbers(column: Sequence[str | None]) -> Sequence[float | str | None]:
    """Texts as numbers, if all of them are finite ones."""
    try:
        numbers = [None if text is None else float(text) for text in column]
    except ValueError:
        return column
    return numbers if all(number is None or math.isfinite(number) for number in numbers) else column


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _useless(column: Sequence[float | str | None], *, said: bool) -> str:
    """Why a column is no use; nothing if it is."""
    known = [cell for cell in column if cell is not None]
    if not known:
        return "it says nothing"
    if not isinstance(known[0], str):
        largest = max(abs(cell) for cell in known if not isinstance(cell, str))
        return "" if largest < LARGEST else f"numbers such as {largest:g} are too large to be learned"
    different = len(set(known))
    if different <= CATEGORIES and (said or different <= max(2, _SHARE * len(known))):
        return ""
    others = [cell for cell in known if not _is_finite(str(cell))]
    if len(others) <= _STRAY * len(known):
        stray = f"{counted(len(others), 'cell')} of {len(known)}, such as '{shown(str(others[0]))}',"
        return f"{stray} {'is no number' if len(others) == 1 else 'are no numbers'}: write a number there, or nothing"
    if all(_is_finite(str(cell).replace(",", ".", 1)) for cell in known):
        return f"its numbers have decimal commas, such as '{shown(str(known[0]))}': write points"
    return f"{different} different texts in {len(known)} rows are names, and no categories"


def _column(name: str, cells: Sequence[Any]) -> Column:
    """What a column of numbers or of texts is."""
    if isinstance(cells[0], str):
        counts = Counter(cells)
        shares = np.array([counts[key] / len(cells) for key in sorted(counts)])
        deviation = math.sqrt(float((shares * (1 - shares)).mean()))
        return Column(name=name, categories=tuple(sorted(counts)), std=deviation or 1.0)
    values = np.array(cells, np.float64)
    whole = bool((values == values.round()).all() and np.abs(values).max() < 2**53)
    return Column(name=name, mean=float(values.mean()), std=float(values.std()) or 1.0, whole=whole)


def _coordinates(cells: Sequence[float | str | None], column: Column) -> NDArray[np.float64]:
    """(N, width); NaN where a cell says nothing that the column knows."""
    if column.categories:
        index = {name: k for k, name in enumerate(column.categories)}
        places = np.array([index.get(_name(cell), -1) for cell in cells])
        rows = (np.eye(len(index)) - 1 / len(index)) / column.std
        return np.where(places[:, None] >= 0, rows[places], np.nan)
    try:
        values = np.array([math.nan if cell is None else float(cell) for cell in cells])
    except ValueError:
        raise UserError(
            f"column '{shown(column.name)}' holds texts now, and held numbers: name it in data.source.categories"
        ) from None
    return ((values - column.mean) / column.std)[:, None]


def _name(cell: float | str | None) -> str:
    if isinstance(cell, int | float):
        return str(int(cell)) if float(cell).is_integer() else str(cell)
    return "" if cell is None else cell


def remarks_of(columns: Sequence[Column], rows: int, without: int) -> list[str]:
    """What a table was taken as, a line each."""
    numbers = [f"'{shown(column.name)}'" for column in columns if not column.categories]
    texts = [f"'{shown(column.name)}' ({len(column.categories)})" for column in columns if column.categories]
    said = [f"{counted(len(numbers), 'column')} of numbers, standardised: {some(numbers)}"] * bool(numbers)
    said += [f"{counted(len(texts), 'column')} of categories: {some(texts)}"] * bool(texts)
    if without:
        said.append(f"{without} of {counted(rows + without, 'row')} say nothing of some column, and are left out")
    return said
