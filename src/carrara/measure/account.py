"""All that a run's folder tells: its recipe, its logs, its health, what was measured, and what its model makes.

What was measured before is read from the run's ``evaluation/``, and pictures that the model drew are taken if they show
what was measured; else a few are drawn. Nothing is measured here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from carrara.errors import UserError
from carrara.evaluate import page
from carrara.kinds import mapping_of
from carrara.measure.health import Finding, examine
from carrara.measure.illustrations import illustrate
from carrara.recipe.loading import load
from carrara.recipe.schema import Recipe
from carrara.store import Store
from carrara.train import read_log
from carrara.train.log import LogLine as LogLine

LONGEST_LIST = 12
"""Numbers of a list that a table has room for."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a run's folder tells.

    Attributes:
        about: what the model knows about its training.
        measured: where measurements are.
        metrics: of each measurement, its numbers by name.
        pictures: what the model makes.
    """

    folder: Path
    recipe: Recipe
    log: Sequence[LogLine]
    held_out: Sequence[LogLine]
    findings: Sequence[Finding]
    about: Mapping[str, Any]
    parameters: int
    measured: Path
    metrics: Mapping[str, Mapping[str, str]]
    pictures: Sequence[page.Figure]


def read_account(folder: Path, device: torch.device, measured: Path | None = None) -> Account:
    """Reads a run, and draws what is missing.

    Args:
        measured: where measurements are; None is its ``evaluation/``.

    Raises:
        UserError: it is no run's folder, or the run is damaged.
    """
    opened = Store(device).open(folder)
    model = opened.model
    if not (folder / "recipe.yaml").is_file():
        raise UserError(f"'{folder}' has no recipe.yaml, and a report is about a whole run: name a run's folder")
    return Account(
        folder=folder,
        recipe=load(folder / "recipe.yaml"),
        log=read_log(folder / "log.jsonl"),
        held_out=read_log(folder / "held_out.jsonl"),
        findings=examine(opened),
        about=model.about,
        parameters=sum(p.numel() for p in model.parameters()),
        measured=measured or folder / "evaluation",
        metrics=read_measurements(folder, model.digest(), measured),
        pictures=illustrate(opened),
    )


def read_measurements(folder: Path, weights: str, measured: Path | None = None) -> dict[str, dict[str, str]]:
    """What was measured, by the names of the files in ``evaluation/``, as one writes numbers for a reader.

    Args:
        weights: the model's digest; what was measured of other weights says so.
        measured: a folder in the place of ``evaluation/``.

    Raises:
        UserError: a file is damaged.
    """
    measurements: dict[str, dict[str, str]] = {}
    for file in sorted((measured or folder / "evaluation").glob("*.json")):
        try:
            values = mapping_of(json.loads(file.read_bytes()))
        except ValueError:
            values = None
        if values is None:
            raise UserError(f"'{file}' is damaged: remove it, or measure again")
        of: Mapping[str, Any] = values.get("measured", {})
        results = {name: value for name, value in values.items() if name != "measured"}
        rows = {name: text for name, text in page.leaves(_brief(results)) if text != page.MISSING}
        if of.get("weights", weights) != weights:
            rows = {"note": f"of an earlier model, step {of.get('step', '?')}", **rows}
        measurements[file.stem] = rows
    return measurements


def _brief(values: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers without long lists; a value with its error as one."""
    return {name: _short(value) for name, value in values.items() if not _is_long(value)}


def _short(value: Any) -> Any:
    match value:
        case {"value": number, "error": error}:
            return f"{number:.4g} ± {error:.1g}"
        case dict():
            return _brief(cast(dict[str, Any], value))
        case _:
            return value


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(cast(list[Any], value)) > LONGEST_LIST


def training_time(log: Sequence[LogLine]) -> list[tuple[str, str]]:
    """How long a run took, and how fast it was: at the end, and in all."""
    if not log:
        return []
    last, late = log[-1], log[-max(2, len(log) // 10)] if len(log) > 1 else log[-1]
    seconds, passed = last["seconds"], last["seconds"] - late["seconds"]
    rows = [("minutes", f"{seconds / 60:.1f}"), ("steps", f"{last['step']:,}"), ("images", f"{last['images']:,}")]
    if seconds > 0:
        rows.append(("images a second", f"{last['images'] / seconds:.1f}, previews and saves included"))
    if passed > 0:
        rows.append(("images a second at the end", f"{(last['images'] - late['images']) / passed:.1f}"))
    return rows
