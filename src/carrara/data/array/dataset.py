"""Arrays as a data set. Examples are read when they are asked for, so there may be more of them than memory holds."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from carrara.data.array.layout import Layout, checked_axes, guessed_axes, other_axes, transposed
from carrara.data.array.ranges import MEASURED, MEASURED_BYTES, Measured, measured, range_of
from carrara.data.array.stored import Files
from carrara.data.base import DataInfo, Dataset, Row, Unreadable, one_hot
from carrara.data.index import memory_of
from carrara.errors import UserError
from carrara.files import BadFile, open_array, replacing, shown, stamp_of
from carrara.files.arrays import stamp_within

REMEMBERED = 1 << 26
"""So many bytes of examples, or more, are hashed once; smaller ones each time."""
BY_PLACE = 1 << 33
"""An array of so many bytes, or more, is not read for that: its examples are known by their places."""
CLASSES = 1000
"""So many different whole numbers, or fewer, are classes."""
_FOLDED = 1 << 24  # larger whole numbers are none in float32


@final
class ArrayData(Dataset):
    """The examples of arrays, float32 (*N, C) in [0, 1] of their range or beyond it; levels of 8 and 16 bits stay such.

    Args:
        axes: of the arrays; None = they are guessed.
        low, high: of the range; None = measured.
        missing: whether values may be NaN, which nobody knows; None = if any are.

    Raises:
        UserError: they are no examples.
    """

    def __init__(
        self, files: Files, axes: str | None, low: float | None, high: float | None, missing: bool | None
    ) -> None:
        self._files, self._low, self._high, self._missing = files, low, high, missing
        shape, many = files.main.shape, not files.names
        guessed = axes is None
        axes = guessed_axes(shape, files.what, many=many) if axes is None else axes
        self.layout = checked_axes(axes, shape, files.what, many=many)
        self.shape = self.layout.shape(shape)
        self._labels, self._vectors = _conditions(files)
        classes = () if self._labels is None else tuple(str(name) for name in np.unique(self._labels).tolist())
        self._classes = {name: k for k, name in enumerate(classes)}
        self._bytes = self.dtype.itemsize * int(np.prod(self.shape)) * len(self)
        self._by_place = many and self._bytes >= BY_PLACE
        said = f"axes {axes} of {tuple(shape)}: {_described(self.layout, self.shape)}"
        self.info = DataInfo(
            name=shown(files.path.stem),
            channels=self.shape[-1],
            native=self.shape[:-1],
            classes=classes,
            vector_size=0 if self._vectors is None else self._vectors.shape[1],
            remarks=(*(said,) * guessed, *(_PLACED,) * self._by_place),
            stamp=str(stamp_within(files.path)) if self._by_place else "",
        )

    def __len__(self) -> int:
        return len(self._files.names) or self._files.main.shape[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the arrays."""
        return self._files.main.dtype

    @cached_property
    def found(self) -> Measured:
        """What the values are like: of all examples, or of some thousands from all over.

        Raises:
            UserError: they cannot be read, or are infinite.
        """
        size = self.dtype.itemsize * int(np.prod(self.shape))
        count = min(len(self), max(1, min(MEASURED, MEASURED_BYTES // size)))
        chosen = (k * len(self) // count for k in range(count))
        each = ((self.name(k), self._readable(k)) for k in chosen)
        return measured(each, self._low, self._high, all_of=count == len(self))

    @cached_property
    def range(self) -> tuple[float, float]:
        """What is declared, and else what was measured.

        Raises:
            UserError: there is none.
        """
        if self._low is not None and self._high is not None:
            return self._low, self._high
        low, high = range_of(self.dtype, self.found, self._files.what)
        low, high = low if self._low is None else self._low, high if self._high is None else self._high
        if not low < high:
            raise UserError(f"the range of {self._files.what} goes up, and low is {low:g}, high {high:g}")
        return low, high

    @cached_property
    def missing(self) -> bool:
        """Whether there are values that nobody knows."""
        if self._missing is not None:
            return self._missing
        return self._files.known is not None or (self.dtype.kind == "f" and self.found.missing > 0)

    @property
    def exact(self) -> bool:
        """Whether whole numbers of the range are told apart in float32."""
        return self.dtype.kind == "f" or self.range[1] - self.range[0] < _FOLDED

    def pixels(self, index: int) -> NDArray[Any]:
        (low, high), values = self.range, self.in_units(index)
        levels = np.iinfo(values.dtype) if values.dtype.name in ("uint8", "uint16") else None
        if levels is not None and (low, high) == (levels.min, levels.max):
            return np.ascontiguousarray(values)
        if values.dtype.kind == "f":
            if np.isinf(values).any():
                raise Unreadable("some of its values are infinite")
            if not self.missing and np.isnan(values).any():
                raise Unreadable("some of its values are NaN: data.source.missing=true says that they are missing")
        return ((values.astype(np.float64) - low) / (high - low)).astype(np.float32)  # equation (1) of ranges

    def native(self, index: int) -> tuple[int, ...]:
        return self.shape[:-1]

    def key(self, index: int) -> str:
        if self._by_place:
            return f"place {index}"
        return self._keys[index].tobytes().hex()

    def columns(self, index: int) -> Mapping[str, Row]:
        columns: dict[str, Row] = {}
        if self._labels is not None:
            columns["label"] = one_hot(len(self._classes), self._classes[str(self._labels[index].item())])
        if self._vectors is not None:
            columns["vector"] = self._vectors[index]
        return columns

    def name(self, index: int) -> str:
        return shown(self._files.names[index]) if self._files.names else super().name(index)

    def in_units(self, index: int) -> NDArray[Any]:
        """An example (*N, C) in its units, NaN where it is not known.

        Raises:
            Unreadable: it cannot be read.
        """
        values = self.layout.ordered(self._files.example(index))
        if values.dtype == np.bool_:
            values = values.astype(np.uint8)
        if self._files.known is None:
            return values
        known = self._files.known.row(index).astype(bool)
        known = self.layout.ordered(known) if known.ndim == len(self.layout.own) else transposed(known, self.shape)
        floats = values.astype(np.float64 if values.dtype.kind != "f" else values.dtype)
        return np.where(known, floats, np.nan).astype(floats.dtype)

    def _readable(self, index: int) -> NDArray[Any]:
        try:
            return self.in_units(index)
        except Unreadable as error:
            raise UserError(f"'{self.name(index)}' cannot be used: {error}") from None

    @cached_property
    def _keys(self) -> NDArray[np.uint8]:
        """(N, 16): a hash of each example, computed once for arrays that do not change."""
        large = self._bytes >= REMEMBERED
        stamps = self._stamps() if large else np.zeros((len(self), 3), np.int64)
        memory = memory_of(self._files.path, "arrays")
        known = _recalled(memory, stamps) if large else None
        if known is not None:
            return known
        rows = np.zeros(len(self), _ROW)
        rows["stamp"] = stamps
        for k, digest in enumerate(self._digests()):
            rows["content"][k] = np.frombuffer(digest, np.uint8)
        if large:
            with suppress(OSError), replacing(memory) as file:  # a memory that cannot be written is only slow
                np.save(file, rows)
        return rows["content"]

    def _digests(self) -> Iterator[bytes]:
        for k in range(len(self)):
            try:
                content = np.ascontiguousarray(self._files.example(k)).tobytes()
            except Unreadable:
                content = self.name(k).encode()  # it is told when it is read
            known = b"" if self._files.known is None else np.ascontiguousarray(self._files.known.row(k)).tobytes()
            yield hashlib.blake2b(content + known, digest_size=16).digest()

    def _stamps(self) -> NDArray[np.int64]:
        """(N, 3): what changes with the file of each example."""
        path, names = self._files.path, self._files.names
        if names:
            return np.array([stamp_of(path / name) for name in names], np.int64)
        return np.tile(np.array(stamp_within(path), np.int64), (len(self), 1))


_PLACED = "too large to be read before training: examples are held out by their places, and copies are not found"
_ROW = np.dtype([("stamp", "<i8", 3), ("content", "u1", 16)])


def _recalled(memory: Path, stamps: NDArray[np.int64]) -> NDArray[np.uint8] | None:
    with suppress(BadFile):
        rows = np.array(open_array(memory))
        if rows.dtype == _ROW and rows.shape == stamps.shape[:1] and np.array_equal(rows["stamp"], stamps):
            return rows["content"]
    return None


def _conditions(files: Files) -> tuple[NDArray[Any] | None, NDArray[np.float32] | None]:
    """The classes (N,) or the vectors (N, D) of the examples.

    Raises:
        UserError: they are no numbers.
    """
    if files.vectors is None:
        return None, None
    values = files.vectors.whole()
    if values.dtype.kind in "biuU" and values.ndim == 1 and 1 < len(np.unique(values)) <= CLASSES:
        return values, None
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise UserError(f"{files.what} has vectors that are no finite numbers: give some, or leave them out")
    return None, values.reshape(len(values), -1).astype(np.float32)


def _described(layout: Layout, shape: tuple[int, ...]) -> str:
    """What examples are, in words."""
    what = {1: "curves", 2: "pictures", 3: "volumes"}[layout.spatial]
    size, channels = "x".join(map(str, shape[:-1])), f"{shape[-1]} channel{'s' * (shape[-1] > 1)}"
    other = other_axes(layout.axes)
    return f"{what} of {size} with {channels}" + (f"; data.source.axes={other} says otherwise" if other else "")
