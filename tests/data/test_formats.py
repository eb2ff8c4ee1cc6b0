"""What becomes of each kind of picture: each row of the table in docs/data.md is shown true by a case of its name."""

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import profiles
import pytest
from numpy.typing import ArrayLike
from picture_files import array, chunk, encoded, enormous_png, picture, png, tiff
from PIL import Image

from carrara.data import Unreadable
from carrara.data.files import decode, decode_image, read_header
from carrara.data.formats import advice, endings, is_noise
from carrara.files import pictures
from carrara.files.pictures import FORMATS

Case = Callable[[Path], None]
CASES: dict[str, Case] = {}
"""By the first column of the table."""
QUARTERS = np.repeat(
    np.repeat(np.uint8([[[200, 30, 40], [20, 160, 60]], [[50, 70, 220], [240, 240, 10]]]), 16, 0), 16, 1
)
"""(32, 32, 3), in the places where formats that lose something lose little."""


def case(row: str) -> Callable[[Case], Case]:
    """Names the row of the table that a case shows true."""

    def kept(function: Case) -> Case:
        assert row not in CASES
        CASES[row] = function
        return function

    return kept


def becomes(path: Path, content: bytes, expected: ArrayLike, within: float = 0) -> None:
    """A file of this content is decoded as what is expected, and its header has promised the shape."""
    path.write_bytes(content)
    wanted, header, found = np.asarray(expected), read_header(path), decode(path)
    wanted = wanted if wanted.ndim == 3 else wanted[..., None]
    assert header.problem is None, header.problem
    assert found.shape == wanted.shape == (*(header.size or ()), header.channels)
    assert found.dtype == (wanted.dtype if within == 0 else np.uint8)
    assert np.abs(found.astype(float) - wanted).max() <= within, (found.reshape(-1, found.shape[-1])[:4], wanted)


def refused(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=reason):
        raise read_header(path).problem or decode(path)  # type: ignore[misc]


def solid(mode: str, colour: Any, size: int = 8) -> Image.Image:
    return Image.new(mode, (size, size), colour)


def filled(colour: ArrayLike, size: int = 8) -> np.ndarray[Any, Any]:
    return np.broadcast_to(np.asarray(colour), (size, size, np.size(colour)))


@case("colour or grey of 8 bits")
def _(folder: Path) -> None:
    grey, lossless = array(12, 16, 1)[..., 0], {"WEBP": {"lossless": True}}
    for form in ("PNG", "BMP", "TIFF", "PPM", "WEBP"):
        name = f"a.{form.lower()}"
        becomes(folder / name, encoded(picture(), form, **lossless.get(form, {})), array())
        if form != "WEBP":  # it has no grey
            becomes(folder / name, encoded(Image.fromarray(grey), form), grey)
    becomes(folder / "a.gif", encoded(Image.fromarray(grey), "GIF"), np.stack([grey] * 3, -1))  # always a palette
    becomes(folder / "a.jfif", encoded(Image.fromarray(QUARTERS), "JPEG", quality=100, subsampling=0), QUARTERS, 2)
    becomes(
        folder / "a.avif", encoded(Image.fromarray(QUARTERS), "AVIF", quality=100, subsampling="4:4:4"), QUARTERS, 2
    )


