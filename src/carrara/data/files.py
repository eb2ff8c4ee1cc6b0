"""Picture files: which there are, what their headers say, and their pixels.

Headers are cheap, so all of them are read before a training starts; what cannot be a picture is left out with its
reason. Of an animation the first frame counts. Pillow reads 16-bit grey in full and 16-bit colour with 8 bits; ``.npy``
arrays keep what they have.
"""

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from rich.progress import track

from carrara.data.base import Unreadable

_T = TypeVar("_T")

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".npy")
PIXEL_LIMIT = 64_000_000
"""More than this many pixels is taken for a mistake or an attack, and left out."""

_AT_ONCE = 5000  # files that wait for a thread
_PROBE = 4096  # bytes that are hashed at each of five places of a large file
_CHANNELS = {"1": 1, "L": 1, "I": 1, "F": 1, "LA": 4, "PA": 4, "RGBA": 4, "RGBa": 4, "La": 4}
_ORIENTATION = 0x0112


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is known about a file without decoding it.

    Attributes:
        size: (height, width) as shown; None if unknown.
        mode: Pillow's name for the kind of pixels, or the type of an array.
        channels: after decoding; 0 if unknown.
        content: a hash of the number of bytes, and of all of them in a small file or of five probes in a large one.
        problem: why the file cannot be used; None if it seems good.
    """

    path: Path
    size: tuple[int, int] | None = None
    mode: str = ""
    channels: int = 0
    content: str = ""
    problem: Unreadable | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of a folder and of all below it, by their names within it, with slashes.

    Attributes:
        pictures: those whose endings are of pictures, in order.
        texts: those that end in ``.txt``.
        others: how many files have each other ending, or no ending and this name.
    """

    pictures: list[str]
    texts: set[str]
    others: Counter[str]


def find(folder: Path) -> Listing:
    """Finds the files of a folder.

    Symbolic links are followed, each folder is visited once, and names that begin with a dot are passed over.
    """
    found, seen = Listing(pictures=[], texts=set(), others=Counter()), set[str]()
    for where, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        above = relative(Path(where), folder)
        for name in () if real in seen else names:
            if name.startswith("."):
                continue
            file, (_, dot, end) = f"{above}/{name}" if above else name, name.rpartition(".")
            ending = (dot + end).lower() if dot else ""
            if ending in ENDINGS:
                found.pictures.append(file)
                continue
            found.others[ending or name] += 1
            if ending == ".txt":
                found.texts.add(file)
        seen.add(real)
    found.pictures.sort()
    return found


def relative(path: Path, folder: Path) -> str:
    """The name of a file within its folder, with slashes."""
    return "/".join(path.parts[len(folder.parts) :])


def scan(read: Callable[[Path], _T], paths: Sequence[Path], title: str) -> Iterator[_T]:
    """Applies ``read`` to many files, in threads, with a progress bar if there are thousands."""
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # PIXEL_LIMIT is the rule here
        parts = (pool.map(read, paths[k : k + _AT_ONCE]) for k in range(0, len(paths), _AT_ONCE))
        results = chain.from_iterable(parts)
        yield from track(results, title, total=len(paths), transient=True, disable=len(paths) < _AT_ONCE)


def read_header(path: Path) -> Header:
    """Reads what a file says about itself. Never raises: what is wrong stands in ``problem``."""
    try:
        content = _content(path)
        size, mode, channels = (_array_header if path.suffix.lower() == ".npy" else _image_header)(path)
    except Exception as error:  # the plugins of Pillow raise almost anything on broken files
        return Header(path=path, problem=explain(path, error))
    large = size[0] * size[1] > PIXEL_LIMIT
    problem = _oversized(f"{size[1]}x{size[0]} pixels are") if large else None
    return Header(path=path, size=size, mode=mode, channels=channels, content=content, problem=problem)


def decode(path: Path) -> NDArray[Any]:
    """Reads a picture: (H, W, C), uint8, uint16 or float32 in [0, 1], turned as its EXIF orientation says.

    Raises:
        Unreadable: with the reason.
    """
    try:
        return _decode_array(path) if path.suffix.lower() == ".npy" else _decode_image(path)
    except Exception as error:  # as above
        raise explain(path, error) from error


