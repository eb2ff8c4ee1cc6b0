"""What is in arrays: their axes, and what their values are like, those that are no numbers among them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from carrara.data.array.dataset import ArrayData
from carrara.data.array.ranges import MEASURED, MEASURED_BYTES
from carrara.data.array.stored import Files
from carrara.data.base import Unreadable
from carrara.data.description import Description, Told, counts, ranged, taken_as, titled
from carrara.files import is_folder, shown
from carrara.files.arrays import is_zarr, stored_arrays

_TOLD = 5


def describe(files: Files, data: ArrayData) -> Description:
    """Reads examples of arrays: all of them, or some thousands from all over.

    Raises:
        UserError: the arrays cannot be opened.
    """
    size = data.dtype.itemsize * int(np.prod(data.shape))
    count = min(len(data), max(1, min(MEASURED, MEASURED_BYTES // size)))
    rows = [_row(data, files, k * len(data) // count) for k in range(count)]
    return Description(lines=tuple(_lines(files, data, rows)), rows=tuple(rows))


def _row(data: ArrayData, files: Files, index: int) -> Told:
    """An example, in its units."""
    try:
        values = data.in_units(index)
    except Unreadable as error:
        return {"example": data.name(index), "problem": str(error)}
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    told: dict[str, str | int | float] = {"example": data.name(index)}
    if known.size:
        exact = known.astype(np.float64)
        low, high = float(known.min()), float(known.max())
        told |= {"low": low, "high": high, "mean": float(exact.mean()), "std": float(exact.std())}
    return {**told, "nan": _count(np.isnan, values), "infinite": _count(np.isinf, values)}


def _count(test: np.ufunc, values: NDArray[np.generic]) -> int:
    return int(test(values).sum()) if values.dtype.kind == "f" else 0


def _lines(files: Files, data: ArrayData, rows: list[Told]) -> list[str]:
    whole = len(rows) == len(data)
    lines = [f"{shown(files.path)}: {len(data)} examples of shape {data.shape}, {data.dtype}"]
    lines += _arrays(files.path)
    if not data.info.remarks:
        lines.append(titled("taken as", f"axes {data.layout.axes}"))
    lines += taken_as(data.info)
    lines.append(titled("measured", "all examples" if whole else f"{len(rows)} examples from all over"))
    known = [row for row in rows if "low" in row]
    if known:
        low, high = min(float(row["low"]) for row in known), max(float(row["high"]) for row in known)
        lines.append(titled("range", f"{low:g} to {high:g}"))
        lines += [titled(name, ranged([float(row[name]) for row in known])) for name in ("mean", "std")]
    if data.info.classes:
        labels = [int(data.columns(k)["label"].argmax()) for k in range(min(len(data), MEASURED))]  # type: ignore[union-attr]
        found = {name: labels.count(k) for k, name in enumerate(data.info.classes)}
        lines.append(titled("classes", counts(found)))
    lines += _doubtful(rows)
    return lines


def _arrays(path: Path) -> list[str]:
    """What else is in a file or a store."""
    if is_folder(path) and not is_zarr(path):
        return []
    arrays = {name: array for name, array in stored_arrays(path).items() if name}
    told = [f"{shown(name)} {array.shape} {array.dtype}" for name, array in arrays.items()]
    return [titled("arrays", ", ".join(told))] if told else []


def _doubtful(rows: list[Told]) -> list[str]:
    lines = list[str]()
    for name, what in (
        ("nan", "values that are NaN, and are taken as missing"),
        ("infinite", "values that are infinite, with which nothing is trained: leave them out, or make them NaN"),
    ):
        with_some = [row for row in rows if row.get(name)]
        if with_some:
            total = sum(int(row[name]) for row in with_some)
            names = ", ".join(str(row["example"]) for row in with_some[:_TOLD])
            more = f" and {len(with_some) - _TOLD} more" if len(with_some) > _TOLD else ""
            lines.append(titled("NaN" if name == "nan" else name, f"{total} {what} ({names}{more})"))
    alike = [row for row in rows if "low" in row and row["low"] == row["high"]]
    if alike:
        lines.append(titled("constant", f"{len(alike)} examples have one value everywhere"))
    lines += [titled("left out", f"{row['example']}: {row['problem']}") for row in rows if "problem" in row][:_TOLD]
    return lines
