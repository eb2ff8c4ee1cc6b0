"""What the headers of a folder's pictures said: a row each, without an object, so that millions of them fit in memory.

The rows of a large folder are remembered, so that it is scanned once, and goes on where it was interrupted. A row holds
as long as its file has the size and the times of change that it had. The memory is a file in the user's cache folder,
never in the data's; where it is missing, damaged or of other files, headers are read again.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrara.data.files import Header, read_header, relative, scan
from carrara.files import BadFile, cache_folder, open_array, replacing, stamp_of

EVERY = 30.0
"""Seconds after which what was read is remembered, while more is being read."""
FEW = 1000
"""Fewer pictures are scanned in no time, and nothing is kept about them."""

Rows = NDArray[Any]
"""(N,) with the fields ``name`` (within the folder, as the file system encodes it), ``stamp`` (what changes with the
file), ``size`` (height, width), ``channels`` and ``content``: see ``Header``."""


def headers_of(
    folder: Path, names: Sequence[str], read: Callable[[Path], Header] | None = None, what: str = "headers"
) -> tuple[Rows, list[Header]]:
    """The rows of a folder's good pictures, and the headers of those that cannot be used.

    Args:
        names: within the folder, in order.
        read: reads the header of a file, and never raises; a picture's, if not given.
        what: these are called in the user's cache.
    """
    memory = memory_of(folder, what) if len(names) >= FEW else None
    rows, known = _named(names), _recalled(memory) if memory else _named([])
    rows["stamp"] = [stamp_of(folder / name) for name in names]
    good = taken_over(rows, known)
    unknown: list[int] = np.flatnonzero(~good).tolist()
    broken, said = list[Header](), monotonic()
    headers = scan(read or read_header, [folder / names[k] for k in unknown], "Reading headers")
    try:
        for k, header in zip(unknown, headers, strict=True):
            good[k] = _filled(rows[k], header)
            if header.problem:
                broken.append(header)
            if memory and monotonic() - said > EVERY:  # whatever kills the process, so much is not read again
                _remember(memory, rows[good])
                said = monotonic()
    finally:
        kept = rows[good]
        if memory and (len(kept) != len(known) or good[unknown].any()):
            _remember(memory, kept)
    return kept, broken


def rows_of(folder: Path, headers: Iterable[Header]) -> Rows:
    """The rows of good headers of pictures in a folder."""
    headers = list(headers)
    rows = _named([relative(header.path, folder) for header in headers])
    for row, header in zip(rows, headers, strict=True):
        _filled(row, header)
    return rows


def _named(names: Sequence[str]) -> Rows:
    """Rows of which nothing is known but names."""
    encoded = np.array([os.fsencode(name) for name in names], "S")
    rows = np.zeros(len(names), _kind(encoded.dtype.itemsize))
    rows["name"] = encoded
    return rows


def _kind(width: int) -> np.dtype[np.void]:
    """The fields of rows whose names have at most ``width`` bytes."""
    stamp, size, content = ("stamp", "<i8", 3), ("size", "<i4", 2), ("content", "u1", 16)
    return np.dtype([("name", f"S{width}"), stamp, size, ("channels", "u1"), content])


def _filled(row: np.void, header: Header) -> bool:
    """Writes what a header says into its row; whether the picture is a good one."""
    if header.problem or header.size is None:
        return False
    row["stamp"], row["size"], row["channels"] = header.stamp, header.size, header.channels
    row["content"] = np.frombuffer(bytes.fromhex(header.content), np.uint8)
    return True


def taken_over(rows: Rows, known: Rows) -> NDArray[np.bool_]:
    """Writes what is known of files that have not changed into their rows; which ones these are."""
    if not len(known) or not len(rows):
        return np.zeros(len(rows), bool)
    places = np.searchsorted(known["name"], rows["name"]).clip(max=len(known) - 1)
    same = (known["name"][places] == rows["name"]) & (known["stamp"][places] == rows["stamp"]).all(1)
    rows[same] = known[places[same]]
    return same


def memory_of(folder: Path, what: str) -> Path:
    """The file in which it is kept what is known of a folder's pictures."""
    name = hashlib.blake2b(os.fsencode(folder.resolve()), digest_size=8).hexdigest()
    return cache_folder() / f"{what}-{name}.npy"


def _recalled(memory: Path) -> Rows:
    with suppress(BadFile):
        rows = np.array(open_array(memory))
        if rows.ndim == 1 and rows.dtype.names and rows.dtype == _kind(rows.dtype[0].itemsize):
            return rows
    return _named([])


def _remember(memory: Path, rows: Rows) -> None:
    with suppress(OSError), replacing(memory) as file:  # a memory that cannot be written is only slow
        np.save(file, rows)
