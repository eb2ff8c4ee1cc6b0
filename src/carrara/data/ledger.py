"""What is known of all examples of a data set at once, in arrays: millions are split and identified without a loop."""

import hashlib
from dataclasses import dataclass, fields
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

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
    """The numbers of the examples to train on, and of those that are held out; as ``split`` has them."""
    said = np.asarray(ledger.held == 1)
    own = _new(ledger, said)
    if own.any():
        return np.flatnonzero(~said), np.flatnonzero(own)
    places = ledger.places / 2**63
    held = np.zeros(len(places), bool)
    if fraction > 0 and len(places):
        held = places < fraction
        held = (held if held.any() else places == places.min()) & (places != places.max())
    return np.flatnonzero(~held), np.flatnonzero(held)


def _new(ledger: Ledger, said: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,): those of the held-out examples that are not trained on under other names."""
    new = said.copy()
    if said.any():
        words = np.ascontiguousarray(ledger.contents).view("<u8")[:, 0]
        maybe = np.flatnonzero(said)[np.isin(words[said], words[~said])]
        alike = np.flatnonzero(~said)[np.isin(words[~said], words[maybe])]
        trained = {row.tobytes() for row in ledger.contents[alike]}
        new[[k for k in maybe.tolist() if ledger.contents[k].tobytes() in trained]] = False
    return new


def fingerprint_of(ledger: Ledger, *others: Any) -> str:
    """16 hexadecimal digits over all rows, and over ``others``."""
    digest = hashlib.blake2b(repr(others).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(ledger.digests).data)
    return digest.hexdigest()
