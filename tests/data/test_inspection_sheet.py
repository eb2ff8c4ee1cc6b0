"""Contact sheets: which pictures are on them, where, and in which colours."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from made_pictures import photo
from picture_files import truncated_jpeg
from PIL import Image

from carrara.data.inspection import contact_rows, sheet_picture, sheet_text

COLOURS = ((255, 0, 0), (0, 128, 0), (0, 0, 255))


def plain(folder: Path, **names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Pictures of one colour for each class."""
    for colour, (name, files) in zip(COLOURS, names.items(), strict=False):
        (folder / name).mkdir(exist_ok=True)
        for file in files:
            Image.new("RGB", (30, 30), colour).save(folder / name / file)
    return {name: tuple(f"{name}/{file}" for file in files) for name, files in names.items()}


def numbered(count: int) -> list[str]:
    return [f"{k:03}.png" for k in range(count)]


def shape(folder: Path, pictures: Mapping[str, Sequence[str]]) -> list[tuple[str, int]]:
    return [(row.label, len(row.tiles)) for row in contact_rows(folder, pictures)]


def test_rows_are_classes_with_their_names(tmp_path: Path) -> None:
    pictures = plain(tmp_path, cat=numbered(50), dog=numbered(20), owl=numbered(3))
    rows = contact_rows(tmp_path, pictures)
    assert [(row.label, len(row.tiles)) for row in rows] == [("cat", 12), ("", 12), ("dog", 12), ("", 8), ("owl", 3)]
    middle = [[tuple(tile[48, 48].tolist()) for tile in row.tiles] for row in rows]
    assert middle == [[COLOURS[k]] * count for k, count in ((0, 12), (0, 12), (1, 12), (1, 8), (2, 3))]


def test_without_classes_there_are_eight_rows_spread_over_all(tmp_path: Path) -> None:
    for k in range(200):
        Image.new("L", (9, 9), k).save(tmp_path / f"{k:03}.png")
    rows = contact_rows(tmp_path, {"": numbered(200)})
    assert [len(row.tiles) for row in rows] == [12] * 8 and not any(row.label for row in rows)
    greys = [int(tile[48, 48, 0]) for row in rows for tile in row.tiles]
    assert greys == [k * 200 // 96 for k in range(96)]


def test_many_classes_are_spread_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "b.png")
    Image.new("L", (9, 9)).save(tmp_path / "b.png")
    found = shape(tmp_path, {f"class {k:02}": ["b.png"] for k in range(64)})
    assert found == [(f"class {k:02}", 1) for k in range(0, 64, 4)]


def test_a_broken_picture_is_never_on_it(tmp_path: Path) -> None:
    plain(tmp_path, cat=["a.png", "b.png"])
    (tmp_path / "cat" / "t.jpg").write_bytes(truncated_jpeg())
    (tmp_path / "cat" / "zero.png").write_bytes(b"")
    names = [f"cat/{name}" for name in ("a.png", "t.jpg", "gone.png", "b.png", "zero.png")]
    assert shape(tmp_path, {"cat": names, "dog": ["cat/zero.png"]}) == [("cat", 2)]
    assert contact_rows(tmp_path, {"": ["cat/zero.png"]}) == ()


def test_pictures_keep_their_shape_and_small_ones_their_pixels(tmp_path: Path) -> None:
    Image.new("RGB", (200, 100), "blue").save(tmp_path / "wide.png")
    Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).save(tmp_path / "dots.png")
    ((wide, dots),) = (row.tiles for row in contact_rows(tmp_path, {"": ["wide.png", "dots.png"]}))
    assert (wide[24:72] == (0, 0, 255)).all() and (wide[:24] == 255).all() and (wide[72:] == 255).all()
    assert {tuple(pixel) for pixel in dots.reshape(-1, 3).tolist()} == {(0, 0, 0), (255, 255, 255)}


def test_transparency_is_a_light_checkerboard(tmp_path: Path) -> None:
    pixels = np.zeros((96, 96, 4), np.uint8)
    pixels[:, 48:] = (255, 255, 255, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (row,) = contact_rows(tmp_path, {"": ["a.png"]})
    assert set(row.tiles[0][:, :48].ravel().tolist()) == {228, 255}
    assert set(row.tiles[0][:, 48:].ravel().tolist()) == {255}


@pytest.mark.parametrize(
    "values",
    [
        np.full((20, 10), 65535, np.uint16),
        np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10),
        np.zeros((8, 8, 5), np.uint8),
        np.zeros((1, 3000, 4), np.uint8),
    ],
    ids=["16 bits", "floating point", "five channels", "a line"],
)
def test_any_picture_has_a_place(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", values)
    assert shape(tmp_path, {"": ["a.npy"]}) == [("", 1)]


def test_the_picture_has_all_rows_and_the_names_of_classes(tmp_path: Path) -> None:
    rows = contact_rows(tmp_path, plain(tmp_path, cat=numbered(5), dog=numbered(2)))
    image = np.asarray(sheet_picture(rows))
    assert image.shape[0] == 2 * 100 + 4 and image.shape[1] > 5 * 100 + 4
    left = image.shape[1] - 504
    assert (image[52, left + 52 :: 100] == COLOURS[0]).all() and (image[152, left + 52] == COLOURS[1]).all()
    assert (image[152, left + 252] == 255).all(), "no picture, no tile"
    assert (image[:104, :left] < 100).any() and (image[104:, :left] < 100).any(), "names"


@pytest.mark.parametrize(("width", "columns"), [(80, 5), (40, 2), (10, 1), (400, 12)])
def test_on_a_terminal_two_pixels_are_a_letter(tmp_path: Path, width: int, columns: int) -> None:
    rows = contact_rows(tmp_path, plain(tmp_path, cat=numbered(30), dog=numbered(30)))
    lines = sheet_text(rows, width)
    assert [line.plain for line in lines[::8]][:1] == ["  cat"[:width]]
    block = lines[1]
    assert block.plain == "  " + " ".join(["▀" * 14] * columns)
    assert len(block.plain) <= width or columns == 1
    colours = {(span.style.color.triplet, span.style.bgcolor.triplet) for span in block.spans}  # type: ignore[union-attr]
    assert colours == {(COLOURS[0], COLOURS[0])}
    assert len(lines) <= 3 * 8


def test_a_gradient_is_one_on_a_terminal(tmp_path: Path) -> None:
    values = np.linspace(0, 255, 96).astype(np.uint8)[:, None].repeat(96, 1)
    Image.fromarray(values).save(tmp_path / "a.png")
    lines = sheet_text(contact_rows(tmp_path, {"": ["a.png"]}), 80)
    greys = [
        colour.triplet.red  # type: ignore[union-attr]
        for line in lines
        for colour in (line.spans[0].style.color, line.spans[0].style.bgcolor)  # type: ignore[union-attr]
    ]
    assert len(greys) == 14 and greys == sorted(greys) and greys[0] < 15 and greys[-1] > 240


def test_sheets_of_the_same_folder_are_the_same(tmp_path: Path) -> None:
    for k in range(3):
        photo(k, 40).save(tmp_path / f"{k:03}.png")
    one, other = (np.asarray(sheet_picture(contact_rows(tmp_path, {"": numbered(3)}))) for _ in range(2))
    assert np.array_equal(one, other)
