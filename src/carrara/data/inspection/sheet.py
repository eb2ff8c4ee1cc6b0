"""Contact sheets: pictures side by side, spread evenly over a folder, in rows by class.

One is a picture to be opened, and one is text for a terminal of many colours, in which ``▀`` shows two pixels: one in
its own colour, and one behind it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text

from carrara.data.base import Unreadable
from carrara.data.files import decode, scan
from carrara.pixels import grid, to_pixels, to_tensor, with_channels

COLUMNS, ROWS = 12, 8
"""Pictures side by side, and rows of them."""
_MOST_ROWS = 16  # of classes
_EDGE = 96  # pixels of a thumbnail
_CHECK = 8  # pixels of a square behind transparent pictures
_CELL = 14  # of one on a terminal
_LINES = 3  # rows of pictures on a terminal

_T = TypeVar("_T")
Tile = NDArray[np.uint8]
"""A thumbnail (H, H, 3)."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Pictures of a sheet.

    Attributes:
        label: their class; empty where there is none, or above it stands another row of it.
    """

    label: str
    tiles: tuple[Tile, ...]


def contact_rows(folder: Path, pictures: Mapping[str, Sequence[str]]) -> tuple[Row, ...]:
    """Decodes what a sheet shows; a picture that cannot be read is not on it.

    Args:
        pictures: of each class, by their names in the folder; of one class called ``""`` where there are none.
    """
    chosen = _chosen(pictures)
    paths = [folder / name for _, names in chosen for name in names]
    tiles = iter(list(scan(_tile, paths, "Contact sheet")))
    rows = list[Row]()
    for label, names in chosen:
        good = tuple(tile for tile in islice(tiles, len(names)) if tile is not None)
        rows += [Row(label=label, tiles=good)] if good else []
    return tuple(rows)


def sheet_picture(rows: Sequence[Row]) -> Image.Image:
    """The sheet as a picture, with the names of classes."""
    columns = max(len(row.tiles) for row in rows)
    white = np.full((_EDGE, _EDGE, 3), 255, np.uint8)
    tiles = [tile for row in rows for tile in (*row.tiles, *[white] * (columns - len(row.tiles)))]
    labels = [row.label for row in rows] if any(row.label for row in rows) else []
    return grid(to_tensor(np.stack(tiles)), columns, 1, 4, labels)


def sheet_text(rows: Sequence[Row], width: int) -> list[Text]:
    """The first rows as lines of a terminal so many characters wide."""
    columns = max(1, min(COLUMNS, (width - 2) // (_CELL + 1)))
    shown = _spread(rows, _LINES) if rows[0].label else _lines_of([tile for row in rows for tile in row.tiles], columns)
    lines = list[Text]()
    for row in shown:
        lines += [Text(f"  {row.label}"[:width])] if row.label else []
        tiles = [_shrunk(tile) for tile in _spread(row.tiles, columns)]
        for top in range(0, _CELL, 2):
            line = Text("  ")
            for k, tile in enumerate(tiles):
                line.append(" " if k else "")
                for upper, lower in zip(tile[top].tolist(), tile[top + 1].tolist(), strict=True):
                    line.append("▀", Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower)))
            lines.append(line)
    return lines


def _chosen(pictures: Mapping[str, Sequence[str]]) -> list[tuple[str, Sequence[str]]]:
    """The label and the names of each row."""
    labels = _spread(sorted(pictures), _MOST_ROWS)
    each = max(1, ROWS // len(labels))
    rows = list[tuple[str, Sequence[str]]]()
    for label in labels:
        names = _spread(pictures[label], each * COLUMNS)
        lines = [names[k : k + COLUMNS] for k in range(0, len(names), COLUMNS)]
        rows += zip_longest([label], lines, fillvalue="") if lines else []
    return rows


def _spread(items: Sequence[_T], count: int) -> list[_T]:
    """At most so many, at even distances, the first among them."""
    return list(items) if len(items) <= count else [items[k * len(items) // count] for k in range(count)]


def _lines_of(tiles: Sequence[Tile], columns: int) -> list[Row]:
    some = _spread(tiles, columns * _LINES)
    return [Row(label="", tiles=tuple(some[k : k + columns])) for k in range(0, len(some), columns)]


def _tile(path: Path) -> Tile | None:
    """A thumbnail of a picture, over a light checkerboard where it is transparent; None if it cannot be read."""
    try:
        found = decode(path)
    except Unreadable:
        return None
    pixels = found if found.dtype == np.uint8 else to_pixels(to_tensor(found))
    image = Image.fromarray(with_channels(pixels if pixels.shape[2] in (1, 3, 4) else pixels[..., :1], 4))
    factor = _EDGE / max(image.size)
    width, height = (max(1, round(edge * factor)) for edge in image.size)
    how = Image.Resampling.NEAREST if factor >= 2 else Image.Resampling.LANCZOS
    small = image.resize((width, height), how, reducing_gap=3)
    page = Image.new("RGB", (_EDGE, _EDGE), "white")
    seen = Image.alpha_composite(_checkered(width, height), small).convert("RGB")
    page.paste(seen, ((_EDGE - width) // 2, (_EDGE - height) // 2))
    return np.asarray(page)


def _checkered(width: int, height: int) -> Image.Image:
    """What one sees through transparent pictures."""
    x, y = np.arange(width)[None] // _CHECK, np.arange(height)[:, None] // _CHECK
    return Image.fromarray(np.where((x + y) % 2 == 0, 255, 228).astype(np.uint8)).convert("RGBA")


def _shrunk(tile: Tile) -> Tile:
    return np.asarray(Image.fromarray(tile).resize((_CELL, _CELL), Image.Resampling.BOX))
