"""Parquet files with a column of pictures, as Hugging Face's ``datasets`` writes them, as folders.

``photos.parquet/000000042.jpg`` is the picture of row 42, and ``photos.parquet/metadata.jsonl`` has the other columns.
A picture is read with all of its row group: the last ones stay in memory, and how large each picture is, for which all
of them must be read once, is kept in the user's cache folder.
"""

import hashlib
import json
import math
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, final

from carrara.files.writing import cache_folder, replacing

ENDING = ".parquet"
METADATA = "metadata.jsonl"
State = tuple[int, ...]
"""What changes with a file."""
_OPEN = 64  # files at once
_LARGEST = 1 << 30  # bytes of a row group's pictures
_KEPT = 1 << 28  # bytes of row groups in memory, of a file
_USUAL = ("image", "img", "picture", "photo", "pixel_values", "png", "jpg", "jpeg", "webp", "bytes")
_BEGINNINGS = (
    (b"\x89PNG", ".png"),
    (b"\xff\xd8", ".jpg"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"\0\0\0\x0cJXL ", ".jxl"),
    (b"\xff\x0a", ".jxl"),
    (b"\x93NUMPY", ".npy"),
)
_ENDINGS = ("", ".png", ".jpg", ".gif", ".bmp", ".tif", ".jxl", ".npy", ".webp", ".avif", ".heic")


def has_pictures(path: Path, state: State) -> bool:
    """Whether a file has a column of pictures; False where pyarrow is missing, which who reads tables says."""
    try:
        return _column(path, state) is not None
    except (OSError, ImportError):
        return False


@final
class PictureRows:
    """The pictures of a Parquet file, with the same methods as ``archives.Zip``.

    Args:
        path: for which ``has_pictures``.
        state: of the file.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, state: State) -> None:
        self._path, self._state = path, state
        self._file, self._column = _file(path, state), _column(path, state) or ""
        groups = [self._file.metadata.row_group(k) for k in range(self._file.metadata.num_row_groups)]
        self._first = [0]
        for group in groups:
            self._first.append(self._first[-1] + group.num_rows)
        self._groups: OrderedDict[int, Any] = OrderedDict()
        self._lock = Lock()

    @cached_property
    def names(self) -> Sequence[str]:
        pictures = tuple(name for row in range(self._first[-1]) if (name := self._name(row)))
        return (*pictures, METADATA) if self._others else pictures

    def size(self, name: str) -> int:
        return len(self._metadata) if self._is_metadata(name) else int(self._about[self._row(name), 0])

    def read(self, name: str, most: int) -> bytes:
        if self._is_metadata(name):
            return self._metadata[:most]
        row = self._row(name)
        number = bisect_right(self._first, row) - 1
        found = self._pictures(number)[row - self._first[number]].as_py()
        return (found or b"")[:most]

    def _is_metadata(self, name: str) -> bool:
        return name == METADATA and bool(self._others)

    def _name(self, row: int) -> str:
        """Of a picture; empty if the row has none."""
        size, kind = self._about[row].tolist()
        return f"{row:09}{_ENDINGS[kind]}" if size and kind < len(_ENDINGS) else ""

    def _row(self, name: str) -> int:
        bare = name.partition(".")[0]
        row = int(bare) if bare.isdecimal() and bare.isascii() else -1
        if not 0 <= row < self._first[-1] or self._name(row) != name:
            raise KeyError(name)
        return row

    def _pictures(self, number: int) -> Any:
        """Of a row group: an array of bytes."""
        with self._lock:
            if number in self._groups:
                self._groups.move_to_end(number)
                return self._groups[number]
            found = self._read(number)
            self._groups[number] = found
            while len(self._groups) > 1 and sum(one.nbytes for one in self._groups.values()) > _KEPT:
                self._groups.popitem(last=False)
            return found

    def _read(self, number: int) -> Any:
        with _explained():
            declared = self._file.metadata.row_group(number).total_byte_size
            if declared > _LARGEST:
                raise OSError(f"a Parquet file with {declared} bytes in a row group, and {_LARGEST} can be read")
            column = self._file.read_row_group(number, columns=[self._column], use_threads=False).column(0)
            for part in self._column.split(".")[1:]:
                column = _arrow("compute").struct_field(column, part)
            return column

    @cached_property
    def _about(self) -> Any:
        """Of each row, how many bytes its picture has, and the number of its ending, (N, 2); read once, remembered."""
        import numpy as np

        key = hashlib.blake2b(f"{os.path.realpath(self._path)} {self._state}".encode(), digest_size=12).hexdigest()
        place, shape = cache_folder() / "parquet" / f"{key}.npy", (self._first[-1], 2)
        with suppress(OSError, ValueError, EOFError):
            known = np.load(place, allow_pickle=False)
            if known.shape == shape and known.dtype == np.uint32:
                return known
        contents = (content.as_py() or b"" for k in range(len(self._first) - 1) for content in self._read(k))
        found = np.array([(len(content), _kind(content)) for content in contents], np.uint32).reshape(shape)
        with suppress(OSError), replacing(place) as file:  # what cannot be remembered is only slow
            np.save(file, found, allow_pickle=False)
        return found

    @cached_property
    def _others(self) -> list[str]:
        """The columns that hold no bytes."""
        picture = self._column.partition(".")[0]
        return [name for name in plain_columns(self._file.schema_arrow) if name.partition(".")[0] != picture]

    @cached_property
    def _metadata(self) -> bytes:
        """A line of JSON for each picture."""
        classes, lines = _classes(self._file.schema_arrow), list[str]()
        with _explained():
            batches = self._file.iter_batches(4096, columns=self._others, use_threads=False)
            for row, values in enumerate(value for batch in batches for value in batch.to_pylist()):
                if name := self._name(row):
                    said = {key: _said(value, classes.get(key)) for key, value in values.items() if value is not None}
                    lines.append(json.dumps({"file_name": name, **said}, ensure_ascii=False, default=str))
        return "\n".join(lines).encode("utf-8", "replace")


def plain_columns(schema: Any) -> list[str]:
    """The names of the columns of a schema of pyarrow's that hold no bytes, and of the parts of columns with parts."""
    columns = list[str]()
    for column in schema:
        if is_struct(column.type):
            columns += [f"{column.name}.{one.name}" for one in column.type if not holds_bytes(one.type)]
        elif not holds_bytes(column.type):
            columns.append(column.name)
    return columns


