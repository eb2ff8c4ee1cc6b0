"""How much faster is training with cached latents and captions than encoding them at every step?

    python benchmarks/cached.py RUN

RUN is what `carrara train openmoji --preset openmoji-text` made, or any run that reads captions and diffuses in
latents. Steps of both kinds take turns in one process, in the precision of the run's training; the ratio is that of
the medians. A step is the gradient and AdamW's update; preparing its batch counts too, on the same cores. Without the
caches, each picture and one caption of each are encoded; prepared pictures are in memory in both cases.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from machine import described

from carrara.conditioning import TextConditioner
from carrara.model import DiffusionModel
from carrara.objective import Objective
from carrara.recipe import build
from carrara.recipe.loading import load
from carrara.seeds import Draws
from carrara.store.latents import cache_for, captioned
from carrara.store.runs import open_model
from carrara.train import autocast
from carrara.types import Batch

ROUNDS, WARM = 20, 3


def stepper(objective: Objective, batches: Callable[[int], Batch], precision: str) -> Callable[[int], None]:
    """A training step with everything that it needs."""
    parameters = [p for group in objective.roles().values() for p in group]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)

    def step(k: int) -> None:
        batch = batches(k)
        with autocast(precision, batch.x.device):  # type: ignore[arg-type]
            loss = objective(batch, "main", Draws(0, batch.position, k)).per_sample.mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def told(batch: Batch, captions: Sequence[str], conditioner: TextConditioner) -> Batch:
    """The batch with captions that are encoded now; which ones makes no difference to the time."""
    first = int(batch.position[0])
    rows = conditioner.rows([captions[(first + j) % len(captions)] for j in range(len(batch))])
    lengths = torch.tensor([len(row) for row in rows])
    text = np.zeros((len(rows), int(lengths.max()), *rows[0].shape[1:]), rows[0].dtype)
    for k, row in enumerate(rows):
        text[k, : len(row)] = row
    columns = {"text": torch.from_numpy(text), "text_mask": torch.arange(text.shape[1]) < lengths[:, None]}
    return replace(batch, columns=columns)


def main(run: Path) -> None:
    """Prints the table."""
    recipe = load(run / "recipe.yaml")
    training, _ = build.parts(recipe, build.dataset(recipe))
    model = open_model(run)
    assert isinstance(model, DiffusionModel) and isinstance(model.conditioner, TextConditioner)
    conditioner, precision = model.conditioner, recipe.train.precision
    captions = [caption for k in range(len(training)) for caption in training.captions(k)]
    with tempfile.TemporaryDirectory() as folder:
        cache, table = (
            cache_for(Path(folder), build.transform(recipe), model, training),
            model.captions(Path(folder)),
        )
        assert cache is not None and table is not None
        list(cache.complete())
        list(table.complete(training))
        encoded = build.loader(recipe, captioned(cache.opened(), table))
        pictures = build.loader(recipe, training)
        steps = {
            "encoded at every step": stepper(
                build.objective(recipe, model).train(),
                lambda k: told(pictures.at(k), captions, conditioner),
                precision,
            ),
            "cached": stepper(build.objective(recipe, model, encoded=True).train(), encoded.at, precision),
        }
        times: dict[str, list[float]] = {name: [] for name in steps}
        for k in range(ROUNDS + WARM):
            for name, step in steps.items():
                begun = perf_counter()
                step(k)
                if k >= WARM:
                    times[name].append(perf_counter() - begun)
    print(f"{described()}; batches of {recipe.train.batch}\n")
    print("| | images a second |\n|---|---|")
    for name, seconds in times.items():
        print(f"| {name} | {recipe.train.batch / median(seconds):.1f} |")
    slow, fast = (median(seconds) for seconds in times.values())
    print(f"\nratio {slow / fast:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
