from pathlib import Path

import numpy as np
import pytest
from picture_files import array, encoded, enormous_png, picture, truncated_jpeg
from PIL import Image

from carrara.data import Unreadable
from carrara.data.files import decode, read_header, scan
from carrara.data.folder import find
from carrara.files import PIXEL_LIMIT


def saved(path, image: Image.Image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "webp", "gif", "jpg"])
def test_pictures_of_every_format_come_back(tmp_path, ending: str) -> None:
    options = {"lossless": True} if ending == "webp" else {"quality": 100, "subsampling": 0} if ending == "jpg" else {}
    path = saved(tmp_path / f"a.{ending}", picture(), **options)
    difference = np.abs(decode(path).astype(int) - array())
    assert difference.mean() < {"gif": 12, "jpg": 2}.get(ending, 1e-9)
    assert read_header(path).size == (12, 16)


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("LA", 4), ("P", 3), ("RGB", 3), ("RGBA", 4)])
def test_modes_decode_to_the_channels_that_their_header_promises(tmp_path, mode: str, channels: int) -> None:
    path = saved(tmp_path / "a.png", picture().convert(mode))
    assert decode(path).shape == (12, 16, channels)
    assert read_header(path).channels == channels


def test_a_palette_with_transparency_keeps_it(tmp_path) -> None:
    image = picture().quantize(4)
    path = saved(tmp_path / "a.png", image, transparency=image.getpixel((0, 0)))
    assert decode(path)[0, 0, 3] == 0 and decode(path)[..., 3].max() == 255
    assert read_header(path).channels == 4


def test_cmyk_becomes_rgb(tmp_path) -> None:
    path = saved(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=95)
    assert np.abs(decode(path).astype(int) - (255, 0, 0)).max() < 10
    assert read_header(path).channels == 3


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_kept(tmp_path, ending: str) -> None:
    values = (np.arange(48, dtype=np.uint16) * 1365).reshape(6, 8)
    path = saved(tmp_path / f"a.{ending}", Image.fromarray(values))
    assert decode(path).dtype == np.uint16
    assert np.array_equal(decode(path)[..., 0], values)
    assert read_header(path).channels == 1


def test_exif_orientation_is_honoured(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.png", picture(), exif=exif)
    assert np.array_equal(decode(path), np.rot90(array(), -1))
    assert read_header(path).size == (16, 12)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64", ">u2"])
def test_arrays_of_any_channels(tmp_path, dtype: str) -> None:
    values = (np.linspace(0, 1, 7 * 4 * 5) * (1 if "f" in dtype else 250)).reshape(7, 4, 5).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(decode(tmp_path / "a.npy"), values.astype(np.float32) if "f" in dtype else values)
    header = read_header(tmp_path / "a.npy")
    assert (header.size, header.channels, header.problem) == ((7, 4), 5, None)
    np.save(tmp_path / "flat.npy", values[..., 0])
    assert decode(tmp_path / "flat.npy").shape == (7, 4, 1)


BROKEN = {
    "zero.png": (b"", "the file is empty"),
    "text.png": (b"hello", "not a .png file inside"),
    "zero.npy": (b"", "the file is empty"),
    "text.npy": (b"hello there, this is no array", "it is no .npy file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_headers_say_what_is_wrong(tmp_path, name: str) -> None:
    content, reason = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    assert reason in str(read_header(tmp_path / name).problem)
    with pytest.raises(Unreadable, match=reason):
        decode(tmp_path / name)


@pytest.mark.parametrize(
    ("values", "reason"),
    [(np.zeros((2, 2, 2, 2), np.uint8), "shape"), (np.zeros((2, 2), np.int64), "int64"), (np.zeros((0, 2)), "shape")],
)
def test_arrays_that_are_no_pictures(tmp_path, values, reason: str) -> None:
    np.save(tmp_path / "a.npy", values)
    assert reason in str(read_header(tmp_path / "a.npy").problem)


@pytest.mark.parametrize("value", [-0.5, 1.5, np.nan])
def test_floating_point_values_outside_of_the_range(tmp_path, value: float) -> None:
    np.save(tmp_path / "a.npy", np.full((2, 2), value))
    with pytest.raises(Unreadable, match=r"lie in \[0, 1\]"):
        decode(tmp_path / "a.npy")


def test_objects_in_arrays_are_never_unpickled(tmp_path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert read_header(tmp_path / "a.npy").problem


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_truncated_files_are_noticed_when_decoded(tmp_path, form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), form)
    path = tmp_path / f"a.{form.lower()}"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(Unreadable):
        decode(path)


def test_a_truncated_jpeg_is_called_truncated(tmp_path) -> None:
    (tmp_path / "a.jpg").write_bytes(truncated_jpeg())
    assert read_header(tmp_path / "a.jpg").problem is None
    with pytest.raises(Unreadable) as error:
        decode(tmp_path / "a.jpg")
    assert error.value.fault == "truncated"


def test_enormous_pictures_are_refused_by_their_header(tmp_path) -> None:
    for side in (8_100, 10_000, 14_000):
        (tmp_path / f"{side}.png").write_bytes(enormous_png(side))
    headers = scan(read_header, [tmp_path / name for name in find(tmp_path).pictures], "")
    assert [header.problem and header.problem.fault for header in headers] == ["oversized"] * 3
    assert PIXEL_LIMIT < 8_100**2


def test_content_is_equal_for_copies_alone(tmp_path) -> None:
    data = bytes(range(256)) * 200
    for name, content in {"a": data, "b": data, "c": data + b"x", "d": data[:-1] + b"x"}.items():
        (tmp_path / f"{name}.bmp").write_bytes(encoded(picture(), "BMP") + content)
    a, b, c, d = (read_header(tmp_path / f"{name}.bmp").content for name in "abcd")
    assert a == b and len({a, c, d}) == 3


def test_find_follows_links_once_and_passes_over_what_is_hidden(tmp_path) -> None:
    (tmp_path / "x" / ".hidden").mkdir(parents=True)
    for name in ("b.PNG", "x/ü 日本.png", "x/.hidden/c.png", ".d.png", "notes.txt", "README"):
        picture().save(tmp_path / name, "PNG")
    (tmp_path / "x" / "loop").symlink_to(tmp_path)
    (tmp_path / "a.png").symlink_to(tmp_path / "b.PNG")
    found = find(tmp_path)
    assert found.pictures == ["a.png", "b.PNG", "x/ü 日本.png"]
    assert found.texts == {"notes.txt": "notes.txt"}
    assert found.others == {"README": 1}


@pytest.mark.parametrize("count", [0, 1, 16, 17, 10_001])
def test_scanning_keeps_the_order_and_says_nothing_where_there_is_no_terminal(capsys, count: int) -> None:
    paths = [Path(str(k)) for k in range(count)]
    assert list(scan(lambda path: path, paths, "Reading", threads=2)) == paths
    assert capsys.readouterr().out == ""
