"""Opening pictures: of the usual formats alone, and none that is too large to be one."""

import logging
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import BufferedReader, BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from carrara.files.jpegxl import is_jpegxl, size_inside
from carrara.files.reading import TooLarge, opened

PIXEL_LIMIT = 64_000_000
"""More than this many pixels is taken for a mistake or an attack."""
PICTURE = 1 << 29
"""The largest file of a picture, in bytes."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "PPM", "HEIF", "JXL")
"""As Pillow calls them. Others, such as PostScript, may start programs."""
_PACKAGES = {"HEIF": ("pillow_heif", "heic"), "JXL": ("pillow_jxl", "jxl")}
"""The modules that teach Pillow a format, and the extras that bring them."""
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_FOREIGN = {
    b"8BPS": "Photoshop's format",
    b"%PDF": "a PDF",
    b"%!PS": "PostScript",
    b"gimp": "GIMP's format",
    b"<svg": "a drawing in SVG",
    b"<!do": "a web page",
    b"<htm": "a web page",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xffO\xffQ": "JPEG 2000",
}

# What is odd about a picture that can be read is no news, and PIXEL_LIMIT is the rule for its size.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


class Oversized(TooLarge):
    """A picture that has, or says that it has, more than ``PIXEL_LIMIT`` pixels."""


@contextmanager
def open_picture(path: Path, formats: Sequence[str] = FORMATS) -> Generator[Image.Image]:
    """A picture of which only the header is read yet.

    Raises:
        BadFile: it is no regular file; or ``Oversized``.
        Exception: whatever Pillow raises for a broken file, here and when the pixels are read.
    """
    with opened(path, PICTURE) as file, picture_in(file, path, formats) as image:
        yield image


@contextmanager
def picture_in(file: BufferedReader | BytesIO, name: Path, formats: Sequence[str] = FORMATS) -> Generator[Image.Image]:
    """The same of a file that is open already, or of bytes; it is at its beginning.

    Args:
        name: what to call it in a message.

    Raises:
        UnidentifiedImageError: it is none of ``formats``; says what it is instead, if that can be told.
    """
    head = file.read(16)
    file.seek(0)
    if is_jpegxl(head) and "JXL" in formats:
        check_size(name, *(size_inside(file) or (0, 0)))
    try:
        opening = Image.open(file, formats=[form for form in formats if form in known_formats()])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Oversized(name, f"has more than {PIXEL_LIMIT // 10**6} million pixels") from None
    except UnidentifiedImageError:
        raise UnidentifiedImageError(_foreign(head)) from None
    with opening as image:
        check_size(name, image.width, image.height)
        yield image


def check_size(name: Path, width: int, height: int) -> None:
    """Refuses a picture of too many pixels.

    Raises:
        Oversized: it has them.
    """
    if width * height > PIXEL_LIMIT:
        raise Oversized(name, f"has {width}x{height} pixels, more than {PIXEL_LIMIT // 10**6} million")


def is_installed(form: str) -> bool:
    """Whether the package that reads a format is there; Pillow reads most of them."""
    return form not in _PACKAGES or find_spec(_PACKAGES[form][0]) is not None


def installing(form: str) -> str:
    """What brings the package that reads a format."""
    return f"pip install 'carrara[{_PACKAGES[form][1]}]'" if form in _PACKAGES else "pip install -U pillow"


@cache
def known_formats() -> frozenset[str]:
    """The formats that this Pillow was built with, and those of the packages that are there."""
    Image.init()
    with suppress(ImportError):
        import_module("pillow_jxl")  # it registers itself
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    return frozenset(Image.OPEN)


def _foreign(head: bytes) -> str:
    """What a file is that cannot be opened as a picture, by how it begins; nothing if nobody knows."""
    brand = head[8:12] if head[4:8] == b"ftyp" else b""
    form = "JXL" if is_jpegxl(head) else "HEIF" if brand in _HEIF else "AVIF" if brand in (b"avif", b"avis") else ""
    if form:
        called = {"HEIF": "HEIC", "JXL": "JPEG XL"}.get(form, form)
        missing = form not in known_formats()
        return f"it is {called} inside: {installing(form)}" if missing else f"damaged: no whole {called} file"
    said = next((what for start, what in _FOREIGN.items() if head.lstrip().lower().startswith(start.lower())), "")
    advised = "download the picture again" if said == "a web page" else "export it as PNG or JPEG"
    return said and f"it is {said} inside: {advised}"
