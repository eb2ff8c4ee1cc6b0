"""Opening pictures: of the usual formats alone, and none that is too large to be one."""

import logging
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from io import BufferedReader, BytesIO
from pathlib import Path

from PIL import Image

from carrara.files.reading import TooLarge, opened

PIXEL_LIMIT = 64_000_000
"""More than this many pixels is taken for a mistake or an attack."""
PICTURE = 1 << 29
"""The largest file of a picture, in bytes."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "PPM")
"""As Pillow calls them. Others, such as PostScript, may start programs."""

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
    """The same of a file that is open already, or of bytes.

    Args:
        name: what to call it in a message.
    """
    try:
        opening = Image.open(file, formats=[form for form in formats if form in _known()])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Oversized(name, f"has more than {PIXEL_LIMIT // 10**6} million pixels") from None
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


@cache
def _known() -> frozenset[str]:
    """The formats that this Pillow was built with."""
    Image.init()
    return frozenset(Image.OPEN)
