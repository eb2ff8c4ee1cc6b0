"""``carrara evaluate``: measures a run on the data that were held out of its training."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from carrara import pixels
from carrara.errors import unknown
from carrara.files import replacing
from carrara.measure.measurement import MeasureSettings, MetricResult
from carrara.measure.metrics import METRICS
from carrara.measure.subject import Subject
from carrara.recipe.kinds import kind_of
from carrara.store import Store


def measure_run(
    folder: Path, metrics: str | None, device: torch.device, settings: MeasureSettings | None = None
) -> Iterator[tuple[MetricResult, list[Path]]]:
    """Measures a run, and writes each metric to its ``evaluation/``.

    Args:
        metrics: names, with commas between; None is what suits the run.
        settings: how to measure.

    Raises:
        UserError: an unknown metric, or one that the run does not have; its data are gone.
    """
    names = metrics.split(",") if metrics else []
    for name in names:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    subject = Subject(Store(device).open(folder), settings or MeasureSettings())
    for name in names or [kind_of(subject.data.recipe).usual(subject.model)]:
        result = METRICS[name].measure(subject)
        about = {"step": subject.model.about.get("step"), "weights": subject.model.digest()}
        yield result, _write(folder / "evaluation" / name, result, about)


def _write(target: Path, result: MetricResult, about: Mapping[str, Any]) -> list[Path]:
    """Writes numbers, of which weights they are, and the picture; a later measurement takes an earlier one's place."""
    numbers = target.with_suffix(".json")
    with replacing(numbers) as file:
        file.write(json.dumps({**result.data, "measured": about}, indent=2).encode())
    if result.picture is None:
        return [numbers]
    return [numbers, pixels.save_png(result.picture, target.with_suffix(".png"), overwrite=True)]
