"""The files that the runs of the corpus learn from and that its edits begin with: functions of this code alone."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.uint8]


def prepare(root: Path) -> None:
    """Writes all of them."""
    _photos(root / "photos")
    _captioned(root / "captioned")
    _measured(root / "measured")
    _mapped(root / "mapped")
    _scans(root / "scans")
    _stacks(root / "stacks")
    _edited(root / "pictures")


def noise(seed: int, *shape: int) -> Array:
    """Values without any order."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def scene(seed: int, height: int, width: int, hue: int = 0) -> Array:
    """A slope with a bright box, which has one of three colours."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 90 + seed % 60, width)[None, :, None] + rng.integers(0, 30, (height, width, 3))
    picture = slope.astype(np.uint8)
    top, left = (int(rng.integers(0, edge // 2)) for edge in (height, width))
    picture[top : top + height // 2, left : left + width // 2, hue] = 180 + seed % 70
    return picture


def saved(array: Array, path: Path) -> None:
    """Writes a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def _photos(folder: Path) -> None:
    for k in range(32):
        for number, kind in enumerate(("red", "green")):
            saved(scene(2 * k + number, 16, 20, number), folder / kind / f"{k:02}.png")


def _captioned(folder: Path) -> None:
    for k in range(24):
        colour, place = ("red", "green", "blue")[k % 3], ("high", "low")[k % 2]
        saved(scene(100 + k, 12, 12, k % 3), folder / f"{k:02}.png")
        (folder / f"{k:02}.txt").write_text(f"a {colour} box, {place} number {k}", encoding="utf-8")


def _measured(folder: Path) -> None:
    """Grey pictures with two numbers each."""
    lines = []
    for k in range(16):
        saved(scene(200 + k, 10, 10)[..., 0], folder / f"{k:02}.png")
        lines.append(json.dumps({"file_name": f"{k:02}.png", "vector": [k / 8 - 1, (-1) ** k * 0.5]}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _mapped(folder: Path) -> None:
    for k in range(16):
        picture = scene(300 + k, 12, 12, k % 2)
        saved(picture, folder / f"{k:02}.png")
        saved((picture // 160 * 255).astype(np.uint8), folder / f"{k:02}.map.png")


def _scans(folder: Path) -> None:
    """Squares, and pictures that are wide and high."""
    for k in range(30):
        saved(scene(400 + k, *((20, 20), (12, 40), (50, 16))[k % 3]), folder / f"{k:02}.png")


def _stacks(folder: Path) -> None:
    """Arrays of two channels, which no PNG holds."""
    folder.mkdir(parents=True)
    for k in range(12):
        np.save(folder / f"{k:02}.npy", scene(500 + k, 8, 8)[..., :2])


def _edited(folder: Path) -> None:
    """What edits begin with."""
    mask = np.zeros((10, 12), np.uint8)
    mask[2:6, 4:9] = 255
    strokes = mask[:, :, None] * np.array([0, 0, 0, 1], np.uint8)
    blocks = np.zeros((10, 12, 3), np.uint8)
    blocks[3:7, 2:8, 0] = 250
    pictures = {
        "a": scene(600, 10, 12),
        "b": scene(601, 14, 9, 1),
        "square": scene(602, 8, 8, 2),
        "large": scene(603, 16, 16, 2),
        "small": noise(604, 4, 6, 3),
        "grey": scene(605, 8, 8)[..., 0],
        "clear": np.concatenate([scene(606, 9, 9), noise(606, 9, 9, 1)], axis=-1),
        "mask": mask,
        "strokes": strokes.astype(np.uint8),
        "layout": blocks,
    }
    for name, array in pictures.items():
        saved(array, folder / f"{name}.png")
