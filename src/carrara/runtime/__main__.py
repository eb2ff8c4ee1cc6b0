"""``python -m carrara.runtime FOLDER --class 7 -n 4 --steps 20 --out x.png``."""

import argparse
import sys
from collections.abc import Sequence
from io import BytesIO
from math import ceil, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from carrara.errors import Spelling, UserError
from carrara.runtime.door import write_new
from carrara.runtime.model import OnnxModel, Settings
from carrara.runtime.noise import GRIDS
from carrara.runtime.samplers import SAMPLERS

MOST = 10_000
SHELL = Spelling(option=lambda name, value: f"--{name}" + ("" if value is None else f" {value}"), program="carrara ")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws pictures into one PNG; returns the exit code: 2 for a user's mistake."""
    given = _parser().parse_args(arguments)
    try:
        _draw(given)
    except UserError as error:
        print(f"carrara.runtime: {error.spelled(SHELL)}", file=sys.stderr)
        return 2
    return 0


def sheet(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (B, H, W, C) row by row in one, (H', W', C), white where there is none."""
    count, height, width, channels = pictures.shape
    columns = ceil(sqrt(count))
    rows = ceil(count / columns)
    page = np.full((rows * height, columns * width, channels), 255, np.uint8)
    for k, picture in enumerate(pictures):
        top, left = k // columns * height, k % columns * width
        page[top : top + height, left : left + width] = picture
    return page


def _draw(given: argparse.Namespace) -> None:
    if not 1 <= given.count <= MOST:
        raise UserError(f"1 to {MOST} pictures can be made at once, got {given.count}")
    out = Path(given.out)
    if out.suffix.lower() != ".png":
        raise UserError(f"pictures are written as PNG: name a file that ends in .png, and not '{out}'")
    model = OnnxModel(given.folder, precision="int8" if given.int8 else "float32", threads=given.threads)
    pictures = model.sample(
        [given.wish] * given.count,
        seeds=range(given.seed, given.seed + given.count),
        negative=given.negative,
        size=_size(given.size),
        settings=Settings(steps=given.steps, guidance=given.guidance, sampler=given.sampler, grid=given.grid),
    )
    print(_save(sheet(pictures), out))


def _save(page: NDArray[np.uint8], out: Path) -> Path:
    """Writes a picture, beside one of this name that is there already; returns where."""
    try:
        from PIL import Image
    except ImportError:
        raise UserError("writing a PNG needs the package Pillow: pip install pillow") from None
    channels = page.shape[-1]
    if channels not in (1, 3, 4):
        raise UserError(f"samples of {channels} channels are no picture: take them from OnnxModel.sample in Python")
    file = BytesIO()
    Image.fromarray(page[..., 0] if channels == 1 else page).save(file, format="PNG")
    return write_new(out, file.getvalue())


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    edges = text.lower().split("x")
    if not 1 <= len(edges) <= 2 or not all(edge.isascii() and edge.isdigit() and len(edge) < 6 for edge in edges):
        raise UserError(f"'{text}' is no size: write HEIGHTxWIDTH, as in 64x96")
    return int(edges[0]), int(edges[-1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m carrara.runtime", description="Draws from an exported model.")
    add = parser.add_argument
    add("folder", help="an exported model's folder")
    add("--class", "--prompt", dest="wish", help="what to draw: a label, a text or numbers, as the model takes it")
    add("--negative", help="what to avoid")
    add("-n", "--count", type=int, default=1, help="how many pictures")
    add("--seed", type=int, default=0, help="of the first picture; the others count up")
    add("--steps", type=int, help="how many steps")
    add("--guidance", type=float, help="guidance scale; 1 = off")
    add("--sampler", help=", ".join(SAMPLERS))
    add("--grid", help=", ".join(GRIDS))
    add("--size", help="HEIGHTxWIDTH")
    add("--int8", action="store_true", help="with the int8 network, if the folder has one")
    add("--threads", type=int, default=0, help="0 = as many as there are cores")
    add("--out", default="samples.png", help="the PNG to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
