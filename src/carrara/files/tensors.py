"""Tensors from files that anybody may have written: what a header declares is compared before anything is loaded.

A safetensors file is a header of JSON and then numbers, and cannot run code. A pickle could: torch's reader for weights
alone refuses whatever is not a tensor. An array of numpy's is read without pickles.
"""

import errno
import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carrara.files.reading import BadFile, Opened, TooLarge, opened, stamp_of, unreadable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

HEADER = 1 << 25
"""The largest header of a safetensors file, in bytes."""
ARRAY = 1 << 32
"""The largest array, in bytes."""
ARRAY_HEADER = 1 << 16
"""The largest header of an array, in bytes."""
_COUNTED = 10**30


def open_tensors(path: Path, framework: str = "pt") -> Any:
    """A safetensors file, whose tensors are read when they are asked for.

    Args:
        framework: whose tensors they become: ``pt`` or ``numpy``.

    Raises:
        BadFile: it is no such file, or is not whole.
    """
    from safetensors import SafetensorError, safe_open

    _check_header(path)
    try:
        return safe_open(path, framework=framework)
    except (OSError, SafetensorError, ValueError) as error:
        raise BadFile(path, f"is damaged, or no safetensors file ({_brief(error)})") from None


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors that a safetensors file declares, by their names.

    Raises:
        BadFile: it is no such file, or is not whole.
    """
    file = open_tensors(path, "numpy")
    return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (it is no mapping)


def read_tensors(path: Path, like: "Mapping[str, Tensor] | None" = None) -> "dict[str, Tensor]":
    """All tensors of a safetensors file.

    Args:
        like: what it must hold: the same names and shapes. Nothing is loaded if it holds something else.

    Raises:
        BadFile: it is no such file, is not whole, or holds something else.
    """
    from safetensors import SafetensorError

    file = open_tensors(path)
    try:
        if like is not None and (why := _difference(file, like)):
            raise BadFile(path, why)
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, RuntimeError, ValueError, OSError, MemoryError) as error:
        raise (
            unreadable(path, error) if isinstance(error, BadFile) else BadFile(path, f"is damaged ({_brief(error)})")
        ) from None


def said_beside(path: Path) -> dict[str, str]:
    """What the header of a safetensors file says beside its tensors.

    Raises:
        BadFile: it is no such file, or is not whole.
    """
    return dict(open_tensors(path, "numpy").metadata() or {})


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", said: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file.

    Args:
        tensors: contiguous, on the CPU, and none of them a part of another.
        said: what the header says beside them.

    Raises:
        OSError: the disk is full, or refuses.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path, metadata=None if said is None else dict(said))
    except SafetensorError as error:  # it has no errno, and says it in words
        full = "No space left" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, _brief(error)) from error


def read_pickled(path: Path) -> Any:
    """Weights that torch has pickled: tensors in plain containers, and nothing that runs.

    Raises:
        BadFile: it holds something else, or is no such file.
    """
    import torch

    try:
        with opened(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other protocols, which are read or refused all the same
            _check_stored(path, file)
            return torch.load(file, map_location="cpu", weights_only=True)
    except BadFile:
        raise
    except Exception as error:  # torch's reader raises almost anything
        raise BadFile(path, f"holds no weights that can be read safely ({_brief(error)})") from None


def open_array(path: Path, most: int = ARRAY) -> "NDArray[Any]":
    """An array of a ``.npy`` file, left on the disk until it is looked at.

    Args:
        most: the most bytes that it may declare.

    Raises:
        BadFile: it is no such file, is not whole, holds objects, or is larger.
    """
    import numpy as np

    with opened(path) as file:
        array_header(file, path, most)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadFile(path, f"is no array that can be read ({_brief(error)})") from None


def array_in(file: Opened, name: Path, most: int = ARRAY) -> "NDArray[Any]":
    """The array of an open ``.npy`` file, in memory: a file that another program shortens can still be read so.

    Args:
        name: what to call it in a message.
        most: the most bytes that it may declare.

    Raises:
        BadFile: see ``open_array``.
    """
    from numpy.lib import format as npy

    array_header(file, name, most)
    file.seek(0)
    try:
        return npy.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise BadFile(name, f"is no array that can be read ({_brief(error)})") from None


def array_header(file: Opened, name: Path, most: int = ARRAY) -> "tuple[tuple[int, ...], np.dtype[Any]]":
    """The shape and the type that an open ``.npy`` file declares, as many bytes of which it must have.

    Raises:
        BadFile: see ``open_array``.
    """
    shape, kind = _array_header(name, file)
    if kind.hasobject:
        raise BadFile(name, "holds Python objects, which are not read")
    count = kind.itemsize
    for axis in shape:
        count *= axis
    if count > most:
        declared = count if count < _COUNTED else "far more"
        raise TooLarge(name, f"declares {declared} bytes of numbers, and {most} can be read")
    if count > (size := stamp_of(file)[0]):
        raise BadFile(name, f"is not whole: it declares {count} bytes of numbers, and has {size}")
    return shape, kind


def _array_header(path: Path, file: Opened) -> "tuple[tuple[int, ...], np.dtype[Any]]":
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(file)
        read, width = (npy.read_array_header_1_0, 2) if version == (1, 0) else (npy.read_array_header_2_0, 4)
        declared = int.from_bytes(file.read(width), "little")
        if declared > ARRAY_HEADER:
            raise BadFile(path, f"is no .npy file (a header of {declared} bytes)")
        file.seek(-width, os.SEEK_CUR)
        shape, _, kind = read(file)
    except BadFile:
        raise
    except Exception as error:  # numpy's reader of headers raises almost anything
        raise BadFile(path, f"is no .npy file ({_brief(error)})") from None
    if not all(axis >= 0 for axis in shape):
        raise BadFile(path, "declares a shape that is none")
    return shape, kind


def _check_header(path: Path) -> None:
    with opened(path) as file:
        declared = int.from_bytes(file.read(8), "little")
        size = path.stat().st_size
    if declared > min(HEADER, max(0, size - 8)):
        raise BadFile(path, f"is damaged, or no safetensors file (a header of {declared} bytes in {size})")


def _difference(file: Any, like: "Mapping[str, Tensor]") -> str | None:
    """How what a header declares differs from what is wanted; None if it does not."""
    names = set(file.keys())
    for name in [*like, *sorted(names - like.keys())]:
        if name not in names:
            return f"does not hold '{name}'"
        if name not in like:
            return f"holds '{name}', which nothing here is called"
        found, wanted = tuple(file.get_slice(name).get_shape()), tuple(like[name].shape)
        if found != wanted:
            return f"holds '{name}' of shape {found}, and the shape here is {wanted}"
    return None


def _check_stored(path: Path, file: Any) -> None:
    """Refuses an archive whose parts are packed: torch packs none, and a small one might be large."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                raise BadFile(path, "is packed, which no weights of torch are")
    file.seek(0)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