@case("grey of 1, 2 or 4 bits")
def _(folder: Path) -> None:
    def packed(bits: int, row: int) -> bytes:
        content = bytearray(png(np.full((1, 1, 1), row, np.uint8), 0))
        head = struct.pack(">IIBBBBB", 8 // bits, 1, bits, 0, 0, 0, 0)
        return bytes(content[:8] + chunk(b"IHDR", head) + content[33:])

    becomes(folder / "a.png", packed(1, 0b01001101), np.uint8([[0, 255, 0, 0, 255, 255, 0, 255]]))
    becomes(folder / "a.png", packed(2, 0b00011011), np.uint8([[0, 85, 170, 255]]))
    becomes(folder / "a.png", packed(4, 0x1F), np.uint8([[17, 255]]))
    becomes(folder / "a.pbm", b"P1 2 1\n1 0\n", np.uint8([[0, 255]]))
    becomes(folder / "a.tif", encoded(solid("1", 1), "TIFF", compression="group4"), filled(np.uint8([255])))


def indexed() -> Image.Image:
    """Two by one, of a palette of two colours."""
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    return image


@case("palette")
def _(folder: Path) -> None:
    for form in ("PNG", "GIF", "TIFF", "BMP"):
        becomes(folder / f"a.{form.lower()}", encoded(indexed(), form), np.uint8([[[10, 20, 30], [200, 100, 50]]]))


@case("palette with transparency")
def _(folder: Path) -> None:
    half = np.uint8([[[10, 20, 30, 128], [200, 100, 50, 255]]])
    becomes(folder / "a.png", encoded(indexed(), "PNG", transparency=bytes([128, 255])), half)
    one = encoded(indexed(), "PNG", transparency=1)
    becomes(folder / "a.png", one, np.uint8([[[10, 20, 30, 255], [200, 100, 50, 0]]]))
    content = encoded(indexed(), "GIF", transparency=1)
    becomes(folder / "a.gif", content, np.uint8([[[10, 20, 30, 255], [200, 100, 50, 0]]]))


@case("one colour that is transparent (PNG of 8 bits)")
def _(folder: Path) -> None:
    grey, colour = np.uint8([[[7], [8]]]), np.uint8([[[7, 8, 9], [7, 8, 10]]])
    clear = np.uint8([[[7, 7, 7, 0], [8, 8, 8, 255]]])
    becomes(folder / "a.png", png(grey, 0, chunk(b"tRNS", struct.pack(">H", 7))), clear)
    clear = np.uint8([[[7, 8, 9, 0], [7, 8, 10, 255]]])
    becomes(folder / "a.png", png(colour, 2, chunk(b"tRNS", struct.pack(">3H", 7, 8, 9))), clear)


@case("grey with transparency")
def _(folder: Path) -> None:
    becomes(folder / "a.png", png(np.uint8([[[70, 128]]]), 4), np.uint8([[[70, 70, 70, 128]]]))
    becomes(folder / "a.tif", tiff(np.uint8([[[70, 128]]]), 1, {338: 2}), np.uint8([[[70, 70, 70, 128]]]))


@case("colour with transparency")
def _(folder: Path) -> None:
    values = np.uint8([[[1, 2, 3, 0], [40, 50, 60, 128]]])
    becomes(folder / "a.png", png(values, 6), values)
    becomes(folder / "a.webp", encoded(Image.fromarray(values), "WEBP", lossless=True, exact=True), values)
    becomes(folder / "a.tif", tiff(values, 2, {338: 2}), values)


@case("colour that is multiplied with its transparency (TIFF)")
def _(folder: Path) -> None:
    divided = np.uint8([[[127, 63, 31, 128]]])  # 64 * 255 / 128, and so on
    becomes(folder / "a.tif", tiff(np.uint8([[[64, 32, 16, 128]]]), 2, {338: 1}), divided)
    becomes(folder / "a.tif", tiff(np.uint8([[[64, 128]]]), 1, {338: 1}), np.uint8([[[127, 127, 127, 128]]]))


@case("grey of 16 bits (PNG, PGM, TIFF)")
def _(folder: Path) -> None:
    values = np.uint16([[[0], [300], [0x8081], [65535]]])
    becomes(folder / "a.png", png(values, 0), values)
    becomes(folder / "a.png", png(values, 0, chunk(b"tRNS", struct.pack(">H", 300))), values)
    becomes(folder / "a.pgm", b"P5 4 1 65535\n" + values.astype(">u2").tobytes(), values)
    becomes(folder / "a.tif", tiff(values, 1), values)
    becomes(folder / "a.tif", tiff(values.astype(">u2"), 1), values)
    becomes(folder / "a.tif", tiff(values, 0), 65535 - values)


@case("colour of 16 bits (PNG, PPM, TIFF)")
def _(folder: Path) -> None:
    values, upper = np.uint16([[[0x1234, 0x80FF, 0xFFFF]]]), np.uint8([[[0x12, 0x80, 0xFF]]])
    becomes(folder / "a.png", png(values, 2), upper)
    becomes(folder / "a.ppm", b"P6 1 1 65535\n" + values.astype(">u2").tobytes(), upper)
    becomes(folder / "a.tif", tiff(values, 2), upper)
    clear = chunk(b"tRNS", struct.pack(">3H", 0x1234, 0x80FF, 0xFFFF))
    becomes(folder / "a.png", png(values, 2, clear), np.uint8([[[0x12, 0x80, 0xFF, 255]]]))
    becomes(folder / "a.png", png(np.uint16([[[0x1234, 0x80FF]]]), 4), np.uint8([[[0x12, 0x12, 0x12, 0x80]]]))


@case("whole numbers of 32 bits (TIFF)")
def _(folder: Path) -> None:
    becomes(folder / "a.tif", tiff(np.uint32([[[0], [65535]]]), 1), np.uint16([[0, 65535]]))
    refused(folder / "a.tif", tiff(np.int32([[[-1], [70000]]]), 1), r"from -1 to 70000: .* 0\.\.65535, so scale them")


@case("floating-point grey (TIFF)")
def _(folder: Path) -> None:
    becomes(folder / "a.tif", tiff(np.float32([[[0], [0.3], [1]]]), 1), np.float32([[0, 0.3, 1]]))
    refused(folder / "a.tif", tiff(np.float32([[[0], [255]]]), 1), r"from 0 to 255: .* lie in \[0, 1\], so scale them")
    refused(folder / "a.tif", tiff(np.float32([[[0], [np.nan]]]), 1), r"lie in \[0, 1\]")


@case("floating-point colour (TIFF)")
def _(folder: Path) -> None:
    refused(folder / "a.tif", tiff(np.float32([[[0, 0.5, 1]]]), 2), "not a .tif file inside")


def printed(ink: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(255 - ink) (255 - black) / 255 of (..., 4)."""
    light = 255 - ink.astype(float)
    return (light[..., :3] * light[..., 3:] / 255).round()


@case("CMYK without a profile (JPEG, TIFF)")
def _(folder: Path) -> None:
    ink = np.uint8([10, 200, 30, 40])
    becomes(folder / "a.tif", tiff(ink[None, None], 5), printed(ink[None, None]).astype(np.uint8))
    content = encoded(solid("CMYK", tuple(ink.tolist())), "JPEG", quality=100)
    assert b"Adobe" in content  # so the file has 255 - ink
    becomes(folder / "a.jpg", content, printed(filled(ink)).astype(np.uint8))


@case("YCCK (JPEG)")
def _(folder: Path) -> None:
    y, cb, cr, k = 120, 100, 160, 200
    content = encoded(solid("CMYK", (255 - y, 255 - cb, 255 - cr, 255 - k)), "JPEG", quality=100)
    place = content.index(b"Adobe") + 11
    assert content[place] == 0
    paper = [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)]
    becomes(folder / "a.jpg", content[:place] + b"\2" + content[place + 1 :], printed(filled([*paper, 255 - k])), 1)


@case("CMYK with a profile")
def _(folder: Path) -> None:
    lab = np.random.default_rng(0).integers((100, 118, 118), (180, 138, 138), (2, 2, 2, 2, 3)).astype(np.uint8)
    lab[0, 0, 0, 0], lab[..., 1, :] = (255, 128, 128), (0, 128, 128)
    inks = profiles.of_inks(lab)
    for ink in ((0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 255, 0), (0, 0, 255, 255)):
        seen = lab[tuple(int(part > 0) for part in ink)].astype(float)
        expected = profiles.of_lab((seen[0] * 100 / 255, seen[1] - 128, seen[2] - 128))
        content = encoded(solid("CMYK", ink), "JPEG", quality=100, icc_profile=inks)
        becomes(folder / "a.jpg", content, filled(expected), 2)
    becomes(folder / "a.tif", encoded(solid("CMYK", ink), "TIFF", icc_profile=inks), filled([0.0, 0, 0]), 2)


INSIDE = np.uint8([[[200, 60, 50], [90, 120, 60], [40, 90, 200], [128, 128, 128], [255, 255, 255], [0, 0, 0]]])
"""Colours of Display P3 and Adobe RGB that sRGB has, too."""
P3 = profiles.of_colours(profiles.P3, profiles.srgb_curve())
ADOBE = profiles.of_colours(profiles.ADOBE, profiles.gamma(563 / 256))


def from_p3(colours: ArrayLike) -> np.ndarray[Any, Any]:
    return profiles.encoded_light(profiles.linear(colours) @ np.transpose(profiles.P3_TO_SRGB))  # type: ignore[arg-type]


@case("profile of colours, such as Display P3 and Adobe RGB")
def _(folder: Path) -> None:
    image = Image.fromarray(INSIDE)
    for form in ("PNG", "TIFF"):
        becomes(folder / f"a.{form.lower()}", encoded(image, form, icc_profile=P3), from_p3(INSIDE), 1)
    mild = 128 + (INSIDE.astype(int) - 128) // 3
    light = (mild / 255) ** (563 / 256) @ np.transpose(profiles.ADOBE_TO_SRGB)
    content = encoded(Image.fromarray(mild.astype(np.uint8)), "PNG", icc_profile=ADOBE)
    becomes(folder / "a.png", content, profiles.encoded_light(light), 1)
    lossy = encoded(solid("RGB", (200, 60, 50)), "JPEG", quality=100, icc_profile=P3)
    becomes(folder / "a.jpg", lossy, filled(from_p3([200, 60, 50])), 2)
    clear = np.concatenate([INSIDE, np.full_like(INSIDE[..., :1], 77)], -1)
    opaque = np.full((1, 6, 1), 77)
    content = encoded(Image.fromarray(clear), "PNG", icc_profile=P3)
    becomes(folder / "a.png", content, np.concatenate([from_p3(INSIDE), opaque], -1), 1)
    assert decode(folder / "a.png")[0, 0, 3] == 77
    becomes(folder / "a.png", encoded(image.quantize(6), "PNG", icc_profile=P3), from_p3(INSIDE), 1)
    assert np.array_equal(decode_image(Image.open(folder / "a.png")), decode(folder / "a.png"))


@case("profile of sRGB")
def _(folder: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    srgb = profiles.of_colours(profiles.SRGB, profiles.srgb_curve())
    becomes(folder / "a.png", encoded(Image.fromarray(colours), "PNG", icc_profile=srgb), colours)
    grey = Image.fromarray(colours[..., 0])
    content = encoded(grey, "PNG", icc_profile=profiles.of_grey(profiles.srgb_curve()))
    becomes(folder / "a.png", content, colours[..., 0])


@case("profile of grey, such as gamma 2.2 or dot gain")
def _(folder: Path) -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    for exponent in (1.0, 1.8, 2.2):
        expected = profiles.encoded_light((levels / 255) ** exponent)
        content = encoded(Image.fromarray(levels), "PNG", icc_profile=profiles.of_grey(profiles.gamma(exponent)))
        becomes(folder / "a.png", content, expected, 1)
    both = Image.merge("LA", [Image.fromarray(levels), Image.fromarray(levels[:, ::-1].copy())])
    expected = np.stack([expected, expected, expected, levels[:, ::-1]], -1)
    becomes(folder / "a.png", encoded(both, "PNG", icc_profile=profiles.of_grey(profiles.gamma(2.2))), expected, 1)
    assert np.array_equal(decode(folder / "a.png")[..., 3], levels[:, ::-1])


@case("profile that is broken, above 4 MiB, or of another kind than its picture")
def _(folder: Path) -> None:
    large = P3.ljust(5 << 20, b"\0")
    endless = profiles.profile(b"RGB ", {b"A2B0": b"mpet" + bytes(40)})
    for broken in (b"", b"none", P3[:100], P3[:200], P3[:128] + b"\xff" * 400, large, endless):
        becomes(folder / "a.jpg", encoded(solid("RGB", (200, 60, 50)), "TIFF", icc_profile=broken), filled(RED))
    refused(folder / "a.png", encoded(solid("L", 9), "PNG", icc_profile=large), "damaged: Decompressed data too large")
    for other in (profiles.of_grey(profiles.gamma(1.0)), profiles.of_inks(np.zeros((2, 2, 2, 2, 3), np.uint8))):
        becomes(folder / "a.tif", encoded(solid("RGB", (200, 60, 50)), "TIFF", icc_profile=other), filled(RED))
    becomes(folder / "a.png", encoded(solid("L", 99), "PNG", icc_profile=P3), filled(np.uint8([99])))
    becomes(
        folder / "a.tif",
        encoded(solid("CMYK", (255, 0, 0, 0)), "TIFF", icc_profile=P3),
        filled(np.uint8([0, 255, 255])),
    )


RED = np.uint8([200, 60, 50])


@case("colours that are described without a profile (PNG's gAMA, EXIF's Adobe RGB)")
def _(folder: Path) -> None:
    becomes(folder / "a.png", png(INSIDE, 2, chunk(b"gAMA", struct.pack(">I", 100000))), INSIDE)
    exif = Image.Exif()
    exif[0x8769], exif[0xA005] = {0xA001: 2}, {1: "R03"}
    becomes(folder / "a.png", encoded(Image.fromarray(INSIDE), "PNG", exif=exif), INSIDE)


@case("YCbCr (TIFF)")
def _(folder: Path) -> None:
    y, cb, cr = 150, 110, 140
    expected = [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)]
    becomes(folder / "a.tif", tiff(np.uint8([[[y, cb, cr]]]), 6), np.array([[expected]]), 1)


@case(r"CIE L\*a\*b\* (TIFF)")
def _(folder: Path) -> None:
    for lightness, a, b in ((128, 10, -10), (200, -20, 30), (255, 0, 0), (0, 0, 0)):
        expected = profiles.of_lab((lightness * 100 / 255, a, b))
        becomes(folder / "a.tif", tiff(np.uint8([[[lightness, a % 256, b % 256]]]), 8), expected[None, None], 2)


TURNED: dict[int, Callable[[Any], Any]] = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}
"""EXIF 2.32, section 4.6.4: where the first row and the first column are seen."""


def turning(number: int) -> Image.Exif:
    """A new one each time: writers take out of it what they say in another way."""
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@case("orientation in EXIF or XMP, 1 to 8")
def _(folder: Path) -> None:
    high = np.concatenate([QUARTERS, QUARTERS[:16]])
    for number, turned in TURNED.items():
        for form, options in {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}.items():
            becomes(
                folder / f"a.{form.lower()}", encoded(picture(), form, exif=turning(number), **options), turned(array())
            )
        for form, options in {"JPEG": {"subsampling": 0}, "AVIF": {"subsampling": "4:4:4"}}.items():
            content = encoded(Image.fromarray(high), form, exif=turning(number), quality=100, **options)
            becomes(folder / f"a.{form.lower()}", content, turned(high), 3)
        packed = encoded(picture(), "TIFF", exif=turning(number), compression="tiff_lzw")
        becomes(folder / "a.tif", packed, turned(array()))
        xmp = f'<x tiff:Orientation="{number}"/>'.encode()
        text = chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp)
        becomes(folder / "a.png", png(array(), 2, text), turned(array()))
        assert np.array_equal(decode_image(Image.open(folder / "a.png")), turned(array()))
    becomes(folder / "a.png", encoded(indexed(), "PNG", exif=turning(8)), np.uint8([[[200, 100, 50]], [[10, 20, 30]]]))


@case("animation (GIF, APNG, WebP, AVIF)")
def _(folder: Path) -> None:
    frames = [solid("RGB", colour, 16) for colour in ((200, 60, 50), (0, 0, 255), (0, 255, 0))]
    many: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": 40}
    for form, ending, options, within in (
        ("GIF", "gif", {}, 0),
        ("PNG", "apng", {}, 0),
        ("WEBP", "webp", {"lossless": True}, 0),
        ("AVIF", "avif", {"quality": 100, "subsampling": "4:4:4"}, 2),
    ):
        content = encoded(frames[0], form, **many, **options)
        assert len(content) > len(encoded(frames[0], form, **options))
        becomes(folder / f"a.{ending}", content, filled(RED, 16), within)


@case("several pages (TIFF), several pictures (MPO)")
def _(folder: Path) -> None:
    many = {"save_all": True, "append_images": [solid("L", 3, 20), solid("RGB", (0, 0, 255))]}
    becomes(folder / "a.tif", encoded(solid("RGB", (200, 60, 50)), "TIFF", **many), filled(RED))
    content = encoded(solid("RGB", (200, 60, 50)), "MPO", quality=100, **many)
    assert content.count(b"MPF\0") == 1
    becomes(folder / "a.jpg", content, filled(RED), 1)


@case("HEIC, with `carrara[heic]`")
def _(folder: Path) -> None:
    assert ".heic" in endings() and "HEIF" in pictures.known_formats()
    options = {"quality": -1, "chroma": 444}
    high = np.concatenate([QUARTERS, QUARTERS[:16]])
    becomes(folder / "a.heic", encoded(Image.fromarray(high), "HEIF", **options), high, 1)
    becomes(
        folder / "a.HIF",
        encoded(Image.fromarray(high), "HEIF", exif=turning(6).tobytes(), **options),
        np.rot90(high, -1),
        1,
    )
    content = encoded(solid("RGB", (200, 60, 50), 64), "HEIF", icc_profile=P3, **options)
    becomes(folder / "a.heif", content, filled(from_p3([200, 60, 50]), 64), 2)
    content = encoded(solid("RGBA", (200, 60, 50, 99), 64), "HEIF", **options)
    becomes(folder / "a.heic", content, filled([200.0, 60, 50, 99], 64), 1)
    content = encoded(picture(16, 16), "HEIF", **options)
    place = content.index(b"clap") + 4  # how much of what is coded is shown: more than there is
    other = content[:place] + struct.pack(">I", 480) + content[place + 4 :]
    refused(folder / "a.heic", other, "damaged: its size is not the one that it declares")


@case("JPEG XL, with `carrara[jxl]`")
def _(folder: Path) -> None:
    assert ".jxl" in endings() and "JXL" in pictures.known_formats()
    for container in (False, True):
        becomes(folder / "a.jxl", encoded(picture(), "JXL", lossless=True, use_container=container), array())
    deep = (np.arange(48, dtype=np.uint16) * 1365).reshape(6, 8)
    becomes(folder / "a.jxl", encoded(Image.fromarray(deep), "JXL", lossless=True), deep)
    clear = np.concatenate([array(), array(12, 16, 1)], -1)
    becomes(folder / "a.jxl", encoded(Image.fromarray(clear), "JXL", lossless=True), clear)
    # The orientation that counts is the codestream's, which is done already; that of a JPEG inside is not.
    content = encoded(picture(), "JXL", lossless=True, exif=turning(6).tobytes())
    becomes(folder / "a.jxl", content, array())
    options = {"quality": 100, "subsampling": 0, "exif": turning(6), "icc_profile": P3}
    (folder / "a.jpg").write_bytes(encoded(solid("RGB", (200, 60, 50)).resize((16, 8)), "JPEG", **options))
    with Image.open(folder / "a.jpg") as image:
        content = encoded(image, "JXL", lossless_jpeg=True)
    becomes(folder / "a.jxl", content, np.broadcast_to(from_p3([200, 60, 50]), (16, 8, 3)), 2)


@case("array (`.npy`) of (H, W) or (H, W, C)")
def _(folder: Path) -> None:
    for values in (array(), array(3, 4, 7), array(3, 4, 1).astype(np.uint16) * 257, np.float32(array()) / 255):
        np.save(folder / "b.npy", values)
        becomes(folder / "a.npy", (folder / "b.npy").read_bytes(), values)
    np.save(folder / "b.npy", array(3, 4, 1)[..., 0] / 255)
    becomes(folder / "a.npy", (folder / "b.npy").read_bytes(), np.float32(array(3, 4, 1)[..., 0] / 255))


@case("ending of another format")
def _(folder: Path) -> None:
    becomes(folder / "a.jpg", encoded(picture(), "WEBP", lossless=True), array())
    becomes(folder / "a.jif", encoded(picture(), "PNG"), array())
    pictures.known_formats()
    becomes(folder / "a.png", encoded(Image.fromarray(QUARTERS), "HEIF", quality=-1, chroma=444), QUARTERS, 1)


@case("HEIC or JPEG XL without its package, whatever the ending")
def _(folder: Path) -> None:
    contents = {form: encoded(Image.fromarray(QUARTERS), form) for form in ("HEIF", "JXL")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "known_formats", lambda: frozenset(FORMATS) - {"HEIF", "JXL"})
        refused(folder / "a.png", contents["HEIF"], r"^it is HEIC inside: pip install 'carrara\[heic\]'$")
        refused(folder / "a.jpg", contents["JXL"], r"^it is JPEG XL inside: pip install 'carrara\[jxl\]'$")
        patch.setattr(pictures, "find_spec", lambda name: None)
        assert {".heic", ".heif", ".hif", ".jxl"}.isdisjoint(endings())
        assert advice(".HEIC") == "pictures that need pip install 'carrara[heic]'"
        assert advice(".jxl") == "pictures that need pip install 'carrara[jxl]'"
    refused(folder / "a.png", contents["HEIF"][:100], "damaged: no whole HEIC file")


@case("another program's format under a picture's ending")
def _(folder: Path) -> None:
    refused(folder / "a.jpg", b"8BPS\0\1", "it is Photoshop's format inside: export it as PNG or JPEG")
    refused(
        folder / "a.png", b"\n<!DOCTYPE html><title>404</title>", "it is a web page inside: download the picture again"
    )
    refused(folder / "a.png", b"none of all that", "not a .png file inside")
    for form in sorted(Image.SAVE.keys() - {*FORMATS, "MPO"}):
        try:
            content = encoded(solid("RGB", (200, 60, 50), 32), form)
        except (OSError, ValueError, KeyError, DeprecationWarning):
            continue
        refused(folder / "a.png", content, " inside")


@case("more than 64 million pixels")
def _(folder: Path) -> None:
    refused(folder / "a.png", enormous_png(8001), "it has 8001x8001 pixels, more than 64 million")


@pytest.mark.parametrize("row", CASES)
def test_what_becomes_of(row: str, tmp_path: Path) -> None:
    CASES[row](tmp_path)


def test_the_table_has_these_rows() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    section = text.partition("## What becomes of each kind of picture\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (?!What it is)(.+?) \|", section, re.MULTILINE) == list(CASES)
    assert all(re.search(rf"`\{ending}`", section) for ending in endings())


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (".CR3", "raw pictures of a camera: export them as PNG or JPEG"),
        (".psd", "pictures with layers: export them as PNG or JPEG"),
        (".svg", "drawings: export them as PNG or JPEG"),
        (".mp4", "video: export its frames as PNG or JPEG"),
        (".flac", "sound, not pictures"),
        (".7z", "an archive: unpack it"),
        (".safetensors", "weights of a model, not pictures"),
        (".zip", ""),
        (".txt", ""),
        (".png", ""),
        ("README", ""),
    ],
)
def test_advice(ending: str, words: str) -> None:
    assert advice(ending) == words


def test_noise() -> None:
    assert all(map(is_noise, ("Thumbs.db", "desktop.ini", ".DS_Store", "._a.png", "__MACOSX", "Icon\r")))
    assert not any(map(is_noise, ("a.png", "thumbs.txt", "db", "Icons")))


def test_a_jpeg_xl_of_too_many_pixels_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader would decode it to say how large it is."""
    pictures.known_formats()
    content = encoded(solid("L", 7, 8), "JXL", lossless=True)
    assert content[:2] == b"\xff\x0a"
    # 1 << 30 rows, and as many columns: no small sizes, the longest form twice, and no ratio.
    stream = "0" + "11" + "1" * 30 + "000" + "11" + "1" * 30
    vast = b"\xff\x0a" + int(stream[::-1], 2).to_bytes(9, "little") + bytes(40)
    boxes = b"\0\0\0\x0cJXL \r\n\x87\n" + struct.pack(">I4sI", 14, b"jxlp", 0) + vast[:2]
    boxes += struct.pack(">I4sI", 0, b"jxlp", 0x80000001) + vast[2:]
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("it was decoded"))
    for name, content in {"a.jxl": vast, "b.png": boxes}.items():
        refused(tmp_path / name, content, "1073741824x1073741824 pixels")
