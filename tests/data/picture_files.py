"""Small real files of every kind."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def array(height: int = 12, width: int = 16, channels: int = 3, key: int = 0) -> NDArray[np.uint8]:
    """A picture (H, W, C) of smooth colours that depend on ``key``."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    return (127.5 + 127 * np.sin(0.3 * y + 0.2 * x * (c + 1) + key)).astype(np.uint8)


def picture(height: int = 12, width: int = 16, key: int = 0) -> Image.Image:
    return Image.fromarray(array(height, width, 3, key))


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def write(folder: Path, *names: str) -> Path:
    """Saves a different picture under each name."""
    for key, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(key=key).save(folder / name)
    return folder


def truncated_jpeg() -> bytes:
    content = encoded(picture(64, 64), "JPEG", quality=95)
    return content[: 3 * len(content) // 4]


def enormous_png(side: int) -> bytes:
    """A file that says it has ``side`` by ``side`` pixels, and holds one."""
    content = bytearray(encoded(Image.new("1", (1, 1)), "PNG"))
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(values: NDArray[Any], colours: int, *others: bytes) -> bytes:
    """A PNG of (H, W, C), 8 or 16 bits.

    Args:
        colours: 0 grey, 2 colour, 4 and 6 the same with transparency.
        others: parts that come before the pixels.
    """
    height, width = values.shape[:2]
    bits = 8 * values.dtype.itemsize
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in values)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(others) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(values: NDArray[Any], colours: int, tags: dict[int, int] | None = None) -> bytes:
    """A TIFF of (H, W, C) as its type and order of bytes are, not compressed.

    Args:
        colours: 0 white is zero, 1 black is zero, 2 colour, 5 CMYK, 6 YCbCr, 8 CIE L*a*b*.
        tags: more of them, each one short number.
    """
    order = ">" if values.dtype.str[0] == ">" else "<"
    height, width, channels = values.shape
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    bits = [8 * values.dtype.itemsize] * channels
    known = {256: [width], 257: [height], 258: bits, 259: [1], 262: [colours], 273: [0], 277: [channels], 278: [height]}
    known |= {279: [values.nbytes], 339: [kind] * channels, **{tag: [value] for tag, value in (tags or {}).items()}}
    beyond = 8 + 2 + 12 * len(known) + 4
    known[273] = [beyond + 2 * sum(len(given) for given in known.values() if len(given) > 2)]
    entries, lists = b"", b""
    for tag, given in sorted(known.items()):
        long = tag in (256, 257, 273, 278, 279)
        packed = struct.pack(f"{order}{len(given)}{'I' if long else 'H'}", *given)
        entries += struct.pack(f"{order}HHI", tag, 4 if long else 3, len(given))
        entries += packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(f"{order}I", beyond + len(lists))
        lists += packed if len(packed) > 4 else b""
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}IH", 8, len(known))
    return head + entries + bytes(4) + lists + values.tobytes()
