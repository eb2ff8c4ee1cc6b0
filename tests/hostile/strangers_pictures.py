"""Pictures of strangers: bombs, absurd headers, files of two kinds, and programs for other programs."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from strangers import Command, Place, fifo, harmless, hole, link, picture, refused, stranger

from tiny import TINY


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, content: bytes, *others: bytes) -> bytes:
    """A PNG of 8 bits and three colours that says what one likes."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(others) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def deflated(size: int) -> bytes:
    """Zeros, packed a thousand to one."""
    packer, packed, left = zlib.compressobj(9), bytearray(), size
    while left > 0:
        packed += packer.compress(bytes(min(left, 1 << 24)))
        left -= 1 << 24
    return bytes(packed + packer.flush())


def among(place: Place, name: str, content: bytes) -> Path:
    """A file in a folder of good pictures."""
    path = place.copy("photos") / "red" / name
    path.write_bytes(content)
    return path


def seen(path: Path) -> Iterator[Command]:
    """A folder with such a file is looked at, and the file is left out; alone it is refused."""
    name = path.relative_to(path.parents[2])
    yield harmless("inspect", "data", "photos")
    yield refused("inspect", name)
    yield refused("replay", name)
    yield refused("inspect", "schedule", "cosine", "--image", name, "--out", "noised")


@stranger("a PNG of 50,000 x 50,000")
def _(place: Place) -> Iterator[Command]:
    yield from seen(among(place, "x.png", png(50_000, 50_000, deflated(1 << 28))))


@stranger("a PNG of 2^31 x 2^31")
def _(place: Place) -> Iterator[Command]:
    yield from seen(among(place, "x.png", png(2**31 - 1, 2**31 - 1, deflated(1 << 20))))


@stranger("a PNG whose pixels unpack to a gigabyte")
def _(place: Place) -> Iterator[Command]:
    path = among(place, "x.png", png(20, 20, deflated(1 << 30)))
    yield harmless("inspect", "data", "photos")
    yield refused("inspect", path)


@stranger("a PNG whose texts unpack to a gigabyte")
def _(place: Place) -> Iterator[Command]:
    packed = deflated(1 << 30)
    texts = [chunk(b"iTXt", b"carrara\0\1\0\0\0" + packed), chunk(b"zTXt", b"carrara\0\0" + packed)]
    profile = chunk(b"iCCP", b"x\0\0" + packed)
    yield from seen(among(place, "x.png", png(20, 20, deflated(1220), *texts, profile)))


@stranger("a PNG with 100,000 texts")
def _(place: Place) -> Iterator[Command]:
    texts = [chunk(b"tEXt", b"k%d\0" % k + b"x" * 1000) for k in range(100_000)]
    among(place, "x.png", png(20, 20, zlib.compress(bytes(20 * 61)), *texts))
    yield harmless("inspect", "data", "photos")


@stranger("a GIF of 65,535 x 65,535")
def _(place: Place) -> Iterator[Command]:
    file = io.BytesIO()
    Image.new("P", (4, 4)).save(file, "GIF")
    content = bytearray(file.getvalue())
    content[6:10] = b"\xff\xff\xff\xff"
    yield from seen(among(place, "x.gif", bytes(content)))


@stranger("a GIF of 100,000 pictures")
def _(place: Place) -> Iterator[Command]:
    file = io.BytesIO()
    Image.new("P", (20, 20)).save(file, "GIF")
    content = file.getvalue()
    begins = content.index(b",", 13)
    among(place, "x.gif", content[:begins] + content[begins:-1] * 100_000 + b";")
    yield harmless("inspect", "data", "photos")


@stranger("a WebP of 16,384 x 16,384")
def _(place: Place) -> Iterator[Command]:
    head = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16_383).to_bytes(3, "little") * 2
    body = b"WEBP" + head + b"VP8L" + struct.pack("<I", 8) + b"\x2f\xff\xff\xff\x0f\0\0\0"
    yield from seen(among(place, "x.webp", b"RIFF" + struct.pack("<I", len(body)) + body))


