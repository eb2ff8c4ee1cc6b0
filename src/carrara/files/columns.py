"""Tables of numbers, a column an array: ``.npz`` files that numpy reads, and that are mapped into memory.

A column is written in parts, one after the other, so that none need fit in memory.
"""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from carrara.files.arrays import stored_arrays
from carrara.files.reading import BadFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        kind: numpy's name for the type of its numbers.
        inner: the shape of each of its rows; () is a number.
    """

    kind: str
    inner: tuple[int, ...] = ()

    @property
    def bytes(self) -> int:
        """Of a row."""
        import numpy as np

        return np.dtype(self.kind).itemsize * int(np.prod(self.inner))


def write_columns(
    file: Any, columns: Mapping[str, Column], count: Mapping[str, int], parts: Mapping[str, Iterable[Any]]
) -> None:
    """Writes a table into an open file.

    Args:
        count: the rows of each column.
        parts: of each column, from its first row to its last.

    Raises:
        OSError: the disk is full, or refuses.
    """
    import numpy as np
    from numpy.lib import format as npy

    with ZipFile(file, "w", ZIP_STORED, allowZip64=True) as archive:
        for name, column in columns.items():
            head = io.BytesIO()
            shape = (count[name], *column.inner)
            npy.write_array_header_1_0(head, {"descr": column.kind, "fortran_order": False, "shape": shape})
            with archive.open(ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                member.write(head.getvalue())
                for part in parts[name]:
                    rows = np.ascontiguousarray(part, column.kind)
                    assert rows.shape[1:] == column.inner
                    member.write(rows.tobytes())


def open_columns(path: Path, columns: Mapping[str, Column]) -> "dict[str, NDArray[np.generic]]":
    """The columns of a table, left on the disk until rows are looked at.

    Raises:
        BadFile: it is none, or has other columns.
    """
    found = stored_arrays(path)
    for name, column in columns.items():
        stored = found.get(name)
        if stored is None or stored.dtype.str != column.kind or stored.shape[1:] != column.inner:
            raise BadFile(path, f"has no column '{name}' as it should be")
    return {name: found[name].whole() for name in columns}
