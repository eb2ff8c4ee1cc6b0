"""Arrays that are left on the disk until their rows are asked for: ``.npy``, ``.npz`` and Zarr.

An array of a ``.npy`` file, or one that lies unpacked in a ``.npz`` file, is mapped into memory, and may be larger than
that. One that is packed in a ``.npz`` file is unpacked as a whole. Zarr keeps chunks, which are unpacked one by one; a
store may name any program for that, and only those are run that unpack numbers.
"""

import os
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, final

from carrara.errors import UserError
from carrara.files.reading import NEVER, BadFile, Packed, Stamp, TooLarge, is_folder, is_regular, opened, stamp_of
from carrara.files.tensors import ARRAY_HEADER, array_header, array_in, open_array
from carrara.memory import installed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST = 1 << 60
"""Bytes that an array on the disk may declare: it must have them."""
CHUNK = 1 << 30
"""The largest chunk of a Zarr array, in bytes when it is unpacked."""
_BLOCKS = 4  # chunks that are kept unpacked
_CODECS = frozenset({
    *("bytes", "endian", "transpose", "blosc", "gzip", "zstd", "zlib", "lz4", "bz2", "lzma", "sharding_indexed"),
    *("crc32c", "crc32", "adler32", "fletcher32", "checksum32", "shuffle", "delta", "fixedscaleoffset", "packbits"),
    *("bitround", "quantize", "astype", "zfpy", "pcodec"),
})  # fmt: skip
_MARKS = ("zarr.json", ".zarray", ".zgroup")


@final
class StoredArray:
    """An array of which rows are read.

    Args:
        load: what makes it, when rows are first asked for.
        chunk: rows that are unpacked together.

    Attributes:
        shape, dtype: as declared.
    """

    def __init__(self, shape: tuple[int, ...], dtype: "np.dtype[Any]", load: Callable[[], Any], chunk: int = 1) -> None:
        self.shape, self.dtype, self.chunk = shape, dtype, max(1, chunk)
        self._load, self._values, self._lock = load, None, Lock()
        self._blocks: OrderedDict[int, NDArray[Any]] = OrderedDict()

    def rows(self, first: int, last: int) -> "NDArray[Any]":
        """Those from ``first`` up to ``last``, in memory or mapped.

        Raises:
            BadFile: they cannot be unpacked.
        """
        import numpy as np

        with self._lock:
            if self._values is None:
                self._values = self._load()
        return np.asarray(self._values[first:last])

    def row(self, index: int) -> "NDArray[Any]":
        """One of them; of unpacked chunks a few are kept."""
        if self.chunk == 1:
            return self.rows(index, index + 1)[0]
        number = index // self.chunk
        with self._lock:
            block = self._blocks.get(number)
        if block is None:
            block = self.rows(number * self.chunk, (number + 1) * self.chunk)
            with self._lock:
                self._blocks[number] = block
                while len(self._blocks) > _BLOCKS:
                    self._blocks.popitem(last=False)
        return block[index - number * self.chunk]

    def whole(self) -> "NDArray[Any]":
        """All of it."""
        import numpy as np

        if self.shape:
            return self.rows(0, self.shape[0])
        return np.asarray(self._load()[()])


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return is_folder(path) and any(is_regular(path / mark) for mark in _MARKS)


def stored_arrays(path: Path) -> dict[str, StoredArray]:
    """The arrays of a file or a store by their names; the only one of a ``.npy`` file or of a bare Zarr has none.

    Raises:
        BadFile: it is none, is not whole, or holds objects.
        UserError: a package is missing.
    """
    if is_folder(path):
        return dict(_zarr(path))
    return dict(_npz(path)) if path.suffix.lower() == ".npz" else {"": stored_array(path)}


def stored_array(path: Path) -> StoredArray:
    """That of a ``.npy`` file.

    Raises:
        BadFile: see ``open_array``.
    """
    with opened(path) as file:
        shape, kind = array_header(file, path, LONGEST)
    return StoredArray(shape, kind, lambda: open_array(path, LONGEST))


def stamp_within(path: Path) -> Stamp:
    """What changes with a file, or with any file of a Zarr store."""
    if not is_folder(path):
        return stamp_of(path)
    size, newest, mixed = NEVER
    for name in sorted(path.rglob("*")):
        stamp = stamp_of(name)
        size, newest = size + stamp[0], max(newest, *stamp[1:])
        mixed = zlib.crc32(repr((str(name.relative_to(path)), stamp)).encode(), mixed)
    return size, newest, mixed


