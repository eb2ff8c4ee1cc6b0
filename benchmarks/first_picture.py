"""How long after the command does the shipped model's first picture lie there, everything included?

    python benchmarks/first_picture.py [--rounds 5] [--steps 4] [--beside 0] [--out FILE]

Each round runs every row once, in turns, as a process of its own: the median of seconds, and of the processor's. The
files are warm, as at a second call. ``--beside`` starts so many other programs first, which count for as long as it
lasts, each on one thread: what that costs threads that wait in a loop (OMP_WAIT_POLICY=ACTIVE) is a row, too.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from machine import described

COUNTS = "while True: sum(k * k for k in range(100_000))"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is run, without the folder that it writes."""

    options: Sequence[str] | None
    model: str = "openmoji"
    said: Mapping[str, str] = field(default_factory=dict[str, str])

    def seconds(self, out: str) -> tuple[float, float]:
        """Of the clock, and of the processor."""
        import_alone = [sys.executable, "-c", "import torch"]
        draw = [sys.executable, "-m", "carrara", "sample", self.model, "a red heart", "--out", out]
        line = import_alone if self.options is None else [*draw, *self.options]
        environment = {k: v for k, v in os.environ.items() if k not in {"OMP_WAIT_POLICY", "PYTHONDONTWRITEBYTECODE"}}
        begun, before = perf_counter(), getrusage(RUSAGE_CHILDREN)
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, env={**environment, **self.said})
        after = getrusage(RUSAGE_CHILDREN)
        busy = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        return perf_counter() - begun, busy


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--steps", type=int, default=4)
    options.add_argument("--beside", type=int, default=0)
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    few = ["--steps", str(chosen.steps)]
    rows = {
        "torch is imported, and nothing else": Row(options=None),
        "one picture, as the model says (25 steps, guided)": Row(options=["-n", "1"]),
        "the same, threads that wait in a loop": Row(options=["-n", "1"], said={"OMP_WAIT_POLICY": "ACTIVE"}),
        f"one picture in {chosen.steps} steps": Row(options=["-n", "1", *few]),
        "one picture of openmoji-4-steps": Row(options=["-n", "1"], model="openmoji-4-steps"),
        "the same by the tiny decoder": Row(options=["-n", "1", "--fast"], model="openmoji-4-steps"),
        "four pictures, as the model says": Row(options=[]),
    }
    others = [subprocess.Popen([sys.executable, "-c", COUNTS]) for _ in range(chosen.beside)]
    try:
        with TemporaryDirectory() as folder:
            rows["one picture, as the model says (25 steps, guided)"].seconds(f"{folder}/warm")
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
            for turn in range(chosen.rounds):
                for k, (name, row) in enumerate(rows.items()):
                    found[name].append(row.seconds(f"{folder}/{turn}-{k}"))
    finally:
        for one in others:
            one.kill()
    beside = f"beside {chosen.beside} programs that count" if chosen.beside else "nothing else at work"
    table = [
        f"{described()}; {beside}; medians of {chosen.rounds} turns",
        "",
        "| | seconds | of a processor |",
        "|---|---|---|",
    ]
    for name, each in found.items():
        table.append(f"| {name} | {median(wall for wall, _ in each):.2f} | {median(busy for _, busy in each):.2f} |")
    print("\n".join(table))
    if chosen.out:
        chosen.out.write_text("\n".join(table) + "\n")


if __name__ == "__main__":
    main()
