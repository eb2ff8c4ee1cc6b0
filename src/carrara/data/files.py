"""Picture files: what their headers say, and their pixels.

Headers are cheap, so all of them are read before a training starts; what cannot be a picture is left out with its
reason. Of an animation the first frame counts. Pillow reads 16-bit grey in full and 16-bit colour with 8 bits; ``.npy``
arrays keep what they have. docs/data.md says what becomes of each kind of picture.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich import get_console
from rich.progress import track

from carrara.data.base import Unreadable
from carrara.data.colours import in_srgb
from carrara.files import (
    NEVER,
    PICTURE,
    PIXEL_LIMIT,
    BadFile,
    Opened,
    Stamp,
    TooLarge,
    array_header,
    array_in,
    check_size,
    opened,
    picture_in,
    shown,
    stamp_of,
    unreadable,
)
from carrara.files.contents import content_in
from carrara.files.reading import Packed

_T = TypeVar("_T")

_A_TASK = 16  # files of a task, so that there are not too many
_AT_ONCE = 300  # tasks that wait for a thread
_MANY = 5000
_CHANNELS = {"F": 1, "I": 1, "L": 1, "RGB": 3, "RGBA": 4}
_TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # of a TIFF
_SCALED = "scale them, or save the picture with 8 or 16 bits"
_REASON = 160  # letters of what a reader of files says
_CHANGED = "it is not what it was when this began: run the same command again to use it as it is now"


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is known about a file without decoding it.

    Attributes:
        stamp: of when it was read.
        size: (height, width) as shown; None if unknown.
        mode: Pillow's name for the kind of pixels, or the type of an array.
        channels: after decoding; 0 if unknown.
        content: a hash of the number of bytes, and of all of them in a small file or of five probes in a large one.
        problem: why the file cannot be used; None if it seems good.
    """

    path: Path
    stamp: Stamp = NEVER
    size: tuple[int, int] | None = None
    mode: str = ""
    channels: int = 0
    content: str = ""
    problem: Unreadable | None = None


def scan(read: Callable[[Path], _T], paths: Sequence[Path], title: str, *, threads: int | None = None) -> Generator[_T]:
    """Applies ``read`` to many files, in threads, with a progress bar if there are thousands.

    Args:
        threads: as many as there are processors suit what computes more than it waits for the disk: more would wait
            for each other. None is for the others.
    """
    pool = ThreadPoolExecutor(threads)
    tasks = [paths[k : k + _A_TASK] for k in range(0, len(paths), _A_TASK)]
    try:
        parts = (pool.map(partial(_each, read), tasks[k : k + _AT_ONCE]) for k in range(0, len(tasks), _AT_ONCE))
        results = chain.from_iterable(chain.from_iterable(parts))
        quiet = len(paths) < _MANY or not get_console().is_terminal  # elsewhere an empty line would be left of it
        yield from track(results, title, total=len(paths), transient=True, disable=quiet)
    finally:
        pool.shutdown(cancel_futures=True)  # an interruption waits for no others


def _each(read: Callable[[Path], _T], paths: Sequence[Path]) -> list[_T]:
    return [read(path) for path in paths]


def relative(path: Path, folder: Path) -> str:
    """The name of a file within its folder, with slashes."""
    return "/".join(path.parts[len(folder.parts) :])


def read_header(path: Path) -> Header:
    """Reads what a file says about itself. Never raises: what is wrong stands in ``problem``."""
    stamp = NEVER
    try:
        with opened(path, PICTURE) as file:
            stamp, content = _begun(file), content_in(file)
            size, mode, channels = (_array_header if _is_array(path) else _image_header)(file, path)
    except Exception as error:  # the plugins of Pillow raise almost anything on broken files
        return Header(path=path, stamp=stamp, problem=explain(path, error))
    return Header(path=path, stamp=stamp, size=size, mode=mode, channels=channels, content=content)


def decode(path: Path, header: Header | None = None) -> NDArray[Any]:
    """Reads a picture: (H, W, C), uint8, uint16 or float32 in [0, 1], turned as its EXIF orientation says.

    Args:
        header: what is known of it, if it must still be the same.

    Raises:
        Unreadable: with the reason.
    """
    try:
        with opened(path, PICTURE) as file:
            if header is not None and not _is_same(file, header):
                raise Unreadable(_CHANGED)
            stamp = _begun(file)
            array = _decoded(file, path)
            if stamp_of(file)[:2] != stamp[:2]:
                raise Unreadable(_CHANGED)
            return array
    except Exception as error:  # as above
        gone = header is not None and stamp_of(path) == NEVER
        raise Unreadable("it is not there any more") if gone else explain(path, error) from None


def decode_bytes(content: bytes, name: str) -> NDArray[Any]:
    """The same of a file's bytes.

    Args:
        name: of the file, whose ending says whether it is an array.
    """
    path = Path(name)
    try:
        return _decoded(Packed(content, (len(content), 0, 0)), path)
    except Exception as error:  # as above
        raise explain(path, error) from None


