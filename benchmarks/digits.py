"""Are the demo's digits read as what was asked for? Recipes for digits after the same number of steps.

    python benchmarks/digits.py OUT [--steps 300] [--seeds 0,1] [--name NAME] [--draw "steps=12"] [key=value ...]

Trains the preset ``digits``, or another (``--preset``, ``--data``), with ``key=value`` changed, and draws 64 of each of
its ten classes in each way that ``--draw`` says (``weak=early``: led away from its earlier self; a ``grid`` with
settings is JSON without spaces). Prints a row each:

* read: the share of samples that a classifier reads as the digit that was asked for, and the digit that it reads worst.
  It is a small convolutional network of its own, trained on four fifths of the real digits, shifted and noised a
  little; what it reads of the last fifth is printed first. No generator is led by it.
* the kernel distance x 1000 to all real pictures, with the features of EfficientNet-lite0 at 96 px. Guidance that
  makes all threes the same three reads well and is far from the data.
* the energy distance x 1000 of their pixels to those of the real pictures of the same class, as a part of the distance
  between two of these: no network has a say, and it is 0 if and only if both are distributed alike.
* steps a minute, of the median step; of a training that was done before, none.

Only the kernel distance is meant where the data are others than digits.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from machine import described
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from carrara import evaluate, pixels
from carrara.data import batch_of
from carrara.device import default_device
from carrara.draw import Ask, finish, request, sample
from carrara.evaluate.features import Features
from carrara.memory import keep_freed
from carrara.pixels import rounded
from carrara.recipe import Recipe, build
from carrara.run.plan import plan
from carrara.run.session import Session
from carrara.store import OpenModel, Store

EACH, BATCH, SHOWN, FEATURES = 64, 64, 12, 96
READER_STEPS, HELD = 600, 5


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads digits, and how well it reads real ones that it was not trained on."""

    network: nn.Module
    accuracy: float

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """The digit of each of (N, 1, 16, 16) in [-1, 1]."""
        return torch.cat([self.network(part).argmax(1) for part in x.split(256)])


