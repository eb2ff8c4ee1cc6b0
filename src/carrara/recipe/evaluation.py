"""``carrara evaluate``: measures a run on the data that were held out of its training."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch

from carrara import evaluate, pixels
from carrara.autoencoder import Identity, PerceptualConfig
from carrara.data import batch_of
from carrara.errors import UserError
from carrara.evaluate import ReconstructionReport
from carrara.recipe import build
from carrara.recipe.folder import open_model
from carrara.recipe.loading import load
from carrara.types import Batch

BATCH = 32


def reconstruction(folder: Path, device: torch.device) -> tuple[ReconstructionReport, list[Path]]:
    """Measures how well a run's first stage gives held-out pictures back, and writes it to ``evaluation/``.

    Raises:
        UserError: the run diffuses in pixels, or its data are gone.
    """
    model = open_model(folder).to(device)
    if isinstance(model.first_stage, Identity):
        raise UserError(f"'{folder}' diffuses in pixels, so there is no reconstruction to measure")
    recipe = load(folder / "recipe.yaml")
    training, held_out = build.parts(recipe, build.dataset(recipe))
    data = held_out if len(held_out) else training

    def batches() -> Iterator[Batch]:
        for first in range(0, len(data), BATCH):
            part = range(first, min(first + BATCH, len(data)))
            yield batch_of(data, build.transform(recipe), part).to(device)

    report = evaluate.reconstruction(model.first_stage, batches(), PerceptualConfig().build().to(device))
    target = folder / "evaluation" / "reconstruction.json"
    with pixels.replacing(target) as file:
        file.write(json.dumps(report.data(), indent=2).encode())
    return report, [target, pixels.save_png(report.picture, target.with_suffix(".png"), overwrite=True)]
