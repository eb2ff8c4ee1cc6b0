"""Parquet: tables whose values are plain. What holds bytes, such as pictures, is not read."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from carrara.errors import UserError
from carrara.files.picture_rows import plain_columns
from carrara.files.reading import BadFile, read_bytes

_AT_ONCE = 4096  # rows


def read_parquet(path: Path, most: int) -> Iterator[dict[str, Any]]:
    """The rows of a table, by the names of its columns.

    Args:
        most: the largest file, in bytes.

    Raises:
        BadFile: it cannot be read, or is no such table.
        UserError: the package is missing.
    """
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise UserError(
            f"'{path}' needs the package 'pyarrow': pip install 'carrara[parquet]', or save it as CSV"
        ) from None
    content = read_bytes(path, most)
    try:
        table = parquet.ParquetFile(io.BytesIO(content))
        for batch in table.iter_batches(_AT_ONCE, columns=plain_columns(table.schema_arrow), use_threads=False):
            yield from batch.to_pylist()
    except (arrow.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
        raise BadFile(path, f"is no Parquet file that can be read ({' '.join(str(error).split())[:100]})") from None
