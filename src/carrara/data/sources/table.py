"""A table of numbers and categories as a source: CSV, TSV and Parquet."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, final

from pydantic import Field

from carrara.data.arrays import Arrays
from carrara.data.base import DataInfo, Dataset
from carrara.data.columns import describe
from carrara.data.description import Description
from carrara.data.folder.tables import rows_of
from carrara.data.rows import Cells, cells_of, columns_of_cells, encoded, remarks_of, width_of
from carrara.data.sources.base import Source
from carrara.errors import UserError
from carrara.files import Stamp, is_archive, is_regular, shown, stamp_of
from carrara.modality import Column, Name, Table

ENDINGS = (".csv", ".tsv", ".parquet")
_WIDEST = 10_000


@final
@dataclass(frozen=True, kw_only=True)
class TableSource(Source):
    """The rows of a table as points (D,). Columns of texts are categories, others are numbers; a row that says nothing
    of one of them is left out.

    Attributes:
        path: of a ``.csv``, ``.tsv`` or ``.parquet`` file, with names in its first line.
        categories: columns whose numbers are no quantities, but names, such as codes.
        columns: what they are; None = as they are when a run begins.
    """

    builtin = False
    noun = "table"
    spatial = 0
    preset = "table"
    kind: Literal["table"] = "table"
    path: Annotated[str, Field(max_length=1000)]
    categories: tuple[Name, ...] = ()
    columns: tuple[Column, ...] | None = None

    @classmethod
    def suits(cls, path: Path) -> bool:
        return path.suffix.lower() in ENDINGS and is_regular(path) and not is_archive(path)

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        return shown(Path(self.path).stem)

    def open(self, size: int | None = None) -> Dataset:
        path = Path(self.path)
        cells = self._cells()
        columns, left_out = (self.columns, ()) if self.columns else columns_of_cells(cells, self.categories)
        if (wide := sum(map(width_of, columns))) > _WIDEST:
            raise UserError(f"'{shown(path)}' has {wide} numbers and categories, and a row has at most {_WIDEST}")
        points, without = encoded(cells, columns)
        if not len(points):
            raise UserError(f"no row of '{shown(path)}' says something of every column")
        said = (*remarks_of(columns, len(points), without), *left_out)
        return Arrays(DataInfo(name=self.name, dimension=points.shape[1], remarks=said), points)

    def describe(self) -> Description | None:
        return describe(self.path, self._cells(), self.categories)

    def _cells(self) -> Cells:
        path = Path(self.path)
        if not is_regular(path):
            raise UserError(f"there is no table '{shown(path)}'")
        return _read(path, self.categories, stamp_of(path))

    @property
    def shape(self) -> tuple[int, ...] | None:
        return (sum(map(width_of, self.columns)),) if self.columns else None

    @property
    def modality(self) -> Table | None:
        return Table(columns=self.columns) if self.columns else None

    def completed(self, dataset: Dataset) -> tuple[Source, tuple[str, ...]]:
        if self.columns:
            return self, ()
        columns, _ = columns_of_cells(self._cells(), self.categories)
        return replace(self, columns=columns), ()

    def absolute(self) -> Source:
        return replace(self, path=str(Path(self.path).resolve()))


@lru_cache(2)
def _read(path: Path, categories: tuple[str, ...], stamp: Stamp) -> Cells:
    """The cells of a file.

    Args:
        stamp: of the file: another one is read again.

    Raises:
        UserError: it cannot be read, or has no names.
    """
    rows = list[Mapping[str, Any]]()
    for row in rows_of(path):
        if row.fault:
            raise UserError(f"'{shown(path)}', {row.place}: {row.fault}")
        rows.append(row.values)
    if not rows:
        raise UserError(f"'{shown(path)}' has no rows")
    names = list(rows[0])
    if all(_is_number(name) for name in names):
        raise UserError(f"'{shown(path)}' has numbers in its first line: write the names of the columns there")
    if unknown := [name for name in categories if name not in names]:
        raise UserError(f"'{shown(path)}' has no column '{shown(unknown[0])}', but {', '.join(map(shown, names))}")
    return cells_of(rows, names, categories)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
