r"""Between values in units of their own and the numbers that are learned.

With a range [l, h], declared or measured, a value v is stored as

.. math:: u = (v - l) / (h - l),                                                                                  (1)

in [0, 1] where it lies within the range, and beyond where it does not: nothing is clipped. All whole numbers of 16 bits
come back exactly from u in float32, whose steps are at most 2^{-24} there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrara.errors import UserError, option
from carrara.files import shown

MEASURED = 4096
"""Examples of which the range is measured, at most; and so many bytes:"""
MEASURED_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the values of examples are like.

    Attributes:
        examples: how many were measured.
        all: whether that were all.
        low, high: of the known values.
        missing: values that are not known, and ``lacking`` the examples that have some.
        below, above: values beyond a declared range.
    """

    examples: int = 0
    all: bool = True
    low: float = np.inf
    high: float = -np.inf
    missing: int = 0
    lacking: int = 0
    below: int = 0
    above: int = 0

    def of(self) -> str:
        """The examples that were measured, in words."""
        return "all examples" if self.all else f"{self.examples} examples from all over"


def measured(
    examples: Iterable[tuple[str, NDArray[Any]]], low: float | None, high: float | None, *, all_of: bool
) -> Measured:
    """What examples are like.

    Args:
        examples: with what each is called in a message.
        low, high: what is declared.

    Raises:
        UserError: some are infinite.
    """
    found = Measured(all=all_of)
    for name, values in examples:
        missing = 0
        if values.dtype.kind == "f":
            known = values[~np.isnan(values)]
            missing, values = values.size - known.size, known
            if not np.isfinite(values).all():
                raise UserError(
                    f"'{shown(name)}' has {int(np.isinf(values).sum())} infinite values, and values are finite: leave "
                    "it out, or make them NaN"
                )
        found = replace(
            found,
            examples=found.examples + 1,
            low=min(found.low, float(values.min())) if values.size else found.low,
            high=max(found.high, float(values.max())) if values.size else found.high,
            missing=found.missing + missing,
            lacking=found.lacking + bool(missing),
            below=found.below + (0 if low is None else int((values < low).sum())),
            above=found.above + (0 if high is None else int((values > high).sum())),
        )
    return found


def range_of(dtype: np.dtype[Any], found: Measured, what: str) -> tuple[float, float]:
    """The range of values where none is declared: that of 8 bits, or what was measured.

    Raises:
        UserError: there is none.
    """
    if dtype.kind == "b":
        return 0.0, 1.0
    if dtype.name == "uint8":
        return 0.0, 255.0
    if not found.low < found.high:
        said = "no value is known" if found.low > found.high else f"all values are {found.low:g}"
        range_ = f"{option('data.source.low', '...')} and {option('data.source.high', '...')}"
        raise UserError(f"{what} has no range, because {said}: declare one by {range_}")
    return found.low, found.high
