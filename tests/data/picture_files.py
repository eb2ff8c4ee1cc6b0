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