def explain(path: Path, error: Exception) -> Unreadable:
    """Says in a few words why a file cannot be read."""
    if isinstance(error, Unreadable):
        return error
    if isinstance(error, OSError) and error.strerror:
        return Unreadable(error.strerror.lower())
    if path.stat().st_size == 0:
        return Unreadable("the file is empty")
    if isinstance(error, Image.DecompressionBombError):
        return _oversized("its pixels are")
    if isinstance(error, Image.UnidentifiedImageError):
        return Unreadable(f"not a {path.suffix.lower()} file inside")
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return Unreadable("the file is truncated", "truncated")
    return Unreadable(f"damaged: {error}")


def _oversized(what: str) -> Unreadable:
    return Unreadable(f"{what} more than {PIXEL_LIMIT // 10**6} million", "oversized")


def _content(path: Path) -> str:
    total = path.stat().st_size
    digest = hashlib.blake2b(str(total).encode(), digest_size=16)
    with path.open("rb") as file:
        for start in _probes(total):
            file.seek(start)
            digest.update(file.read(_PROBE))
    return digest.hexdigest()


def _probes(total: int) -> Iterator[int]:
    if total <= 5 * _PROBE:
        yield from range(0, total, _PROBE)
    else:
        yield from (k * (total - _PROBE) // 4 for k in range(5))


def _image_header(path: Path) -> tuple[tuple[int, int], str, int]:
    with Image.open(path) as image:
        width, height = image.size
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))
        turned = exif.get(_ORIENTATION, 1) in (5, 6, 7, 8)
        channels = 4 if "transparency" in image.info else _CHANNELS.get(image.mode.partition(";")[0], 3)
        return (width, height) if turned else (height, width), image.mode, channels


def _array_header(path: Path) -> tuple[tuple[int, int], str, int]:
    array = _open_array(path)
    return array.shape[:2], str(array.dtype), 1 if array.ndim == 2 else array.shape[2]


def _open_array(path: Path) -> NDArray[Any]:
    return _picture_like(np.load(path, mmap_mode="r", allow_pickle=False))


def _picture_like(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise Unreadable(f"an array of shape {array.shape}: pictures are (height, width, channels)")
    if array.dtype.name not in ("uint8", "uint16") and array.dtype.kind != "f":
        raise Unreadable(f"an array of {array.dtype}: pictures are uint8, uint16 or floating-point in [0, 1]")
    return array


def _decode_array(path: Path) -> NDArray[Any]:
    return decode_array(np.array(_open_array(path)))


def decode_array(array: NDArray[Any]) -> NDArray[Any]:
    """The same of numbers, as a file of them has them.

    Raises:
        Unreadable: with the reason.
    """
    return _checked(array) if _picture_like(array).dtype.kind == "f" else np.atleast_3d(array)


def _checked(array: NDArray[Any]) -> NDArray[np.float32]:
    low, high = float(array.min()), float(array.max())
    if not 0 <= low <= high <= 1:
        raise Unreadable(f"values from {low:g} to {high:g}: floating-point pictures lie in [0, 1]")
    return np.atleast_3d(array.astype(np.float32))


def _decode_image(path: Path) -> NDArray[Any]:
    with Image.open(path) as opened:
        return decode_image(opened)


def decode_image(opened: Image.Image) -> NDArray[Any]:
    """The same of one of Pillow's.

    Raises:
        Unreadable: with the reason.
    """
    image = ImageOps.exif_transpose(opened)
    if image.mode == "F":
        return _checked(np.asarray(image))
    if image.mode.startswith("I"):
        return _sixteen_bits(np.asarray(image))
    transparent = "A" in image.mode or "a" in image.mode or "transparency" in image.info
    mode = "RGBA" if transparent else "L" if image.mode in ("1", "L") else "RGB"
    return np.atleast_3d(np.array(image.convert(mode)))


def _sixteen_bits(values: NDArray[Any]) -> NDArray[np.uint16]:
    if values.min() < 0 or values.max() > 65535:
        raise Unreadable(f"values from {values.min()} to {values.max()}: whole numbers lie in 0..65535")
    return np.atleast_3d(values.astype(np.uint16))