def _npz(path: Path) -> Iterator[tuple[str, StoredArray]]:
    with opened(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    if info.filename.endswith(".npy"):
                        with archive.open(info) as member:
                            head = Packed(member.read(ARRAY_HEADER), (info.file_size, 0, 0))
                        yield info.filename.removesuffix(".npy"), _member(path, info, head)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
            raise BadFile(path, f"is no .npz file that can be read ({_brief(error)})") from None


def _member(path: Path, info: zipfile.ZipInfo, head: Packed) -> StoredArray:
    """An array of a ``.npz`` file, whose beginning is ``head``."""
    shape, kind = array_header(head, path / info.filename, LONGEST)
    within = head.tell()
    if info.compress_type == zipfile.ZIP_STORED and not _by_columns(head):
        return StoredArray(shape, kind, lambda: _mapped(path, info, within, shape, kind))
    if info.file_size > (most := installed() // 2):
        raise TooLarge(
            path,
            f"has an array '{info.filename}' of {info.file_size} bytes that is packed, and half of this machine's "
            f"memory is {most}",
            "save it unpacked, by numpy.savez, or as .npy",
        )
    return StoredArray(shape, kind, lambda: _unpacked(path, info))


def _by_columns(head: Packed) -> bool:
    from numpy.lib import format as npy

    head.seek(0)
    read = npy.read_array_header_1_0 if npy.read_magic(head) == (1, 0) else npy.read_array_header_2_0
    return read(head)[1]


def _mapped(
    path: Path, info: zipfile.ZipInfo, within: int, shape: tuple[int, ...], kind: "np.dtype[Any]"
) -> "NDArray[Any]":
    """An array that lies unpacked in an archive, ``within`` bytes after its file's beginning there."""
    import numpy as np

    with opened(path) as file:
        file.seek(info.header_offset)
        local = file.read(30)  # a zip file's header of a file, with the lengths of its name and of what else is said
        begin = (
            info.header_offset + 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        )
        if begin + info.file_size > stamp_of(file)[0]:
            raise BadFile(path, "is not whole")
        return np.memmap(file, kind, "r", begin + within, shape)


def _unpacked(path: Path, info: zipfile.ZipInfo) -> "NDArray[Any]":
    with opened(path) as file:
        try:
            with zipfile.ZipFile(file) as archive, archive.open(info) as member:
                content = member.read(info.file_size)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, MemoryError) as error:
            raise BadFile(path, f"is no .npz file that can be read ({_brief(error)})") from None
    return array_in(Packed(content, (info.file_size, 0, 0)), path / info.filename, info.file_size)


def _zarr(path: Path) -> Iterator[tuple[str, StoredArray]]:
    try:
        import zarr
    except ImportError:
        raise UserError(
            f"'{path}' needs the package 'zarr': pip install 'carrara[arrays]', or save it as .npy"
        ) from None
    _check_files(path)
    try:
        node: Any = zarr.open(store=str(path), mode="r")
        found = {"": node} if isinstance(node, zarr.Array) else dict(node.arrays())
        told = {name: (tuple(array.shape), array.dtype, tuple(array.chunks)) for name, array in found.items()}
        codecs = {codec for array in found.values() for codec in _codecs(array.metadata.to_dict())}
    except Exception as error:  # its reader raises almost anything
        raise BadFile(path, f"is no Zarr store that can be read ({_brief(error)})") from None
    if foreign := sorted(codecs - _CODECS):
        raise BadFile(path, f"is packed by '{foreign[0]}', which is not run here", "save it with blosc or zstd")
    for name, (shape, kind, chunks) in told.items():
        size = kind.itemsize
        for edge in chunks:
            size *= edge
        if size > CHUNK:
            raise TooLarge(path, f"has chunks of {size} bytes, and at most {CHUNK} are unpacked at once")
        yield name, StoredArray(shape, kind, _Chunks(path, found[name]), chunks[0] if chunks else 1)


def _check_files(store: Path) -> None:
    """Refuses a store of which something is no file: its reader would wait for a pipe for ever."""
    for where, _, names in os.walk(store):
        for name in names:
            if not is_regular(Path(where, name)):
                raise BadFile(Path(where, name), "is no file, and a Zarr store has files alone")


class _Chunks:
    """A Zarr array whose reader's complaints are sentences; called, it is itself."""

    def __init__(self, path: Path, array: Any) -> None:
        self._path, self._array = path, array

    def __call__(self) -> "_Chunks":
        return self

    def __getitem__(self, rows: Any) -> Any:
        try:
            return self._array[rows]
        except Exception as error:  # as above
            raise BadFile(self._path, f"cannot be unpacked ({_brief(error)})") from None


def _codecs(told: Any, *, named: bool = False) -> Iterator[str]:
    """The names of all that unpacks chunks, in what a Zarr array says of itself."""
    if isinstance(told, Mapping):
        if named and (name := told.get("name", told.get("id"))):
            yield str(name).removeprefix("numcodecs.")
        for key, value in told.items():
            if key in ("codecs", "index_codecs", "filters", "compressor", "configuration"):
                yield from _codecs(value, named=key != "configuration")
    elif isinstance(told, list | tuple):
        for one in told:
            yield from _codecs(one, named=named)
    elif told is not None and named and not isinstance(told, str | int | float):
        yield str(getattr(told, "codec_id", type(told).__name__))


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
