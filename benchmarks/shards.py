"""How soon does a training from shards begin, how soon does it go on in the middle, and how fast are pictures read?

    python benchmarks/shards.py [START] [SEEK] [PICTURES]

An index of START examples, whose rows are random numbers and whose lines have names and captions, is opened, split by
content and identified, and its first batch is chosen; so is the list written that a run keeps of its data. The first
batch of a step in the middle of the third epoch is chosen in an index of SEEK examples, in a process that knows nothing
yet. PICTURES pictures of 64 x 64 are written as shards, and read in the order of a training from these and from their
folder, in turns. Seconds are those of a clock and, in brackets, of the processor: other work may run meanwhile.
"""

import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from inspecting import make
from machine import described

from carrara.data import Folder, Loader, fingerprint, split
from carrara.data.base import DataInfo
from carrara.data.order import Order
from carrara.data.shards import Sharding, Shards, layout, shard
from carrara.data.shards.writing import write_head
from carrara.files import replacing
from carrara.files.columns import write_columns
from carrara.run.lists import write_list
from carrara.seeds import permutation

PER_SHARD = 10_000
BATCH, SEED = 64, 0


def synthetic(folder: Path, count: int, lines: bool) -> Path:
    """The index of so many examples, of which no pictures are there."""
    folder.mkdir(parents=True)
    firsts, rng = range(0, count, PER_SHARD), np.random.default_rng(0)

    def parts(name: str, column: Any) -> Iterator[Any]:
        if name in layout.SHARDS:
            yield np.array(firsts) if name == "first" else np.zeros((len(firsts), *column.inner))
            return
        for first in firsts:
            rows = min(PER_SHARD, count - first)
            if name == "place":
                yield rng.integers(0, 1 << 63, rows)
            elif name in ("content", "digest"):
                yield rng.integers(0, 256, (rows, 16))
            elif name in ("line", "line_bytes"):
                yield np.full(rows, LINE) if name == "line_bytes" else np.arange(rows) * LINE
            else:
                yield np.full((rows, *column.inner), -1 if name == "held" else 64 if name == "size" else 1)

    columns = layout.EXAMPLES | layout.SHARDS
    rows = {name: len(firsts) if name in layout.SHARDS else count for name in columns}
    with replacing(folder / layout.ROWS) as file:
        write_columns(file, columns, rows, {name: parts(name, column) for name, column in columns.items()})
    for number, first in enumerate(firsts if lines else ()):
        text = "".join(line(k) for k in range(first, min(count, first + PER_SHARD)))
        (folder / layout.lines_name(number)).write_text(text)
    info = DataInfo(name="synthetic", channels=3, native=(64, 64), classes=("a", "b"), captions=True)
    write_head(folder, info, count, len(firsts))
    return folder


def line(number: int) -> str:
    return f'{{"name": "{number:09}.jpg", "captions": ["clouds number {number:09} in the sky over the lake"]}}\n'


LINE = len(line(0))