def reader(x: Tensor, labels: Tensor) -> Reader:
    """Trains the reader on all but each fifth of (N, 1, 16, 16)."""
    held = torch.arange(len(x)) % HELD == 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = list[nn.Module]()
        for inp, out in ((1, 24), (24, 48), (48, 96)):
            layers += [nn.Conv2d(inp, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
        network = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(96 * 4, 10))
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=READER_STEPS)
        own, said = x[~held], labels[~held]
        for _ in range(READER_STEPS):
            k = torch.randint(len(own), (BATCH,))
            loss = cross_entropy(network(varied(own[k])), said[k], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    network.eval()
    right = Reader(network=network, accuracy=0.0)(x[held]) == labels[held]
    return Reader(network=network, accuracy=right.double().mean().item())


def varied(x: Tensor) -> Tensor:
    """The same digits, shifted by up to a pixel, and a little noised."""
    dy, dx = torch.randint(-1, 2, (2,)).tolist()
    return torch.roll(x, (dy, dx), (2, 3)) + 0.1 * torch.randn_like(x)


def trained(folder: Path, data: str, preset: str, changes: Sequence[str]) -> float:
    """Trains, unless that was done; steps a minute, 0 if it was."""
    (stage,) = plan(data, preset, folder, changes).stages
    times = [perf_counter() for event in Session(stage, default_device()) if hasattr(event, "images")]
    return 60 / median(b - a for a, b in pairwise(times)) if len(times) > 2 else 0.0


def drawn(opened: OpenModel, folder: Path, way: str, each: int) -> Tensor:
    """So many samples of each class, the same seeds for each way; as many in all of a model that knows no classes."""
    said: dict[str, Any] = dict(part.split("=") for part in way.split())
    if said.get("grid", "").startswith("{"):
        said["grid"] = json.loads(said["grid"])
    if "weak" in said:
        said["weak"] = folder / said["weak"]
    if "interval" in said:
        said["interval"] = said["interval"].split(",")
    classes = tuple(getattr(opened.model.conditioner, "classes", ()))
    ask = TypeAdapter(Ask).validate_python({**said, "prompts": classes, "count": each if classes else 10 * each})
    return rounded(finish(sample(opened, request(opened, ask))))


def energy(x: Tensor, y: Tensor) -> float:
    """The energy distance of (M, S) and (N, S), over the mean distance within y (Szekely and Rizzo, 2013)."""
    own, theirs = torch.pdist(x).mean(), torch.pdist(y).mean()
    return ((2 * torch.cdist(x, y).mean() - own - theirs) / theirs).item()


def apart(x: Tensor, real: Tensor, labels: Tensor) -> float:
    """``energy``, class by class, where x has the same number of each class."""
    classes = int(labels.max()) + 1
    parts = x.flatten(1).chunk(classes)
    return sum(energy(part, real[labels == k].flatten(1)) for k, part in enumerate(parts)) / classes


@dataclass(frozen=True, kw_only=True)
class Scales:
    """What samples are held against: real pictures (N, C, H, W), their labels and features, and a reader of digits."""

    real: Tensor
    labels: Tensor
    network: Features
    features: Tensor
    reader: Reader | None

    def row(self, x: Tensor) -> str:
        """The last columns of the table: of samples (N, C, H, W), the same number of each class."""
        share, worst, asked = "", "", torch.arange(10).repeat_interleave(len(x) // 10)
        if self.reader:
            right = (self.reader(x) == asked).double().reshape(10, -1).mean(1)
            share, worst = f"{right.mean():.1%}", f"{right.argmin()}: {right.min():.0%}"
        own = torch.cat(list(evaluate.extract(self.network, x.split(BATCH))))
        found = evaluate.kernel_distance(own, self.features)
        kid = f"{1000 * found.value:.0f} ± {1000 * found.error:.0f}"
        return f"{share} | {worst} | {kid} | {1000 * apart(x, self.real, self.labels):.0f}"


def scales(data: str, recipe: Recipe) -> Scales:
    """Opens the data and trains the reader, if it is digits that are to be read."""
    dataset, network = build.dataset(recipe), evaluate.extractor(size=FEATURES)
    batch = batch_of(dataset, build.transform(recipe), range(len(dataset)))
    named = batch.columns.get("label")
    labels = torch.zeros(len(batch.x), dtype=torch.long) if named is None else named.argmax(1)
    return Scales(
        real=batch.x,
        labels=labels,
        network=network,
        features=torch.cat(list(evaluate.extract(network, batch.x.split(BATCH)))),
        reader=reader(batch.x, labels) if data == "digits" else None,
    )


def main(given: argparse.Namespace) -> None:
    """Prints the table."""
    keep_freed()
    common = ["train.minutes=null", f"train.steps={given.steps}", "preview.every=0", "checkpoint.every=100000"]
    planned = plan(given.data, given.preset, given.out / "none", [*common, *given.changes])
    held = scales(given.data, planned.recipe)
    print(f"{described()}; {given.steps} steps, {10 * given.each} samples; {held.network.name}")
    if held.reader:
        print(f"the reader reads {held.reader.accuracy:.1%} of the real digits that were held out")
    print("\n| recipe | seed | steps/min | drawn by | read as asked | worst | KID x 1000 | pixels x 1000 |")
    print("|---|---|---|---|---|---|---|---|")
    for seed in given.seeds:
        folder = given.out / f"{given.name}-{seed}"
        rate = trained(folder, given.data, given.preset, [*common, *given.changes, f"seed={seed}"])
        opened = Store().open(folder)
        for way in given.draw:
            x = drawn(opened, folder, way, given.each)
            print(f"| {given.name} | {seed} | {rate:.0f} | {way} | {held.row(x)} |", flush=True)
            rows = x.reshape(10, given.each, *x.shape[1:])[:, :SHOWN].flatten(0, 1)
            pixels.grid(rows, SHOWN).convert("RGB").save(folder / f"{way or 'own'}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("changes", nargs="*")
    parser.add_argument("--name", default="preset")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--preset", default="digits")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--each", type=int, default=EACH, help="samples of each class")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0])
    parser.add_argument("--draw", action="append", help="options of sampling; several times for several ways")
    chosen = parser.parse_intermixed_args()
    chosen.draw = chosen.draw or [""]
    main(chosen)
