"""``carrara evaluate``: measures a run on the data that were held out of its training."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from carrara import pixels
from carrara.errors import unknown
from carrara.recipe.folder import open_model
from carrara.recipe.measures import METRICS, usual
from carrara.recipe.subject import How, Measured, Subject


def measure_run(
    folder: Path, metrics: str | None, device: torch.device, how: How | None = None
) -> Iterator[tuple[Measured, list[Path]]]:
    """Measures a run, and writes each metric to its ``evaluation/``.

    Args:
        metrics: names, with commas between; None is the reconstruction of an autoencoder, and the likelihood of others.
        how: to measure.

    Raises:
        UserError: an unknown metric, or one that the run does not have; its data are gone.
    """
    names = metrics.split(",") if metrics else []
    for name in names:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    subject = Subject(folder, open_model(folder).to(device), how or How())
    names = names or [usual(subject)]
    for name in names:
        measured = METRICS[name](subject)
        about = {"step": subject.model.about.get("step"), "weights": subject.model.digest()}
        yield measured, _written(folder / "evaluation" / name, measured, about)


def _written(target: Path, measured: Measured, about: Mapping[str, Any]) -> list[Path]:
    """Writes numbers, of which weights they are, and the picture; a later measurement takes an earlier one's place."""
    numbers = target.with_suffix(".json")
    with pixels.replacing(numbers) as file:
        file.write(json.dumps({**measured.data, "measured": about}, indent=2).encode())
    if measured.picture is None:
        return [numbers]
    return [numbers, pixels.save_png(measured.picture, target.with_suffix(".png"), overwrite=True)]
