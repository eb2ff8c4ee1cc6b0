"""What does it cost to go larger: pictures, batches, data sets, steps of a sampler?

    python benchmarks/scaling.py [--largest 100000] [--rounds 7] [--out benchmarks/results]

Sizes and batches are `carrara bench` of the network of DDPM at half its width (8.9 M parameters). Data sets are trained
on with a network that costs next to nothing: folders of PNGs, each for the first time and again in a new process, when
what was found out about the files is remembered; and Swiss rolls, of up to ten times as many points. Start is from the
command to the end of the first step, without the import of torch. Everything runs in a process of its own, of which the
memory is the peak (of a folder, the higher one of its two processes).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from PIL import Image

SIZES, BATCHES, STEPS = (16, 32, 64, 128), (1, 2, 4, 8, 16, 32, 64), (1, 2, 5, 10, 20, 50)
NETWORK = "model.backbone.channels=64"
SMALL = "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: []}"
COUNTS = (1_000, 10_000, 100_000, 1_000_000)
EDGE, BATCH, TRAINED = 16, 16, 60
GIB = 2**30
Rows = list[list[float]]


def benched(size: int, batch: int, rounds: int) -> list[float]:
    """Milliseconds an image of a training step and of a forward pass, and memory in GiB."""
    command = [sys.executable, "-m", "carrara", "bench", f"data.size={size}", NETWORK]
    command += ["--batch", str(batch), "--rounds", str(rounds), "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    step, forward = (1e3 * found["works"][name]["median"] / batch for name in ("training step", "forward pass"))
    return [step, forward, found["peak_bytes"] / GIB]


def child(*arguments: object, **variables: str) -> Any:
    """What this script says in a process of its own."""
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def trained(source: str, run: str, *overrides: str) -> dict[str, float]:
    """A child: seconds until the first step has ended, seconds of a later one, and bytes at the peak."""
    from carrara.device import default_device
    from carrara.measure.timing import peak_memory
    from carrara.run import Session, plan
    from carrara.train import StepReport

    begun = perf_counter()
    short = [f"train.steps={TRAINED}", f"train.batch={BATCH}", "preview.every=0", *overrides]
    (stage,) = plan(source, None, Path(run), short).stages
    events = Session(stage, default_device())
    ends = [perf_counter() for event in events if isinstance(event, StepReport)]
    step = median(later - earlier for earlier, later in pairwise(ends))
    return {"start": ends[0] - begun, "step": step, "peak": peak_memory(default_device())}


def sampled(rounds: str) -> list[list[float]]:
    """A child: steps, milliseconds an image, and memory in GiB so far."""
    import torch

    from carrara import recipe
    from carrara.device import default_device
    from carrara.draw import Request, finish
    from carrara.draw import sample as draw
    from carrara.measure.timing import Work, peak_memory, time_in_turns
    from carrara.model import DiffusionModel
    from carrara.recipe import build
    from carrara.store import OpenModel
    from carrara.train.precision import matmul_dtype

    model = build.model(recipe.load("ddpm-cifar", [NETWORK])).to(default_device()).eval()
    assert isinstance(model, DiffusionModel)
    precision = "float32" if matmul_dtype("auto", model.device) is torch.float32 else "bfloat16"

    def work(steps: int) -> Work:
        settings = model.settings(sampler=recipe.load("digits").sample.sampler, steps=steps)
        wishes, seeds = (None,) * BATCH, tuple(range(BATCH))
        asked = Request(wishes=wishes, seeds=seeds, settings=settings, precision=precision)
        return Work(name=str(steps), do=lambda: finish(draw(OpenModel(model=model), asked)), images=BATCH)

    found = time_in_turns([work(steps) for steps in STEPS], int(rounds), model.device)
    peak = peak_memory(model.device) / GIB
    return [[steps, 1e3 / each.speed, peak] for steps, each in zip(STEPS, found, strict=True)]


def folders(root: Path, counts: Sequence[int]) -> Iterator[Path]:
    """Folders of so many PNGs of different content; files that two of them have are links to one file."""
    everything = root / str(max(counts))
    everything.mkdir()
    picture = BytesIO()
    Image.effect_noise((EDGE, EDGE), 64).convert("RGB").save(picture, "PNG")
    for k in range(max(counts)):  # bytes after the end of a PNG are no part of the picture, but of the content
        (everything / f"{k:06d}.png").write_bytes(picture.getvalue() + k.to_bytes(4, "big"))
    for count in counts:
        folder = root / str(count)
        if folder != everything:
            folder.mkdir()
            for k in range(count):
                (folder / f"{k:06d}.png").hardlink_to(everything / f"{k:06d}.png")
        yield folder


def of_folders(largest: int) -> Rows:
    """Pictures, start for the first time and again in seconds, milliseconds an image, and memory in GiB."""
    counts, rows = [n for n in COUNTS if n <= largest], Rows()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for count, folder in zip(counts, folders(root, counts), strict=True):
            first, again = (
                child("trained", folder, root / f"run-{count}-{k}", f"data.size={EDGE}", SMALL, CARRARA_CACHE=str(root))
                for k in range(2)
            )
            memory = max(first["peak"], again["peak"]) / GIB
            rows.append([count, first["start"], again["start"], 1e3 * again["step"] / BATCH, memory])
    return rows


def of_points(largest: int) -> Rows:
    """Points, start in seconds, milliseconds a point, and memory in GiB."""
    rows = Rows()
    for count in (n for n in COUNTS if n <= 10 * largest):
        with tempfile.TemporaryDirectory() as name:
            found = child("trained", "swissroll", f"{name}/run", f"data.source.points={count}")
        rows.append([count, found["start"], 1e3 * found["step"] / BATCH, found["peak"] / GIB])
    return rows


HEADS = {
    "Size of pictures, in batches of 16": ("pixels of an edge", "training step, ms/image", "forward, ms/image", "GiB"),
    "Batch, of 32x32": ("batch", "training step, ms/image", "forward, ms/image", "GiB"),
    "Folders": ("pictures", "first start, s", "next start, s", "training step, ms/image", "GiB"),
    "Points": ("points", "start, s", "training step, ms/point", "GiB"),
    "Steps of DPM-Solver++, in batches of 16": ("steps", "ms/image", "GiB"),
}


def measured(largest: int, rounds: int) -> Iterator[Rows]:
    """The rows of each table."""
    yield [[size, *benched(size, 16, rounds)] for size in SIZES]
    yield [[batch, *benched(32, batch, rounds)] for batch in BATCHES]
    yield of_folders(largest)
    yield of_points(largest)
    yield child("sampled", rounds)


def markdown(title: str, head: Sequence[str], rows: Rows) -> str:
    """A heading and a table."""
    lines = [f"## {title}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    cells = ([f"{row[0]:,.0f}", *(f"{value:,.4g}" for value in row[1:])] for row in rows)
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in cells), ""])


def drawn(tables: dict[str, Rows]) -> Image.Image:
    """A chart of each table, without the memory."""
    from carrara.plots import Chart, Line

    charts = []
    for title, rows in tables.items():
        head = HEADS[title]
        lines = [
            Line(name=name, x=[row[0] for row in rows], y=[row[k] for row in rows])
            for k, name in enumerate(head[1:-1], start=1)
        ]
        chart = Chart(title=title, lines=lines, x_label=head[0], y_label=title, log_x=True, log_y=True)
        charts.append(chart.picture(480, 320))
    width, height = 480, max(chart.height for chart in charts)
    page = Image.new("RGB", (2 * width, -(-len(charts) // 2) * height), "white")
    for k, chart in enumerate(charts):
        page.paste(chart, (k % 2 * width, k // 2 * height))
    return page


def main(largest: int, rounds: int, out: Path) -> None:
    """Writes the tables and the charts, and what there is of them after each table."""
    from machine import described

    command = f"`python benchmarks/scaling.py --largest {largest} --rounds {rounds}`"
    text = ["# What does it cost to go larger?", "", command, "", described(), ""]
    tables: dict[str, Rows] = {}
    out.mkdir(parents=True, exist_ok=True)
    for title, rows in zip(HEADS, measured(largest, rounds), strict=True):
        tables[title] = rows
        text.append(markdown(title, HEADS[title], rows))
        print(text[-1], flush=True)
        (out / "scaling.md").write_text("\n".join(text))
        drawn(tables).save(out / "scaling.png")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        name, *given_to_child = sys.argv[2:]
        print(json.dumps({"trained": trained, "sampled": sampled}[name](*given_to_child)))
    else:
        parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
        parser.add_argument("--largest", type=int, default=100_000, help="pictures of the largest folder")
        parser.add_argument("--rounds", type=int, default=7)
        parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
        given = parser.parse_args()
        main(given.largest, given.rounds, given.out)
