"""What is in a table, column by column."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from carrara.data.description import Description, Told, counts, titled
from carrara.data.rows import Cells, columns_of_cells, complete_rows
from carrara.files import shown
from carrara.modality import Column

_SHOWN = 12


def describe(name: str, cells: Cells, categories: Sequence[str]) -> Description:
    """What the columns of a table are taken as, and what they hold.

    Raises:
        UserError: nothing of it can be used.
    """
    columns, left_out = columns_of_cells(cells, categories)
    taken = {column.name: column for column in columns}
    rows = [_row(key, column, taken.get(key)) for key, column in cells.columns.items()]
    whole = complete_rows({key: cells.columns[key] for key in taken}, cells.count)
    lines = [f"{shown(name)}: {cells.count} rows of {len(rows)} columns; {int(whole.sum())} rows can be trained on"]
    lines += [
        titled(shown(str(row["column"])[:_SHOWN]), _said(row, cells)) for row in rows if row["kind"] != "left out"
    ]
    lines += [titled("left out", sentence.replace(" is left out", "")) for sentence in left_out]
    if without := cells.count - int(whole.sum()):
        lines.append(titled("incomplete", f"{without} rows say nothing of some column, and are left out"))
    return Description(lines=tuple(lines), rows=tuple(rows))


def _row(name: str, cells: Sequence[float | str | None], column: Column | None) -> Told:
    known = [cell for cell in cells if cell is not None]
    told: dict[str, str | int | float] = {"column": name, "kind": "left out", "missing": len(cells) - len(known)}
    if column is None:
        return told
    if column.categories:
        return {**told, "kind": "categories", "different": len(column.categories)}
    values = np.array(known, np.float64)
    return {
        **told,
        "kind": "whole numbers" if column.whole else "numbers",
        "mean": float(values.mean()),
        "std": float(values.std()),
        "low": float(values.min()),
        "high": float(values.max()),
    }


def _said(row: Told, cells: Cells) -> str:
    missing = f"; {row['missing']} cells say nothing" if row["missing"] else ""
    if row["kind"] == "categories":
        known = Counter(str(cell) for cell in cells.columns[str(row["column"])] if cell is not None)
        return f"categories: {counts({shown(key): count for key, count in known.items()})}{missing}"
    text = f"{row['kind']}, {row['low']:g} to {row['high']:g}, mean {row['mean']:.4g}, std {row['std']:.4g}"
    return text + (", always the same" if row["low"] == row["high"] else "") + missing
