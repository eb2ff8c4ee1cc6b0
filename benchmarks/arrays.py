"""Do samples of arrays and of tables have the statistics of their data? A training of each, and a page.

    python benchmarks/arrays.py                                     all of them
    python benchmarks/arrays.py table clinic                        some of them, by name
    python benchmarks/arrays.py blobs --set train.minutes=30        with other settings

The data are drawn from laws that are known. Samples of a table, which go the whole way from a CSV file to a CSV file,
are compared with the table that was trained on, and with the law, from which the table itself is as far as the last but
one column says. Samples of volumes are compared with the law, and with twenty sets of as many fresh draws.
"""

import argparse
import csv
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from carrara.draw import Ask, collect, request
from carrara.run.plan import plan
from carrara.run.session import Session
from carrara.store import Store

ROWS, DRAWN = 8000, 10_000
VOLUMES, SAMPLED, EDGE = 2000, 256, 16
BLOBS = (
    "model.backbone={kind: dit, width: 192, depth: 6, heads: 6, patch: 4, positions: rotary, qk_norm: true}",
    "train.optimizer=adamw",
    "train.lr=1e-3",
    "train.batch=32",
    "train.warmup=200",
    "sample.guidance=1",
)
"""Volumes this small are 64 patches for a transformer, which learns more in the same time than the preset's network."""
Floats = NDArray[np.float64]
Rows = list[list[float | int | str]]


def table(rng: np.random.Generator, count: int) -> Rows:
    """Eight columns: seven numbers that depend on two hidden ones and on the category, one of three."""
    mixing = np.random.default_rng(7).normal(size=(3, 7)) * [[1.0], [0.8], [1.2]]
    kind = rng.choice(3, count, p=[0.6, 0.3, 0.1])
    hidden = np.concatenate([rng.normal(size=(count, 2)), kind[:, None] - 0.5], 1)
    numbers = hidden @ mixing + 0.4 * rng.normal(size=(count, 7))
    numbers = numbers * [1, 10, 0.1, 5, 100, 2, 1] + [0, 50, 0, -20, 1000, 0, 3]
    return [[*row, "abc"[k]] for row, k in zip(numbers.tolist(), kind.tolist(), strict=True)]


def clinic(rng: np.random.Generator, count: int) -> Rows:
    """Eight columns of other kinds: skewed, whole, with two humps, bounded; a category of five, two of them rare."""
    group = rng.choice(5, count, p=[0.45, 0.3, 0.17, 0.05, 0.03])
    age = np.clip(rng.normal(50 + 5 * (group == 1) - 8 * (group == 2), 14), 18, 95).round()
    dose = np.exp(0.02 * (age - 50) + 0.5 * rng.normal(size=count))
    visits = rng.poisson(2 + 0.06 * np.clip(age - 20, 0, None))
    level = np.where(rng.random(count) < 0.4, rng.normal(2, 0.4, count), rng.normal(6, 0.6, count))
    share = 1 / (1 + np.exp(-0.8 * (level - 4) - 0.7 * rng.normal(size=count)))
    ratio = 0.6 * level + dose + 0.5 * rng.normal(size=count)
    score = -0.04 * age + 0.3 * visits + rng.normal(size=count)
    columns = (age, dose, visits, level, share, ratio, score)
    return [
        [*(float(value) for value in row), ("north", "south", "east", "west", "far")[k]]
        for row, k in zip(zip(*columns, strict=True), group.tolist(), strict=True)
    ]


def blobs(rng: np.random.Generator, count: int) -> Floats:
    """Volumes (N, 16, 16, 16): a Gaussian blob of height 1 with a centre near the middle and a width of 1.5 to 3."""
    centre = 7.5 + 1.5 * rng.normal(size=(count, 3))
    width = rng.uniform(1.5, 3, count)
    each = np.exp(-((np.arange(EDGE) - centre[..., None]) ** 2) / (2 * width[:, None, None] ** 2))
    return np.einsum("nd,nh,nw->ndhw", each[:, 0], each[:, 1], each[:, 2])


def trained(source: Path, run: Path, changes: Sequence[str]) -> float:
    """Trains on a file with the preset of its kind; the seconds that it took."""
    begun = time.perf_counter()
    stage = plan(str(source), changes[0], run, ["preview.every=0", *changes[1:]])
    for _ in Session(stage, torch.device("cpu")):
        pass
    return time.perf_counter() - begun


def drawn(run: Path, count: int, folder: Path) -> list[Path]:
    """The files of samples."""
    opened = Store().open(run)
    return collect(opened, request(opened, Ask(count=count))).save(folder, {})