def explain(path: Path, error: Exception) -> Unreadable:
    """Says in a few words why a file cannot be read."""
    match error:
        case Unreadable():
            return Unreadable(str(error), error.fault)  # without its traceback, which would keep the pixels
        case BadFile():
            return Unreadable(f"it {error.why}", "oversized" if isinstance(error, TooLarge) else "corrupt")
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return Unreadable(f"it has more than {PIXEL_LIMIT // 10**6} million pixels", "oversized")
        case MemoryError():
            return Unreadable("it needs more memory than there is", "oversized")
        case Image.UnidentifiedImageError():
            return Unreadable(str(error) or f"not a {path.suffix.lower()} file inside")
        case EOFError():
            return _truncated()
        case OSError() if error.strerror:
            return Unreadable(f"it {unreadable(path, error).why}")
        case _:
            said = " ".join(shown(str(error)).split())[:_REASON]
            return _truncated() if "truncated" in said.lower() else Unreadable(f"damaged: {said}")


def _truncated() -> Unreadable:
    return Unreadable("the file is truncated", "truncated")


def _begun(file: Opened) -> Stamp:
    """The stamp of an open file.

    Raises:
        Unreadable: it is empty.
    """
    stamp = stamp_of(file)
    if not stamp[0]:
        raise Unreadable("the file is empty")
    return stamp


def _is_same(file: Opened, header: Header) -> bool:
    """Whether a file is still what its header was read from; a link that was made to it is no change."""
    stamp = stamp_of(file)
    if header.stamp in (NEVER, stamp):
        return True
    return stamp[:2] == header.stamp[:2] and header.content in ("", content_in(file))


def _decoded(file: Opened, path: Path) -> NDArray[Any]:
    return _decode_array(file, path) if _is_array(path) else _decode_image(file, path)


def _is_array(path: Path) -> bool:
    return path.suffix.lower() == ".npy"


def _image_header(file: Opened, path: Path) -> tuple[tuple[int, int], str, int]:
    with picture_in(file, path) as image:
        width, height = image.size
        size = (width, height) if _orientation(image) in (5, 6, 7, 8) else (height, width)
        return size, image.mode, _CHANNELS[_kept(image)]


def _orientation(image: Image.Image) -> int:
    """How a picture is to be turned, as EXIF counts it, or XMP if that is all there is."""
    if image.format == "TIFF" or (image.format == "JXL" and not getattr(image, "jpeg", False)):
        return 1  # its reader turns it
    with suppress(Exception):  # what is broken says nothing
        return Image.Image.getexif(image).get(_ORIENTATION, 1)  # a PNG's own would decode it
    return 1


def _kept(image: Image.Image) -> str:
    """The mode in which a picture is decoded; ``F`` and ``I`` have more than 8 bits."""
    if image.mode[0] in "FI":
        return image.mode[0]
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        return "RGBA"
    return "L" if image.mode in ("1", "L") else "RGB"


def _array_header(file: Opened, path: Path) -> tuple[tuple[int, int], str, int]:
    shape, kind = array_header(file, path, PICTURE)
    _check_array(shape, kind)
    check_size(path, shape[1], shape[0])
    return (shape[0], shape[1]), str(kind), 1 if len(shape) == 2 else shape[2]


def _check_array(shape: tuple[int, ...], kind: np.dtype[Any]) -> None:
    if len(shape) not in (2, 3) or 0 in shape:
        raise Unreadable(f"an array of shape {_brief(shape)}: pictures are (height, width, channels)")
    if kind.name not in ("uint8", "uint16") and kind.kind != "f":
        raise Unreadable(f"an array of {_brief(kind)}: pictures are uint8, uint16 or floating-point in [0, 1]")


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _decode_array(file: Opened, path: Path) -> NDArray[Any]:
    _array_header(file, path)
    file.seek(0)
    return decode_array(array_in(file, path, PICTURE))


def decode_array(array: NDArray[Any]) -> NDArray[Any]:
    """The same of numbers, as a file of them has them.

    Raises:
        Unreadable: with the reason.
    """
    _check_array(array.shape, array.dtype)
    return _checked(array) if array.dtype.kind == "f" else np.atleast_3d(array)


def _checked(array: NDArray[Any]) -> NDArray[np.float32]:
    low, high = float(array.min()), float(array.max())
    if not 0 <= low <= high <= 1:
        raise Unreadable(f"values from {low:g} to {high:g}: floating-point pictures lie in [0, 1], so {_SCALED}")
    return np.atleast_3d(array.astype(np.float32))


def _decode_image(file: Opened, path: Path) -> NDArray[Any]:
    with picture_in(file, path) as image:
        declared = image.size
        image.load()
        check_size(path, image.width, image.height)  # a GIF may grow
        if image.format == "HEIF" and image.size != declared:
            raise Unreadable("damaged: its size is not the one that it declares")
        return decode_image(image)


def decode_image(opened: Image.Image) -> NDArray[Any]:
    """The same of one of Pillow's.

    Raises:
        Unreadable: with the reason.
    """
    opened.load()
    turn = _TURNS.get(_orientation(opened))
    image, mode = opened.transpose(turn) if turn is not None else opened, _kept(opened)
    if mode == "F":
        return _checked(np.asarray(image))
    if mode == "I":
        return _sixteen_bits(np.asarray(image), negative=_is_negative(opened))
    return np.atleast_3d(np.array(in_srgb(image, mode)))


def _is_negative(image: Image.Image) -> bool:
    """Whether 0 is white in a TIFF of 16 bits, which Pillow undoes for 8 bits alone."""
    return image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def _sixteen_bits(values: NDArray[Any], *, negative: bool) -> NDArray[np.uint16]:
    low, high = values.min(), values.max()
    if low < 0 or high > 65535:
        raise Unreadable(f"values from {low} to {high}: whole numbers lie in 0..65535, so {_SCALED}")
    return np.atleast_3d((65535 - values if negative else values).astype(np.uint16))
