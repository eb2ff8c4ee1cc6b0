"""What is known of all examples of a data set at once, in arrays: millions are split and identified without a loop."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 1 << 22  # rows
HELD_OUT = "held out"
"""With what the key of an example is hashed to a place."""


@final
@dataclass(frozen=True, kw_only=True)
class Ledger:
    """A row for each of N examples.

    Attributes:
        places: (N,) int64, the hash of ``Dataset.key`` that says which part an example belongs to.
        held: (N,) int8, what ``Dataset.held`` says: 1 held out, 0 not, -1 nothing.
        contents: (N, 16) uint8, equal where keys are equal.
        digests: (N, 16) uint8, a hash of an example's name, content, classes, numbers, captions and ``held``.
    """

    places: NDArray[np.int64]
    held: NDArray[np.int8]
    contents: NDArray[np.uint8]
    digests: NDArray[np.uint8]

    def take(self, indices: NDArray[np.int64]) -> "Ledger":
        """Some of the rows, in a given order."""
        return Ledger(**{field.name: getattr(self, field.name)[indices] for field in fields(self)})


def parts_of(ledger: Ledger, fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers of the examples that are not trained on, and of those of them that are held out, in order.

    They are those of ``split``. Only these are in memory, and the rows of some megabytes at once.
    """
    said = _where(len(ledger.held), lambda rows: ledger.held[rows] == 1)
    new = _new(ledger, said)
    if len(new):
        return said, new
    parts = [ledger.places[rows] for rows in _rows(len(ledger.places))] if fraction > 0 else []
    if not parts:
        return said[:0], said[:0]
    least, most = (float(act([act(part) for part in parts])) / 2**63 for act in (np.min, np.max))
    bound = max(fraction, np.nextafter(least, 1))  # one at least is held out, and one at least is not
    held = _where(
        len(ledger.places), lambda rows: (ledger.places[rows] / 2**63 < bound) & (ledger.places[rows] / 2**63 != most)
    )
    return held, held


def _rows(count: int) -> list[slice]:
    return [slice(first, first + _AT_ONCE) for first in range(0, count, _AT_ONCE)]


def _where(count: int, is_one: Callable[[slice], NDArray[np.bool_]]) -> NDArray[np.int64]:
    found = [np.flatnonzero(is_one(rows)) + rows.start for rows in _rows(count)]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _new(ledger: Ledger, said: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the examples that the data hold out which are not trained on under other names."""
    if not len(said):
        return said
    held = np.ascontiguousarray(ledger.contents[said]).view("<u8")[:, 0]
    known = {row.tobytes() for row in ledger.contents[said]}
    words, trained = np.unique(held), set[bytes]()
    for rows in _rows(len(ledger.held)):
        own = np.ascontiguousarray(ledger.contents[rows])
        alike = own[np.isin(own.view("<u8")[:, 0], words) & (ledger.held[rows] != 1)]
        trained |= known & {row.tobytes() for row in alike}
    return np.array([k for k in said.tolist() if ledger.contents[k].tobytes() not in trained], np.int64)


def fingerprint_of(ledger: Ledger, *others: Any) -> str:
    """16 hexadecimal digits over all rows, and over ``others``."""
    digest = hashlib.blake2b(repr(others).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(ledger.digests).data)
    return digest.hexdigest()
