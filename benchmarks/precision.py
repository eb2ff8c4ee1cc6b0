"""Does bfloat16 train as well as float32? Handwritten digits, the same seeds, both numbers.

    python benchmarks/precision.py [--steps 2000] [--seeds 0,1,2]

Writes benchmarks/results/precision.md and a plot. A seed fixes initial weights, order, times and noise, so the two
curves of a seed differ by rounding alone; how much the seeds differ among themselves is the noise that this is held
against. Losses are averaged over ``WINDOW`` steps.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
from machine import described

from carrara import plots
from carrara.memory import keep_freed
from carrara.model import DiffusionModel
from carrara.recipe import build
from carrara.recipe.loading import load
from carrara.recipe.resolve import resolve
from carrara.train import TrainState, train

WINDOW = 100
NUMBERS = ("float32", "bfloat16")
RESULTS = Path(__file__).parent / "results"


def losses(precision: str, seed: int, steps: int) -> tuple[np.ndarray, float, int]:
    """The loss of each step, the seconds of all, and how many parameters the network has."""
    recipe = load(
        "digits", [f"seed={seed}", f"train.steps={steps}", f"train.precision={precision}", "sample.guidance=1"]
    )
    data = build.dataset(recipe)
    recipe = resolve(recipe, data.info, "cpu").recipe
    training, _ = build.parts(recipe, data)
    model = build.model(recipe)
    assert isinstance(model, DiffusionModel)
    state, begun = TrainState(build.objective(recipe, model), recipe.train), perf_counter()
    found = [report.loss for report in train(state, build.loader(recipe, training).batches, recipe.train, seed=seed)]
    return np.array(found), perf_counter() - begun, sum(p.numel() for p in model.denoiser.parameters())


def main(steps: int, seeds: Sequence[int]) -> None:
    """Trains all, and writes the table and the plot."""
    curves: Mapping[str, list[np.ndarray]] = {name: [] for name in NUMBERS}
    lines = [
        "# The same losses in bfloat16",
        "",
        f"`python benchmarks/precision.py --steps {steps} --seeds {','.join(map(str, seeds))}`",
        "",
        "| seed | float32 | bfloat16 | difference |",
        "|---|---|---|---|",
    ]
    size = 0
    for seed in seeds:
        for name in NUMBERS:
            curve, seconds, size = losses(name, seed, steps)
            curves[name].append(curve)
            print(f"{name}, seed {seed}: {seconds:.0f} s", flush=True)
        last = [curves[name][-1][-steps // 4 :].mean() for name in NUMBERS]
        lines.append(f"| {seed} | {last[0]:.5f} | {last[1]:.5f} | {last[1] - last[0]:+.5f} |")
    smooth = {
        name: np.stack([c[: steps // WINDOW * WINDOW].reshape(-1, WINDOW).mean(1) for c in curves[name]])
        for name in NUMBERS
    }
    apart = np.abs(smooth["bfloat16"] - smooth["float32"])
    among = smooth["float32"].std(0, ddof=1)
    lines += [
        "",
        f"Means of the last {steps // 4} of {steps} steps; {size / 1e6:.1f} million parameters; {described()}",
        "",
        f"Averaged over windows of {WINDOW} steps: a seed's two curves are {apart.mean():.5f} apart (at most "
        f"{apart.max():.5f}); the seeds' standard deviation in float32 is {among.mean():.5f}.",
    ]
    RESULTS.joinpath("precision.md").write_text("\n".join(lines) + "\n")
    print(*lines, sep="\n")
    middles = (np.arange(steps // WINDOW) + 0.5) * WINDOW
    chart = plots.Chart(
        title="Training loss of digits",
        lines=[
            plots.Line(name=f"{name}, seed {seed}", x=middles.tolist(), y=smooth[name][k].tolist())
            for k, seed in enumerate(seeds)
            for name in NUMBERS
        ],
        x_label="step",
        y_label="loss",
        log_y=True,
    )
    chart.picture().save(RESULTS / "precision.png")


if __name__ == "__main__":
    keep_freed()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2])
    given = parser.parse_args()
    main(given.steps, given.seeds)
