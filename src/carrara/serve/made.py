"""From what was drawn to files: pieces, each of which is one picture, with what else was written of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from carrara import pixels
from carrara.draw import Request, Results, Samples, record
from carrara.draw.request import dump_request
from carrara.draw.verbs import Edited
from carrara.store import OpenModel


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A picture, and the files that belong to it.

    Attributes:
        paths: the PNG first.
        size: its width and height.
    """

    paths: tuple[Path, ...]
    size: tuple[int, int]
    prompt: str | None = None
    seed: int | None = None
    verb: str | None = None


def of_samples(opened: OpenModel, samples: Samples, folder: Path) -> list[Piece]:
    """Samples as files, a piece for each; those that are written all in one file are one piece."""
    request = samples.request
    grid, *own = samples.save(folder, record(opened, request))
    groups = _by_name(own)
    if len(groups) != len(request.seeds) or own[0].suffix == ".npy":
        return [_piece([grid, *own], request, 0)]
    return [_piece(_shown(opened, samples, k, paths), request, k) for k, paths in enumerate(groups)]


def _shown(opened: OpenModel, samples: Samples, k: int, paths: list[Path]) -> list[Path]:
    """The files of a sample, the picture of it first; it is made where the medium writes none."""
    if png := [path for path in paths if path.suffix == ".png"]:
        return [*png, *(path for path in paths if path.suffix != ".png")]
    image = samples.medium.grid(samples.values[k : k + 1])
    about = record(opened, samples.request, "sample") | {"request": dump_request(samples.request.only(k))}
    return [pixels.save_png(image, paths[0].with_suffix(".png"), about), *paths]


def _piece(paths: list[Path], request: Request, k: int) -> Piece:
    return Piece(paths=tuple(paths), size=_size(paths[0]), prompt=request.wishes[k], seed=request.seeds[k])


def of_results(opened: OpenModel, results: Results, folder: Path) -> list[Piece]:
    """What came of a verb as files: a piece for each result; an animation of them goes with the first."""
    paths, name = results.save(opened, folder), results.verb.name
    if not isinstance(results, Edited):
        return [Piece(paths=(path,), size=_size(path), verb=name) for path in paths]
    moving = [path for path in paths if path.suffix in (".gif", ".webp")]
    groups = _by_name(path for path in paths[1:] if path not in moving)
    pieces = list[Piece]()
    for (k, image), group in zip(enumerate(results.images), groups, strict=True):
        files = [*_with_picture(image, group), *(moving if k == 0 else [])]
        seed, prompt = _of_column(results, k)
        pieces.append(Piece(paths=tuple(files), size=_size(files[0]), verb=name, seed=seed, prompt=prompt))
    return pieces


def _of_column(results: Edited, k: int) -> tuple[int | None, str | None]:
    """The seed and the prompt of the k-th result, where each result has a seed of its own."""
    wishes, seeds = results.request.wishes, results.request.seeds
    if results.labels:
        return (seeds[0] if seeds else None), (wishes[0] if wishes else None)
    column = k % len(seeds)
    return seeds[column], wishes[column]


def _with_picture(image: Image.Image, paths: list[Path]) -> list[Path]:
    png = [path for path in paths if path.suffix == ".png"]
    if not png:
        png = [pixels.save_png(image, paths[0].with_suffix(".png"))]
    return [*png, *(path for path in paths if path.suffix != ".png")]


def of_sheet(image: Image.Image, about: dict[str, Any], request: Request, folder: Path) -> list[Piece]:
    """A sheet of what settings do."""
    path = pixels.save_png(image, folder / "sheet.png", about)
    return [_piece([path], request, 0)]


def _by_name(paths: Iterable[Path]) -> list[list[Path]]:
    """Files that differ in their endings alone are of one thing."""
    return [list(group) for _, group in groupby(paths, key=lambda path: path.stem)]


def _size(path: Path) -> tuple[int, int]:
    return pixels.read_picture(path).size