def is_struct(kind: Any) -> bool:
    """Whether a type of pyarrow's has parts with names."""
    return str(kind).startswith("struct<")


def holds_bytes(kind: Any) -> bool:
    """Whether a type of pyarrow's is of bytes."""
    return str(kind) in ("binary", "large_binary")


@lru_cache(_OPEN)
def _file(path: Path, state: State) -> Any:
    """A Parquet file, of which only its end is read.

    Raises:
        OSError: it is none.
        ImportError: a package is missing.
    """
    with _explained():
        return _arrow("parquet").ParquetFile(str(path))


@lru_cache(_OPEN)
def _column(path: Path, state: State) -> str | None:
    """The column of the pictures' bytes: the one that ``datasets`` calls so, or the one with a usual name, or the only
    one; None if there is none."""
    schema = _file(path, state).schema_arrow
    found = list[str]()
    for column in schema:
        if holds_bytes(column.type):
            found.append(column.name)
        elif is_struct(column.type):
            found += [f"{column.name}.bytes" for one in column.type if one.name == "bytes" and holds_bytes(one.type)]
    said = {name for name, about in _features(schema).items() if about.get("_type") == "Image"}
    named = [name for name in found if name.partition(".")[0] in said]
    usual = [name for one in _USUAL for name in found if name.partition(".")[0] == one]
    return next(iter([*named, *usual, *(found if len(found) == 1 else ())]), None)


def _features(schema: Any) -> Mapping[str, Mapping[str, Any]]:
    """What ``datasets`` has written of the columns."""
    try:
        said: Any = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = said["info"]["features"]
        return {name: about for name, about in features.items() if isinstance(about, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _classes(schema: Any) -> Mapping[str, Sequence[str]]:
    """The names of the classes, of columns with their numbers."""
    features = _features(schema).items()
    return {
        name: about["names"]
        for name, about in features
        if about.get("_type") == "ClassLabel" and isinstance(about.get("names"), list)
    }


def _said(value: Any, names: Sequence[str] | None) -> Any:
    """A value as JSON has it: a number of a class by its name."""
    if names is not None and isinstance(value, int) and 0 <= value < len(names):
        return str(names[value])
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _kind(content: bytes) -> int:
    """The number of a picture's ending; that of PNG, which will say that it is none, if it is not known."""
    ending = next((ending for begin, ending in _BEGINNINGS if content.startswith(begin)), "")
    if content[8:12] == b"WEBP":
        ending = ".webp"
    elif content[4:8] == b"ftyp":
        ending = ".avif" if content[8:11] == b"avi" else ".heic"
    return _ENDINGS.index(ending or ".png")


def _arrow(part: str) -> Any:
    """A module of pyarrow's, whose import takes a while."""
    return import_module(f"pyarrow.{part}")


@contextmanager
def _explained() -> Generator[None]:
    """What pyarrow raises, as an ``OSError``."""
    try:
        yield
    except (OSError, _arrow("lib").ArrowException, ValueError, UnicodeDecodeError, MemoryError) as error:
        said = " ".join(str(error).split())[:100] or type(error).__name__
        raise OSError(said if isinstance(error, OSError) else f"no Parquet file that can be read ({said})") from None