def timed(act: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, the processor's seconds, and what came of it."""
    begun, used = perf_counter(), process_time()
    found = act()
    return perf_counter() - begun, process_time() - used, found


def start(folder: Path) -> None:
    """Prints what takes how long until the first batch is chosen."""
    seconds, used, data = timed(lambda: Shards(str(folder)))
    print(f"open the index|{seconds}|{used}")
    for what, act in (
        ("identify all examples", lambda: fingerprint(data)),
        ("split by content", lambda: split(data, 0.05)),
        ("choose the first batch", lambda: chosen(split(data, 0.05)[0], 0)),
        ("write a list of pictures, as a run from a folder keeps", lambda: write_list(folder, 0, data)),
    ):
        seconds, used, _ = timed(act)
        print(f"{what}|{seconds}|{used}")


def chosen(data: Any, step: int) -> list[int]:
    """The examples of a step."""
    loader = Loader(data, None, BATCH, SEED, workers=0)
    return loader._order.examples(step)


def seek(folder: Path) -> None:
    """Prints how long it takes until a batch of the third epoch is chosen, and until the next one is."""
    data = Shards(str(folder))
    part, step = split(data, 0.05)[0], int(2.5 * len(data)) // BATCH
    first = timed(lambda: chosen(part, step))
    after = timed(lambda: chosen(part, step + 1))
    whole = timed(lambda: permutation(len(part), SEED, "epoch", 2))
    order = Order([torch.arange(len(part))], BATCH, SEED)
    assert first[2] == order.examples(step)
    for what, (seconds, used, _) in (("seek", first), ("next", after), ("sort the whole epoch instead", whole)):
        print(f"{what}|{seconds}|{used}")


def apart(what: str, folder: Path) -> list[tuple[str, float, float]]:
    """The same in a process of its own."""
    said = subprocess.run([sys.executable, __file__, what, folder], capture_output=True, text=True, check=True).stdout
    rows = (row.split("|") for row in said.splitlines())
    return [(name, float(seconds), float(used)) for name, seconds, used in rows]


def reading(below: Path, count: int) -> tuple[list[tuple[str, float, float]], float]:
    """How many pictures are read in a second, from a folder and from its shards, and the tar files' bytes a picture."""
    photos, rows = make(below / "photos", count), list[tuple[str, float, float]]()
    folder = Folder(photos)
    settings = Sharding(most_examples=max(1, count // 8), workers=1)
    seconds, used, _ = timed(lambda: list(shard(folder, below / "out", settings)))
    rows.append(("write them, 1 process", count / seconds, used))
    order = permutation(count, 0).tolist()
    taken: dict[str, list[tuple[float, float]]] = {"read from the folder": [], "read from the shards": []}
    for _ in range(3):
        for what, data in (("read from the folder", folder), ("read from the shards", Shards(str(below / "out")))):
            seconds, used, _ = timed(lambda data=data: [data.pixels(k).shape for k in order])
            taken[what].append((seconds, used))
    for what, times in taken.items():
        seconds, used = min(times)
        rows.append((what, count / seconds, used))
    tar = sum(path.stat().st_size for path in (below / "out").glob("*.tar"))
    return rows, tar / count


def main(begin: int, middle: int, pictures: int) -> None:
    """Prints the tables."""
    text = io.StringIO()
    with tempfile.TemporaryDirectory() as name:
        below = Path(name)
        first = synthetic(below / "start", begin, lines=True)
        size = (first / layout.ROWS).stat().st_size
        begun = apart("start", first)
        went = apart("seek", synthetic(below / "seek", middle, lines=False))
        rates, tar = reading(below, pictures)
    print(f"{described()}\n", file=text)
    print(f"| {begin:,} examples | seconds (of the processor) |\n|---|---|", file=text)
    for what, seconds, used in begun:
        print(f"| {what} | {seconds:.2f} ({used:.2f}) |", file=text)
    print(f"\n| {middle:,} examples | seconds (of the processor) |\n|---|---|", file=text)
    for what, seconds, used in went:
        print(f"| {what} | {seconds:.4f} ({used:.4f}) |", file=text)
    print(f"\n| {pictures:,} pictures of 64 x 64 | pictures a second | processor's seconds |\n|---|---|---|", file=text)
    for what, rate, used in rates:
        print(f"| {what} | {rate:.0f} | {used:.2f} |", file=text)
    print(f"\nThe index has {size / begin:.2f} bytes an example, {layout.ROW} of them its row.", file=text)
    print(f"A line has {LINE} bytes here, and a tar file {tar:.0f} bytes a picture.", file=text)
    print(text.getvalue(), end="")


if __name__ == "__main__":
    torch.set_num_threads(1)
    match sys.argv[1:]:
        case ["start", place]:
            start(Path(place))
        case ["seek", place]:
            seek(Path(place))
        case given:
            main(*(int(one) for one in (*given[:3], *("100000", "1000000", "2000")[len(given) :])))
