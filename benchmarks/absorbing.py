"""Bits per dimension of held-out digits: levels that are masked, beside numbers that are noised.

    python benchmarks/absorbing.py OUT [MODEL ...] [--steps 1000]

All models have the same network but for its first and last layer, are trained for the same steps without labels on the
same 80 % of the handwritten digits as they are (8 x 8 pixels), and measured on the other 20 % by their bounds, 64 terms
drawn for each picture. The data take 17 of the 256 levels of 8 bits. A model of levels is told so; one of numbers has
to learn it, and its bound is of the probability of one in 256. Both are bounds for the same data, in the same unit, but
up to log2(255 / 16) = 3.99 bits of the difference may be that spacing alone.
"""

import argparse
from pathlib import Path

from machine import described

from carrara.device import default_device
from carrara.measure.evaluation import measure_run
from carrara.run.plan import plan
from carrara.run.session import Session

NETWORK = "{kind: unet, channels: 32, multipliers: [1, 2], blocks: 2, attention_levels: [1], modulation: scale_shift}"
COMMON = [
    *("data.held_out=0.2", "data.size=8", "train.minutes=null", "train.lr=2e-3", "preview.every=0"),
    *("model.conditioner=none", "sample.guidance=1", f"model.backbone={NETWORK}"),
]
NOISED = [
    *("model.schedule=cosine", "model.parameterization=v", "objective.times=uniform", "objective.weighting=unit"),
    *("train.optimizer=adamw", "train.decay=0.3", "model.backbone.patch=1"),
]
MODELS: dict[str, tuple[str, list[str]]] = {
    "levels, masked": ("digits-absorbing", []),
    "numbers, v": ("digits", NOISED),
    "numbers, hybrid": ("digits", [*NOISED, "model.parameterization=eps", "objective.loss=hybrid"]),
    "numbers, bound": ("digits", [*NOISED, "objective.loss=bound"]),
}


def measured(out: Path, name: str, steps: int) -> str:
    """Trains, unless that was done, and measures; a row of the table."""
    preset, changes = MODELS[name]
    folder, seconds = out / name.replace(", ", "-"), 0.0
    for stage in plan("digits", preset, folder, [*COMMON, f"train.steps={steps}", *changes]).stages:
        for event in Session(stage, default_device()):
            seconds = getattr(event, "seconds", seconds)
    ((numbers, _),) = measure_run(folder, "nll", default_device())
    nll = numbers.data
    return f"| {name} | {nll['total']:.3f} ± {nll['error']:.3f} | {nll['total'] * 0.6931472:.3f} | {seconds:.0f} |"


def main(out: Path, names: list[str], steps: int) -> None:
    """Prints the table."""
    print(f"{described()}; {steps} steps of training each\n")
    print("| model | bound, bits/dim | nats/dim | seconds of training |\n|---|---|---|---|")
    for name in names:
        print(measured(out, name, steps), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="*", default=[*MODELS], metavar="MODEL", help="; ".join(MODELS))
    parser.add_argument("--steps", type=int, default=1000)
    given = parser.parse_args()
    main(given.out, given.models, given.steps)
