"""How long does `carrara inspect data` take, and how long did it take before it looked closely at pictures?

    python benchmarks/inspecting.py [PICTURES] [ROUNDS]

Makes so many pictures of 64x64 pixels in ten folders, half of them JPEG and half PNG. `before` is what the command did
to them until then, but for duplicates: the header of each is read and it is decoded, one a task in as many threads as
Python thinks fit; then the folder is opened. `now` is all that the command does, with the contact sheet and the list of
findings; `again` is the same with what is remembered. They take turns in one process; importing is not counted.
"""

import io
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from machine import described
from PIL import Image

from carrara.data import Folder, Unreadable, inspection
from carrara.data.files import Header, decode, explain, read_header
from carrara.data.folder import look
from carrara.pixels import save_png

EDGE, CLASSES = 64, 10


def picture(seed: int) -> Image.Image:
    """Clouds, in colour, with some grain."""
    rng = np.random.default_rng(seed)
    parts = [
        np.asarray(Image.fromarray(rng.integers(0, 256, (edge, edge, 3), np.uint8)).resize((EDGE, EDGE)), np.float32)
        for edge in (4, 8, 16)
    ]
    values = 0.6 * parts[0] + 0.25 * parts[1] + 0.15 * parts[2] + rng.normal(0, 6, (EDGE, EDGE, 1))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def make(folder: Path, count: int) -> Path:
    """The pictures, and a caption beside each hundredth."""
    for k in range(CLASSES):
        (folder / f"class {k}").mkdir(parents=True)
    for k in range(count):
        name = folder / f"class {k % CLASSES}" / f"{k:06}.{'jpg' if k % 2 else 'png'}"
        picture(k).save(name, **({"quality": 90} if k % 2 else {"compress_level": 1}))
        if k % 100 == 0:
            name.with_suffix(".txt").write_text(f"clouds number {k} in the sky")
    return folder


def before(folder: Path, _: Path) -> None:
    """Reads each header, decodes each picture, and opens the folder."""

    def examined(path: Path) -> Header:
        header = read_header(path)
        try:
            decode(path, header)
        except Unreadable as error:
            return replace(header, problem=explain(path, error))
        return header

    paths = [folder / name for name in look(folder).pictures]
    with ThreadPoolExecutor() as pool:
        headers = [header for k in range(0, len(paths), 5000) for header in pool.map(examined, paths[k : k + 5000])]
    data = Folder(folder, headers)
    _ = [(data.columns(k), data.captions(k)) for k in range(len(data))]


def now(folder: Path, out: Path) -> None:
    """All that the command does."""
    report = inspection.inspect_folder(folder)
    _ = list(report.lines())
    save_png(inspection.sheet_picture(inspection.contact_rows(folder, report.by_class)), out / "contact-sheet.png")
    inspection.write_findings(report, out / f"{perf_counter()}.csv")


def seconds(act: Callable[[Path, Path], None], folder: Path, out: Path) -> float:
    """How long it takes."""
    begun = perf_counter()
    act(folder, out)
    return perf_counter() - begun


def main(count: int, rounds: int) -> None:
    """Prints the table."""
    times: dict[str, list[float]] = {"before": [], "now": [], "again": []}
    with tempfile.TemporaryDirectory() as name:
        folder, out = make(Path(name, "photos"), count), Path(name, "out")
        seconds(before, folder, out)  # the disk is warm for all
        for k in range(rounds):
            os.environ["CARRARA_CACHE"] = str(Path(name, f"cache {k}"))
            for what, act in (("before", before), ("now", now), ("again", now)):
                times[what].append(seconds(act, folder, out))
                print(f"{what} {times[what][-1]:.1f} s", file=sys.stderr, flush=True)
        kept = sum(path.stat().st_size for path in Path(os.environ["CARRARA_CACHE"]).rglob("*") if path.is_file())
    text = io.StringIO()
    print(f"{described()}; {count} pictures of {EDGE} x {EDGE}; medians of {rounds} rounds\n", file=text)
    print("| | seconds, median | smallest to largest | of `before` |\n|---|---|---|---|", file=text)
    for what, taken in times.items():
        ratio = median(one / old for one, old in zip(taken, times["before"], strict=True))
        spread = f"{min(taken):.1f} to {max(taken):.1f}"
        print(f"| {what} | {median(taken):.1f} | {spread} | {ratio:.2f} |", file=text)
    print(f"\n{kept / 1e6:.1f} MB are remembered.", file=text)
    print(text.getvalue(), end="")


if __name__ == "__main__":
    main(*(int(one) for one in (*sys.argv[1:3], *("10000", "3")[len(sys.argv) - 1 :])))
