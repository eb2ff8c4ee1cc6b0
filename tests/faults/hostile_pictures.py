"""Pictures that nobody should decode, and arrays that nobody should believe."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def zeros(count: int) -> bytes:
    """So many zeros, packed by zlib's format, without packing them all: a packed part is repeated."""
    part = 1 << 16
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(part)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = zlib.compressobj(9, zlib.DEFLATED, -15)
    end = rest.compress(bytes(count % part)) + rest.flush()
    return b"\x78\x9c" + block * (count // part) + end + struct.pack(">I", (count % 65521) << 16 | 1)


def vast_png(side: int, *more: bytes) -> bytes:
    """A grey picture of ``side`` by ``side`` pixels, whole and valid."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return png(header, *more, chunk(b"IDAT", zeros(side * (side + 1))), chunk(b"IEND", b""))


def gif(canvas: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """One frame on a canvas of another size."""
    small = io.BytesIO()
    Image.new("P", (4, 4)).save(small, "GIF")
    content = bytearray(small.getvalue())
    content[6:10] = struct.pack("<HH", *canvas)
    at = content.index(b"\x2c\x00\x00\x00\x00")
    content[at + 5 : at + 9] = struct.pack("<HH", *frame)
    return bytes(content)


def wide_webp() -> bytes:
    """An animation on a canvas of 16384 by 16384 pixels."""
    file = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    content = bytearray(file.getvalue())
    at = content.index(b"VP8X") + 12
    content[at : at + 6] = struct.pack("<I", 16383)[:3] * 2
    return bytes(content)


def tiff(*tags: tuple[int, int, int, int]) -> bytes:
    """A directory of tags: number, type, count, and a value or a place."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    return b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(tags)) + entries + bytes(4)


def with_exif(exif: bytes) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "JPEG", exif=b"Exif\0\0" + exif)
    return file.getvalue()


_SMALL = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)), chunk(b"IDAT", zlib.compress(bytes(20)))
_MANY = 300_000_000
TAGS = ((256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1), (278, 4, 1, 8))

PICTURES = {
    "text.png": png(_SMALL[0], chunk(b"zTXt", b"a\0\0" + zeros(_MANY)), _SMALL[1], chunk(b"IEND", b"")),
    "itxt.png": png(_SMALL[0], chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(_MANY)), _SMALL[1], chunk(b"IEND", b"")),
    "iccp.png": png(_SMALL[0], chunk(b"iCCP", b"a\0\0" + zeros(_MANY)), _SMALL[1], chunk(b"IEND", b"")),
    "many.png": png(_SMALL[0], *[chunk(b"zTXt", b"a\0\0" + zeros(1 << 20))] * 99, _SMALL[1], chunk(b"IEND", b"")),
    "length.png": png(_SMALL[0], struct.pack(">I", 0x7FFFFFFF) + b"IDAT", _SMALL[1]),
    "none.png": png(_SMALL[0], chunk(b"IEND", b"")),
    "no-size.png": png(chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 0, 8, 0, 0, 0, 0)), _SMALL[1]),
    "palette.png": png(chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 3, 0, 0, 0)), _SMALL[1]),
    "exif.jpg": with_exif(b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x0112, 3, 0xFFFFFFFF, 8)),
    "circle.jpg": with_exif(b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x8769, 4, 1, 8, 8)),
    "turned.jpg": with_exif(b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x0112, 3, 1, 6000, 0)),
    "no-exif.jpg": with_exif(b"nothing of this kind"),
    "canvas.gif": gif((65535, 65535), (4, 4)),
    "frame.gif": gif((4, 4), (65535, 65535)),
    "grown.gif": gif((4, 4), (12_000, 12_000)),
    "canvas.webp": wide_webp(),
    "tags.tif": tiff(*TAGS, (273, 4, 0x40000000, 8), (279, 4, 0x40000000, 8)),
    "strips.tif": tiff(*TAGS, (273, 4, 1, 0xFFFFFFF0), (279, 4, 1, 0xFFFFFFF0)),
    "samples.tif": tiff(*TAGS[:5], (277, 3, 1, 65535), (273, 4, 1, 8), (279, 4, 1, 64)),
    "tiles.tif": tiff(*TAGS, (322, 4, 1, 0x7FFFFFFF), (323, 4, 1, 0x7FFFFFFF), (324, 4, 1, 8), (325, 4, 1, 64)),
    "circle.tif": tiff(*TAGS, (330, 4, 1, 8), (34665, 4, 1, 8)),
    "vast.ppm.png": b"P6 4000000000 4000000000 255\n",
    "script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "minus.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 0, 0, 54, 40, -5, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0),
}
"""By their names, which need not be what is in them."""


def header(shape: str, kind: str = "|u1", order: str = "False", version: int = 1) -> bytes:
    text = f"{{'descr': {kind!r}, 'fortran_order': {order}, 'shape': {shape}}}\n".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text


ARRAYS = {
    "16 GB in 100 bytes": header("(65536, 65536, 4)"),
    "16 GB of floats": header("(32768, 32768, 4)", "<f4"),
    "nothing, often": header("(1000000000000, 0)"),
    "a long product": header("(" + "9" * 40 + "," + "9" * 40 + ")"),
    "a very long product": header("(" + ("9" * 300 + ",") * 30 + ")"),
    "many axes": header("(" + "1," * 60 + ")"),
    "less than nothing": header("(-4, -4)"),
    "a deep shape": header("(" * 5000 + ")" * 5000),
    "a header of 4 GB": b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFFF),
    "objects": header("(4, 4)", "|O") + bytes(200),
    "complex numbers": header("(4, 4)", "<c16") + bytes(256),
    "dates": header("(4, 4)", "<M8[s]") + bytes(128),
    "texts": header("(4, 4)", "<U1000000000"),
    "no width": header("(4, 4)", "|V0"),
    "another version": b"\x93NUMPY\x09\x07" + bytes(64),
}


def write_arrays(folder: Path) -> None:
    for name, content in ARRAYS.items():
        (folder / f"{name}.npy").write_bytes(content)
    np.save(folder / "fields.npy", np.zeros((4, 4), [("a", "<f4"), ("b", "<i2")]))
    with (folder / "sparse.npy").open("wb") as file:
        file.write(header("(65536, 65536, 4)"))
        file.truncate(1 << 34)
    with (folder / "sparse header.npy").open("wb") as file:
        file.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFF0))
        file.truncate(1 << 33)