def tiff(*entries: tuple[int, int, int, int]) -> bytes:
    """A TIFF with these (tag, type, count, value)."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4) + bytes(100)


@stranger("a TIFF of 10^6 x 10^6")
def _(place: Place) -> Iterator[Command]:
    sizes = (256, 4, 1, 10**6), (257, 4, 1, 10**6), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)
    yield from seen(among(place, "x.tif", tiff(*sizes, (273, 4, 1, 8), (277, 3, 1, 1), (279, 4, 1, 10))))


@stranger("a TIFF whose tags have 4 billion values, and whose folder leads to itself")
def _(place: Place) -> Iterator[Command]:
    sizes = (256, 4, 1, 20), (257, 4, 1, 20), (258, 3, 2**32 - 1, 8), (259, 3, 1, 5), (262, 3, 1, 1)
    content = bytearray(tiff(*sizes, (273, 4, 2**30, 8), (277, 3, 1, 60_000)))
    content[10 + 7 * 12 : 14 + 7 * 12] = struct.pack("<I", 8)
    yield from seen(among(place, "x.tif", bytes(content)))


@stranger("PostScript that is called a picture")
def _(place: Place) -> Iterator[Command]:
    program = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n({place.marker}) (w) file closefile\nshowpage\n"
    yield from seen(among(place, "x.png", program.encode()))


@stranger("SVG that is called a picture")
def _(place: Place) -> Iterator[Command]:
    text = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{place.outside}/secret.png"/></svg>'
    yield from seen(among(place, "x.png", text.encode()))


@stranger("a playlist, a PDF and an icon that are called pictures")
def _(place: Place) -> Iterator[Command]:
    path = among(place, "x.jpg", b"#EXTM3U\nhttp://example.invalid/x\n")
    (path.parent / "y.png").write_bytes(b"%PDF-1.4\n%%EOF")
    (path.parent / "z.png").write_bytes(b"\0\0\1\0\1\0\0\0\0\0\1\0\x20\0" + struct.pack("<II", 2**31, 22))
    yield from seen(path)


@stranger("a picture that is an archive with a program, too")
def _(place: Place) -> Iterator[Command]:
    import zipfile

    path = picture(place.copy("photos") / "red" / "x.png")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__main__.py", place.payload)
        archive.writestr("setup.py", place.payload)
    yield harmless("inspect", "data", "photos")
    yield refused("inspect", path)


@stranger("an array of pickled objects that is called a picture")
def _(place: Place) -> Iterator[Command]:
    from strangers_runs import Payload

    path = place.copy("photos") / "red" / "x.npy"
    np.save(path, np.array([Payload(place.payload)], object), allow_pickle=True)
    yield harmless("inspect", "data", "photos")


@stranger("an array that declares 16 GB, in a file that says so, too")
def _(place: Place) -> Iterator[Command]:
    path = place.copy("photos") / "red" / "x.npy"
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (70000, 70000, 3), }".ljust(117) + b"\n"
    hole(path, 16 << 30, b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header)
    yield harmless("inspect", "data", "photos")
    yield refused("inspect", "schedule", "cosine", "--image", path, "--out", "noised")


@stranger("an array whose header is a program")
def _(place: Place) -> Iterator[Command]:
    path, run = place.copy("photos") / "red" / "x.npy", f"__import__('os').system('touch {place.marker}')"
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({run},), }}".encode().ljust(200) + b"\n"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header)
    (path.parent / "y.npy").write_bytes(b"\x93NUMPY\1\0\xff\xff" + b"(" * 65535)
    yield harmless("inspect", "data", "photos")


@stranger("pictures that are pipes, devices and sockets")
def _(place: Place) -> Iterator[Command]:
    path = fifo(place.copy("photos") / "red" / "x.png")
    link(path.with_name("y.png"), "/dev/zero")
    link(path.with_name("z.jpg"), "/dev/stdin")
    link(path.with_name("w.npy"), "/proc/self/mem")
    yield from seen(path)
    yield harmless("train", "photos", "--preset", "pixel", "--dry-run", *TINY)


@stranger("a picture with a name of markup, escapes and a new line")
def _(place: Place) -> Iterator[Command]:
    folder = place.copy("photos") / "red"
    for name in ("[bold].png", "\x1b]0;owned\x07.png", "a\nb.png", "--run.png", "\udcff.png"):
        (folder / name).write_bytes(b"none")
    yield harmless("inspect", "data", "photos")
    yield harmless("train", "photos", "--preset", "pixel", "--dry-run", *TINY)
    yield refused("inspect", folder / "\x1b]0;owned\x07.png")


@stranger("a picture whose EXIF is absurd")
def _(place: Place) -> Iterator[Command]:
    path = place.copy("photos") / "red" / "x.jpg"
    exif = b"Exif\0\0" + tiff((274, 3, 2**32 - 1, 5), (34665, 4, 1, 8), (34853, 4, 1, 8))
    Image.new("RGB", (20, 20)).save(path, exif=exif)
    yield harmless("inspect", "data", "photos")
