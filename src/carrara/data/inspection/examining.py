"""Every picture of a folder, decoded and looked at; what was found is remembered.

A picture that has not changed is not decoded again, and an interruption costs nothing: the memory, a file in the user's
cache folder, is written then, too. Where it is missing, damaged or of other files, pictures are decoded again.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrara.data.base import Unreadable
from carrara.data.files import Header, decode, explain, read_header, scan
from carrara.data.index import memory_of, taken_over
from carrara.data.inspection.looks import LOOK, Looks, look_at
from carrara.files import PICTURE, BadFile, open_array, opened, replacing, stamp_of
from carrara.files.contents import WHOLE

FEW = 50
"""Fewer pictures are decoded in no time, and nothing is kept about them."""
_EVERY = 60.0  # seconds after which what was found is kept, for the case of a power cut
_FIELDS = [
    ("stamp", "<i8", 3),
    ("size", "<i4", 2),
    ("channels", "u1"),
    ("content", "u1", 16),
    ("digest", "u1", 16),
    ("mode", "S16"),
    ("look", LOOK),
]


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What was found in the pictures of a folder.

    Attributes:
        rows: (N,) of the good ones, in order, with the fields of ``_FIELDS`` and ``name``.
        problems: why the others cannot be used, by their names.
        bytes: of all of them.
    """

    rows: NDArray[Any]
    problems: dict[str, Unreadable] = field(default_factory=dict[str, Unreadable])
    bytes: int = 0

    @property
    def names(self) -> list[str]:
        """Of the good ones, within the folder."""
        return [os.fsdecode(name) for name in self.rows["name"].tolist()]

    @property
    def looks(self) -> Looks:
        """Of the good ones."""
        return self.rows["look"]

    def headers(self, folder: Path) -> list[Header]:
        """Of the good ones."""
        return [
            Header(
                path=folder / name,
                stamp=tuple(row["stamp"].tolist()),
                size=tuple(row["size"].tolist()),
                mode=row["mode"].decode(),
                channels=int(row["channels"]),
                content=row["content"].tobytes().hex(),
            )
            for name, row in zip(self.names, self.rows, strict=True)
        ]


def examine(folder: Path, names: Sequence[str], watch: Callable[[int, int], None] | None = None) -> Examined:
    """Decodes the pictures of a folder that were not known, with a progress bar if there are thousands.

    Args:
        names: within the folder, in order.
        watch: is told how many are known, and of how many.
    """
    encoded = np.array([os.fsencode(name) for name in names], "S")
    rows = np.zeros(len(names), _kind(encoded.dtype.itemsize))
    rows["name"] = encoded
    rows["stamp"] = [stamp_of(folder / name) for name in names]
    memory = memory_of(folder, "looks") if len(names) >= FEW else None
    good = _recalled(rows, memory)
    problems, unknown = dict[str, Unreadable](), np.flatnonzero(~good).tolist()
    paths = [folder / names[k] for k in unknown]
    due = monotonic() + _EVERY
    try:
        with closing(scan(_examined, paths, "Reading pictures", threads=os.cpu_count())) as found:
            for done, (k, (header, digest, look)) in enumerate(zip(unknown, found, strict=True), start=1):
                if header.problem is None and look is not None:
                    _fill(rows[k : k + 1], header, digest, look)
                    good[k] = True
                else:
                    problems[names[k]] = header.problem or Unreadable("it cannot be read")
                if watch is not None:
                    watch(len(names) - len(unknown) + done, len(names))
                if memory is not None and monotonic() > due:
                    _remember(memory, rows[good])
                    due = monotonic() + _EVERY
    finally:
        if memory is not None and good[unknown].any():
            _remember(memory, rows[good])
    return Examined(rows=rows[good], problems=problems, bytes=int(rows["stamp"][:, 0].sum()))


def _examined(path: Path) -> "tuple[Header, bytes, np.void | None]":
    header = read_header(path)
    if header.problem:
        return header, b"", None
    try:
        return header, _digest(path, header), look_at(decode(path, header))
    except (BadFile, OSError, MemoryError, Unreadable) as error:
        return replace(header, problem=explain(path, error)), b"", None


def _digest(path: Path, header: Header) -> bytes:
    """Equal for files with the same bytes."""
    if header.stamp[0] <= WHOLE:
        return bytes.fromhex(header.content)
    with opened(path, PICTURE) as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()


def _fill(row: NDArray[Any], header: Header, digest: bytes, look: "np.void") -> None:
    row["stamp"], row["size"], row["channels"] = header.stamp, header.size, header.channels
    row["content"] = np.frombuffer(bytes.fromhex(header.content), np.uint8)
    row["digest"] = np.frombuffer(digest, np.uint8)
    row["mode"], row["look"] = header.mode[:16].encode("ascii", "replace"), look


def _kind(width: int) -> np.dtype[np.void]:
    return np.dtype([("name", f"S{width}"), *_FIELDS])


def _recalled(rows: NDArray[Any], memory: Path | None) -> NDArray[np.bool_]:
    """Writes what is remembered of files that have not changed into their rows; which ones these are."""
    if memory is None:
        return np.zeros(len(rows), bool)
    try:
        known = np.array(open_array(memory))
    except BadFile:
        return np.zeros(len(rows), bool)
    if known.ndim != 1 or len(known) < 2 or not known.dtype.names or known.dtype != _kind(known.dtype[0].itemsize):
        return np.zeros(len(rows), bool)
    known, seal = known[:-1], known[-1]["digest"].tobytes()
    if seal != _sealed(known):
        return np.zeros(len(rows), bool)
    return taken_over(rows, known)


def _remember(memory: Path, rows: NDArray[Any]) -> None:
    """Keeps rows, and after them one that seals them."""
    kept = np.concatenate([rows, np.zeros(1, rows.dtype)])
    kept[-1:]["digest"] = np.frombuffer(_sealed(rows), np.uint8)
    with suppress(OSError), replacing(memory) as file:  # a memory that cannot be written is only slow
        np.save(file, kept)


def _sealed(rows: NDArray[Any]) -> bytes:
    """Tells whether rows are as they were written."""
    return hashlib.blake2b(np.ascontiguousarray(rows).data.cast("B"), digest_size=16).digest()
