"""Arrays as a source: ``.npy``, ``.npz`` and Zarr."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Annotated, Literal, final

from pydantic import Field

from carrara.data.array import ArrayData, Files, Layout, describe, guessed_axes, is_array, stored_files
from carrara.data.base import Dataset
from carrara.data.description import Description
from carrara.data.sources.base import Source
from carrara.errors import UserError, option
from carrara.files import is_folder, shown
from carrara.modality import Numbers

Name = Annotated[str, Field(max_length=1000)]


@final
@dataclass(frozen=True, kw_only=True)
class ArraySource(Source):
    """A folder of ``.npy`` files, one example each; or a ``.npy`` or ``.npz`` file or a Zarr store, whose first axis is
    that of examples.

    Attributes:
        path: of it.
        axes: their letters in order, as ``NHWC``: N examples, L or H W or D H W places, C channels; None = channels are
            last if the last axis has at most 4 places, first if the first has, and else there is one.
        array: that of examples in a ``.npz`` file or a store; None = the only one, or one of a usual name.
        vectors: the array of what is known of each example: whole numbers are classes, and others a vector; beside a
            ``.npy`` file, the path of another; None = ``vectors``, ``y`` or ``labels``, if there is such an array.
        mask: the array that is true where values are known; None = ``mask``, if there is such an array.
        low, high: the range of values, in their units; None = 0 and 255 of 8 bits, and else what is measured.
        missing: whether NaN are values that nobody knows; None = if there are any.
        dtype: in which samples are written; None = the arrays' own.
    """

    builtin = False
    noun = "array"
    kind: Literal["array"] = "array"
    path: Name
    axes: Annotated[str, Field(max_length=20)] | None = None
    array: Name | None = None
    vectors: Name | None = None
    mask: Name | None = None
    low: float | None = None
    high: float | None = None
    missing: bool | None = None
    dtype: Annotated[str, Field(max_length=16)] | None = None

    def __post_init__(self) -> None:
        if self.axes is not None:
            Layout(self.axes)
        low, high = -inf if self.low is None else self.low, inf if self.high is None else self.high
        if not low < high or inf in (low, -high):
            raise ValueError(f"a range goes up, and low is {low:g}, high {high:g}")

    @classmethod
    def suits(cls, path: Path) -> bool:
        return is_array(path)

    def open(self, size: int | None = None) -> ArrayData:
        return self._data(self._files)

    def describe(self) -> Description | None:
        files = self._files
        return describe(files, self._data(files))

    @property
    def _files(self) -> Files:
        return stored_files(Path(self.path), self.array, self.vectors, self.mask)

    def _data(self, files: Files) -> ArrayData:
        return ArrayData(files, self.axes, self.low, self.high, self.missing)

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        path = Path(self.path)
        return shown(path.name if is_folder(path) and path.suffix.lower() != ".zarr" else path.stem)

    @property
    def spatial(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        if self.axes is not None:
            return Layout(self.axes).spatial
        try:
            files = self._files
            return Layout(guessed_axes(files.main.shape, files.what, many=not files.names)).spatial
        except UserError:  # it is said when the data are opened
            return 2

    @property
    def preset(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "volume" if self.spatial == 3 else "array"

    @property
    def modality(self) -> Numbers | None:
        if self.dtype is None or self.low is None or self.high is None:
            return None
        return Numbers(dtype=self.dtype, low=self.low, high=self.high, missing=bool(self.missing))

    def completed(self, dataset: Dataset) -> tuple[Source, tuple[str, ...]]:
        data = dataset.origin(0)[0]
        if not isinstance(data, ArrayData):
            data = self.open()
        low, high = data.range
        dtype = "uint8" if data.dtype.kind == "b" else data.dtype.name
        filled = replace(
            self, axes=data.layout.axes, low=low, high=high, missing=data.missing, dtype=self.dtype or dtype
        )
        return filled, () if self == filled else tuple(_reasons(self, data))

    def absolute(self) -> Source:
        alone = self.path.lower().endswith(".npy")  # what lies beside it is a file, too
        vectors, mask = (str(Path(name).resolve()) if name and alone else name for name in (self.vectors, self.mask))
        return replace(self, path=str(Path(self.path).resolve()), vectors=vectors, mask=mask)


def _reasons(source: ArraySource, data: ArrayData) -> Iterator[str]:
    """Why what a source leaves open is as it is, and what else one should know of its values."""
    low, high = data.range
    if source.low is None or source.high is None:
        known = {"uint8": "what 8 bits hold", "bool": "false and true"}
        why = known.get(data.dtype.name) or f"measured on {data.found.of()}"
        other = f"{option('data.source.low', '...')} and {option('data.source.high', '...')}"
        yield f"range {low:g} to {high:g}: {why}; {other} declare another"
    if not data.exact:
        yield f"range {low:g} to {high:g}: more whole numbers than are told apart here, which is 2^24"
    found = data.found
    if beyond := found.below + found.above:
        yield (
            f"beyond the declared range: {beyond} values of {found.of()}, which are learned as they are; "
            f"{found.low:g} to {found.high:g} occur"
        )
    if data.missing:
        yield (
            f"missing values: {found.missing}, in {found.lacking} of {found.examples} examples; they neither train nor "
            "count, and samples have a value everywhere"
        )
