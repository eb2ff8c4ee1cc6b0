"""``carrara evaluate``: measures a run on the data that were held out of its training."""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from carrara import pixels
from carrara.errors import known, option
from carrara.files import NotWritten, replacing
from carrara.measure.measurement import MeasureSettings, MetricResult
from carrara.measure.metrics import METRICS
from carrara.measure.subject import Subject
from carrara.ranks import in_all, rank
from carrara.recipe.kinds import kind_of
from carrara.store import Store


def measure_run(
    folder: Path,
    metrics: str | None,
    device: torch.device,
    settings: MeasureSettings | None = None,
    out: Path | None = None,
) -> Iterator[tuple[MetricResult, list[Path]]]:
    """Measures a run, and writes each metric to its ``evaluation/``. What cannot be written is measured all the same.
    Processes that were started together share the work, and the first one writes.

    Args:
        metrics: names, with commas between; None is what suits the run.
        settings: how to measure.
        out: a folder in the place of ``evaluation/``.

    Yields:
        What was measured, and the files in which it was written: none where the disk refuses.

    Raises:
        NotWritten: in the end, if anything could not be written.
        UserError: an unknown metric, or one that the run does not have; its data are gone.
    """
    names = [known("metric", name, METRICS) for name in (metrics.split(",") if metrics else [])]
    subject = Subject(Store(device).open(folder), settings or MeasureSettings())
    refused: NotWritten | None = None
    for name in names or [kind_of(subject.data.recipe).usual(subject.model)]:
        result = METRICS[name].measure(subject)
        about = {"step": subject.model.about.get("step"), "weights": subject.model.digest()}
        target, within, paths = (out or folder / "evaluation") / name, folder if out is None else None, list[Path]()
        try:
            paths = in_all(partial(_write, target, result, about, within))
        except NotWritten as error:
            refused = error
        yield result, paths
    if refused is not None:
        raise NotWritten(f"{refused.message}; {option('out', 'FOLDER')} names another folder") from refused


def _write(target: Path, result: MetricResult, about: Mapping[str, Any], within: Path | None) -> list[Path]:
    """Writes numbers, of which weights they are, and the picture; a later measurement takes an earlier one's place. Of
    several processes the first one writes."""
    if rank() > 0:
        return []
    numbers = target.with_suffix(".json")
    with replacing(numbers, within=within) as file:
        file.write(json.dumps({**result.data, "measured": about}, indent=2).encode())
    if result.picture is None:
        return [numbers]
    return [numbers, pixels.save_png(result.picture, target.with_suffix(".png"), overwrite=True, within=within)]
