"""Opening pictures: of the usual formats alone, and none that is too large to be one."""

import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from PIL import Image

from carrara.files.reading import BadFile, opened

PIXEL_LIMIT = 64_000_000
"""More than this many pixels is taken for a mistake or an attack."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "PPM")
"""As Pillow calls them. Others, such as PostScript, may start programs."""


class Oversized(BadFile):
    """A picture that says that it has more than ``PIXEL_LIMIT`` pixels."""


@contextmanager
def open_picture(path: Path, formats: Sequence[str] = FORMATS) -> Generator[Image.Image]:
    """A picture of which only the header is read yet.

    Raises:
        BadFile: it is no regular file; or ``Oversized``.
        Exception: whatever Pillow raises for a broken file, here and when the pixels are read.
    """
    with opened(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # PIXEL_LIMIT is the rule here
        with Image.open(file, formats=[name for name in formats if name in _known()]) as image:
            if image.width * image.height > PIXEL_LIMIT:
                size = f"{image.width}x{image.height}"
                raise Oversized(path, f"has {size} pixels, more than {PIXEL_LIMIT // 10**6} million")
            yield image


@cache
def _known() -> frozenset[str]:
    """The formats that this Pillow was built with."""
    Image.init()
    return frozenset(Image.OPEN)
