"""How often does a model that knows no classes draw the one that a classifier asks it for?

    carrara train digits --run runs/plain model.conditioner=none sample.guidance=1 train.steps=800
    carrara train digits --preset classifier --run runs/judge data.size=16 train.steps=800
    carrara train digits --preset classifier --run runs/referee data.size=16 train.steps=800 seed=1
    python benchmarks/classifier_guidance.py runs/plain runs/judge runs/referee guided.png

The judge guides, and the referee, another training of the same kind, says what it sees in the finished samples. The
picture has a row for each class at ``SHOWN``.
"""

import sys
from pathlib import Path

import torch
from machine import described
from torch import Tensor

from carrara import pixels
from carrara.classifier import Classifier
from carrara.draw import Ask, collect, request
from carrara.store import OpenModel, Store
from carrara.store.runs import open_classifier

SCALES, SHOWN, COUNT = (0.0, 1.0, 2.0, 4.0, 8.0), 4.0, 32
CLEAN = 0.02
"""The time at which the referee looks."""


def main(run: Path, judge: Path, referee: Path, out: Path) -> None:
    """Prints the table and draws the picture."""
    opened, sees = Store().open(run), open_classifier(referee)
    print(f"{described()}; {COUNT} samples of each of {len(sees.classes)} classes\n")
    print("| scale | the referee agrees | mean spread of a class's pixels |\n|---|---|---|")
    for scale in SCALES:
        drawn = [guided(opened, judge, name, scale) for name in sees.classes]
        shares = [(seen(sees, x) == k).float().mean() for k, x in enumerate(drawn)]
        spread = torch.stack([x.std(dim=0).mean() for x in drawn]).mean()
        print(f"| {scale:g} | {torch.stack(shares).mean():.1%} | {spread:.3f} |")
        if scale == SHOWN:
            rows = torch.cat([x[:10] for x in drawn])
            pixels.save_png(pixels.grid(rows, 10, row_labels=sees.classes), out, overwrite=True)


def guided(opened: OpenModel, judge: Path, name: str, scale: float) -> Tensor:
    """Samples in which the judge shall find ``name``."""
    ask = Ask(count=COUNT, classifier=judge, label=name, classifier_scale=scale)
    return collect(opened, request(opened, ask)).values


@torch.no_grad()
def seen(referee: Classifier, x: Tensor) -> Tensor:
    """The class of each sample, (B,)."""
    return referee.network(x, *referee.config.schedule(torch.tensor(CLEAN))).argmax(1)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
