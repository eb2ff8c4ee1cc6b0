"""How fast pictures become features, and in how much memory: any number of them, at constant memory.

    python benchmarks/features.py [--counts 1000,10000] [--size 64]

Pictures of random blocks are made one by one, as a folder's are decoded, and kept nowhere. Each count runs in a process
of its own, whose peak memory is printed.
"""

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from machine import described
from numpy.typing import NDArray

from carrara.data import DataInfo, Dataset, Transform
from carrara.evaluate import Reference, extractor


class Blocks(Dataset):
    """Pictures that are a function of their number."""

    def __init__(self, count: int, size: int) -> None:
        self.info, self._count, self._size = DataInfo(name="blocks", channels=3, native=(size, size)), count, size

    def __len__(self) -> int:
        return self._count

    def key(self, index: int) -> str:
        return hashlib.blake2b(str(index).encode(), digest_size=16).hexdigest()

    def pixels(self, index: int) -> NDArray[np.uint8]:
        blocks = np.random.default_rng(index).integers(0, 256, (8, 8, 3), np.uint8)
        return blocks.repeat(self._size // 8, 0).repeat(self._size // 8, 1)


def one(count: int, size: int) -> None:
    """Extracts the features of ``count`` pictures, and says how that went: a row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        reference = Reference(extractor(), Blocks(count, size), Transform(size=(size, size)), Path(folder))
        begun = perf_counter()
        for done, total in reference.complete():
            print(f"\r{done} of {total}", end="", file=sys.stderr)
        seconds = perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| {count} | {count / seconds:.1f} | {peak:.2f} |")


def main(counts: list[int], size: int) -> None:
    """Prints the table."""
    print(f"{described()}; {extractor().name}; pictures of {size}x{size}\n")
    print("| pictures | a second | peak memory, GiB |\n|---|---|---|", flush=True)
    for count in counts:
        subprocess.run([sys.executable, __file__, "--one", str(count), "--size", str(size)], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=lambda text: [int(part) for part in text.split(",")], default=[1000, 10000])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one, given.size)
    else:
        main(given.counts, given.size)