def measured_table(law: Callable[[np.random.Generator, int], Rows], changes: Sequence[str]) -> list[str]:
    """Correlations and shares of a table's samples beside those of the law, and of the rows that were trained on."""
    with TemporaryDirectory() as folder:
        root, names = Path(folder), [*"ABCDEFG", "kind"]
        _write(root / "table.csv", names, rows := law(np.random.default_rng(0), ROWS))
        seconds = trained(root / "table.csv", root / "run", ["table", *changes])
        (path,) = (path for path in drawn(root / "run", DRAWN, root / "samples") if path.suffix == ".csv")
        with path.open(newline="") as file:
            header, *lines = csv.reader(file)
        assert header == names
        made: Rows = [[*map(float, line[:-1]), line[-1]] for line in lines]
    truth = law(np.random.default_rng(1), 200_000)
    found, beyond, seen = _against(made, rows), _against(made, truth), _against(rows, truth)
    asked = {"largest error of a correlation": 0.05, "largest error of a share": 0.02}
    lines = [f"| {law.__name__} | seconds of training | {seconds:.0f} | | | |"]
    for name, value in found.items():
        figures = f"{value:.3f} | {beyond[name]:.3f} | {seen[name]:.3f}"
        lines.append(f"| {law.__name__} | {name} | {figures} | {asked.get(name, '')} |")
    return lines


def _against(rows: Rows, truth: Rows) -> dict[str, float]:
    """How far rows are from the truth, at most over columns and categories."""
    one, other = (np.array([row[:-1] for row in table], np.float64) for table in (rows, truth))
    kinds = sorted({str(row[-1]) for row in truth})
    shares, true = ([np.mean([row[-1] == kind for row in table]) for kind in kinds] for table in (rows, truth))
    dummies = (np.array([[row[-1] == kind for kind in kinds] for row in table], np.float64) for table in (rows, truth))
    a, b = (np.corrcoef(np.c_[x, d].T) for x, d in zip((one, other), dummies, strict=True))
    spread = other.std(0)
    quantiles = np.linspace(0.02, 0.98, 49)
    gaps = np.abs(np.quantile(one, quantiles, axis=0) - np.quantile(other, quantiles, axis=0)) / spread
    return {
        "largest error of a correlation": float(np.abs(a - b).max()),
        "largest error of a share": float(np.abs(np.array(shares) - true).max()),
        "largest error of a mean, in deviations": float((np.abs(one.mean(0) - other.mean(0)) / spread).max()),
        "largest error of a deviation, relative": float(np.abs(one.std(0) / spread - 1).max()),
        "mean error of quantiles, in deviations": float(gaps.mean()),
    }


def measured_blobs(changes: Sequence[str]) -> list[str]:
    """The mean, the spectrum of the covariance and the blobs' sizes of samples beside those of the law."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        np.save(root / "blobs.npy", blobs(np.random.default_rng(0), VOLUMES).astype(np.float32))
        seconds = trained(root / "blobs.npy", root / "run", ["volume", *BLOBS, *changes])
        paths = [path for path in drawn(root / "run", SAMPLED, root / "samples") if path.suffix == ".npy"]
        made = np.stack([np.load(path) for path in paths]).astype(np.float64)
    truth = blobs(np.random.default_rng(1), 20_000)
    others = [blobs(np.random.default_rng(2 + k), SAMPLED) for k in range(20)]
    law = _spectrum(truth)
    found, usual = _figures(made, truth, law), [_figures(other, truth, law) for other in others]
    lines: list[str] = []
    for name, value in found.items():
        beside = sorted(each[name] for each in usual)
        lines.append(f"| blobs | {name} | | {value:.3f} | {beside[0]:.3f} to {beside[-1]:.3f} | |")
    return [*lines, f"| blobs | seconds of training | {seconds:.0f} | | | |"]


def _figures(x: Floats, truth: Floats, law: Floats) -> dict[str, float]:
    """How far volumes are from the truth."""
    error = truth.std(0) / math.sqrt(len(x))
    spectrum = _spectrum(x)
    sizes, true = (np.sort((each > 0.5).sum((1, 2, 3))) for each in (x, truth))
    places = np.arange(true.max() + 2)
    steps = [np.searchsorted(each, places, "right") / len(each) for each in (sizes, true)]
    return {
        "mean over places, root mean square in standard errors": float(
            np.sqrt((((x.mean(0) - truth.mean(0)) / error) ** 2).mean())
        ),
        "total variance, over the law's": float(spectrum.sum() / law.sum()),
        **{f"eigenvalue {k + 1} of the covariance, over the law's": float(spectrum[k] / law[k]) for k in (0, 2, 5, 9)},
        "sizes of blobs, largest distance of the distributions": float(np.abs(steps[0] - steps[1]).max()),
        "greatest value, mean": float(x.max((1, 2, 3)).mean()),
    }


def _spectrum(x: Floats) -> Floats:
    """The eigenvalues of the covariance over places, the largest first."""
    flat = (x - x.mean(0)).reshape(len(x), -1)
    small = flat @ flat.T if len(flat) < flat.shape[1] else flat.T @ flat
    return np.linalg.eigvalsh(small / len(flat))[::-1]


def _write(path: Path, names: Sequence[str], rows: Rows) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])


MEASURED: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "table": lambda changes: measured_table(table, changes),
    "clinic": lambda changes: measured_table(clinic, changes),
    "blobs": measured_blobs,
}


def main() -> None:
    """Measures, and prints rows of a table as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(MEASURED)}; all if none are named")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the trainings, as key=value")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print("| data | figure | from the table | from the law | data from the law | asked |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    for name in arguments.names or MEASURED:
        print("\n".join(MEASURED[name](arguments.set)), flush=True)


if __name__ == "__main__":
    main()
