"""Which arrays a file or a folder holds: the examples, and what lies beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrara.data.base import Unreadable
from carrara.data.files import decode
from carrara.data.formats import endings
from carrara.errors import UserError, option
from carrara.files import BadFile, is_folder, is_regular, shown
from carrara.files.arrays import StoredArray, is_zarr, stored_array, stored_arrays

FILES = (".npy", ".npz")
MAIN = ("x", "X", "data", "images", "image", "volumes", "volume", "samples", "signals", "values", "inputs", "arr_0")
VECTORS = ("vectors", "vector", "conditions", "y", "labels", "label", "targets")
KNOWN = ("mask", "known", "valid")
_LOOKED_AT = 2_000


@dataclass(frozen=True, kw_only=True)
class Files:
    """The arrays of a source, none of which is read yet.

    Attributes:
        path: of the file, store or folder.
        names: of the files of a folder, one example each; none of what holds all examples in one array.
        main: the array of examples; of a folder the first file's.
        vectors, known: what is known of each example, and where values are; by the same index.
    """

    path: Path
    names: tuple[str, ...] = ()
    main: StoredArray
    vectors: StoredArray | None = None
    known: StoredArray | None = None

    @property
    def what(self) -> str:
        """The array, as a sentence begins."""
        return f"'{shown(self.path / self.names[0] if self.names else self.path)}'"

    def example(self, index: int) -> NDArray[Any]:
        """One of them, as it is stored.

        Raises:
            Unreadable: its file cannot be read, or is another one than it was.
        """
        if not self.names:
            return self.main.row(index)
        try:
            found = stored_array(self.path / self.names[index])
            if (found.shape, found.dtype) != (self.main.shape, self.main.dtype):
                raise Unreadable("it is not what it was when this began")
            return found.whole()
        except BadFile as error:
            raise Unreadable(f"it {error.why}") from None


def stored_files(path: Path, name: str | None, vectors: str | None, known: str | None) -> Files:
    """The arrays of a path.

    Args:
        name, vectors, known: those in a ``.npz`` file or a store; of a ``.npy`` file, other files; None = of usual
            names.

    Raises:
        UserError: there are none, or which are the examples is open.
    """
    if is_folder(path) and not is_zarr(path):
        return _folder(path)
    if not is_folder(path) and not is_regular(path):
        raise UserError(f"there is no array '{shown(path)}'")
    arrays = stored_arrays(path)
    if "" in arrays:
        beside = {key: stored_array(Path(key)) for key in (vectors, known) if key}
        main = arrays[""]
    else:
        main, beside = arrays[_main(path, arrays, name)], arrays
    checked_type(main.dtype, f"'{shown(path)}'")
    if not main.shape or 0 in main.shape:
        raise UserError(f"'{shown(path)}' holds no examples: its array has the shape {main.shape}")
    found = Files(path=path, main=main, vectors=_one_of(beside, vectors, VECTORS), known=_one_of(beside, known, KNOWN))
    for array, what in ((found.vectors, "vectors"), (found.known, "a mask")):
        if array is not None and array.shape[:1] != main.shape[:1]:
            one = "an entry" if what == "vectors" else "a place"
            raise UserError(
                f"'{shown(path)}' has {main.shape[0]} examples, and {what} of shape {array.shape}: give {one} for each "
                "example"
            )
    return found


def checked_type(dtype: np.dtype[Any], what: str) -> None:
    """Refuses what are no numbers."""
    if dtype.kind not in "biuf":
        kinds = {"c": "complex numbers", "O": "Python objects", "U": "texts", "S": "texts", "M": "dates"}
        next_ = "give real and imaginary parts as two channels" if dtype.kind == "c" else "save numbers, as float32"
        held = kinds.get(dtype.kind, f"{dtype}")
        raise UserError(f"{what} holds {held}, and arrays are of whole or real numbers: {next_}")


def is_array(path: Path) -> bool:
    """Whether a path is one of arrays: a ``.npy`` or ``.npz`` file, a Zarr store, or a folder of ``.npy`` files that
    are no pictures, which have two or three axes and are uint8, uint16, or floating-point in [0, 1]."""
    if is_regular(path):
        return path.suffix.lower() in FILES
    if not is_folder(path) or is_zarr(path):
        return is_zarr(path)
    names = sorted(name.name for name in path.iterdir())[:_LOOKED_AT]
    arrays = [name for name in names if name.lower().endswith(".npy")]
    others = sum(name.lower().endswith(endings()) for name in names) - len(arrays)
    if len(arrays) <= others:
        return False
    try:
        if stored_array(path / arrays[0]).dtype.kind not in "biuf":
            return False
        decode(path / arrays[0])
    except Unreadable:
        return True
    except BadFile:
        return False
    return False


def _folder(path: Path) -> Files:
    names = tuple(sorted(file.name for file in path.iterdir() if file.suffix.lower() == ".npy"))
    if not names:
        raise UserError(f"there are no .npy files in '{shown(path)}': give a folder of them, a file or a Zarr store")
    first = stored_array(path / names[0])
    checked_type(first.dtype, f"'{shown(path / names[0])}'")
    for name in names[1:]:
        array = stored_array(path / name)
        if (array.shape, array.dtype) != (first.shape, first.dtype):
            raise UserError(
                f"'{shown(path / name)}' is {array.dtype} of shape {array.shape}, and '{shown(names[0])}' "
                f"{first.dtype} of shape {first.shape}: all arrays of a folder are of one shape and one type"
            )
    if not first.shape or 0 in first.shape:
        raise UserError(f"'{shown(path / names[0])}' is empty: its array has the shape {first.shape}")
    return Files(path=path, names=names, main=first)


def _main(path: Path, arrays: dict[str, StoredArray], name: str | None) -> str:
    """The name of the array of examples."""
    listed = ", ".join(f"{key} {array.shape}" for key, array in list(arrays.items())[:8])
    if name is not None:
        if name not in arrays:
            raise UserError(f"'{shown(path)}' has no array '{shown(name)}', but {listed or 'none'}: name one of these")
        return name
    if not arrays:
        raise UserError(f"'{shown(path)}' holds no arrays: save the examples in it, or name another file")
    usual = [key for key in MAIN if key in arrays]
    others = [key for key, array in arrays.items() if len(array.shape) > 1 and key not in (*VECTORS, *KNOWN)]
    if not usual and len(others) != 1:
        raise UserError(
            f"'{shown(path)}' has the arrays {listed}: say which are the examples, as in "
            f"{option('data.source.array', others[0] if others else next(iter(arrays)))}"
        )
    return (usual or others)[0]


def _one_of(arrays: dict[str, StoredArray], said: str | None, usual: Sequence[str]) -> StoredArray | None:
    if said is not None and said not in arrays:
        raise UserError(f"there is no array '{shown(said)}' beside the examples, but {', '.join(arrays) or 'none'}")
    return next((arrays[name] for name in ([said] if said else usual) if name in arrays), None)
