"""All that a run's folder tells: its recipe, its logs, its health, what was measured, and what its model makes.

What was measured before is read from the run's ``evaluation/``, and pictures that the model drew are taken if they show
what was measured; else a few are drawn. Nothing is measured here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import torch
from pydantic import Field

from carrara.errors import UserError
from carrara.evaluate import page
from carrara.files import BadFile, Malformed, as_kind, is_regular, lies_in, read_as
from carrara.measure.health import Finding, examine
from carrara.measure.illustrations import illustrate
from carrara.recipe.loading import load
from carrara.recipe.schema import Recipe
from carrara.saved import Count
from carrara.store import Store
from carrara.train import read_log, read_training
from carrara.train.log import LogLine as LogLine

LONGEST_LIST = 12
"""Numbers of a list that a table has room for."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of which model something was measured: its digest, and the step of its training."""

    weights: Annotated[str, Field(max_length=64)] | None = None
    step: Count | None = None


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
    if not is_regular(folder / "recipe.yaml") or not lies_in(folder / "recipe.yaml", folder):
        raise UserError(f"'{folder}' has no recipe.yaml, and a report is about a whole run: name a run's folder")
    return Account(
        folder=folder,
        recipe=load(folder / "recipe.yaml"),
        log=read_training(folder / "log.jsonl"),
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
    if measured is None and not lies_in(folder / "evaluation", folder):
        raise UserError(f"'{folder / 'evaluation'}' leads out of the run's folder: put a folder in its place")
    measurements: dict[str, dict[str, str]] = {}
    for file in sorted((measured or folder / "evaluation").glob("*.json")):
        try:
            values = read_as(file, dict[str, Any])
            of = as_kind(values.get("measured", {}), Measured)
        except (BadFile, Malformed) as error:
            why = error.why if isinstance(error, BadFile) else str(error)
            raise UserError(f"'{file}' is damaged (it {why}): remove it, or measure again") from None
        results = {name: value for name, value in values.items() if name != "measured"}
        rows = {name: text for name, text in page.leaves(_brief(results)) if text != page.MISSING}
        if of.weights is not None and of.weights != weights:
            rows = {"note": f"of an earlier model, step {'?' if of.step is None else of.step}", **rows}
        measurements[file.stem] = rows
    return measurements


def _brief(values: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers without long lists; a value with its error as one."""
    return {name: _short(value) for name, value in values.items() if not _is_long(value)}


def _short(value: Any) -> Any:
    match value:
        case {"value": int() | float() as number, "error": int() | float() as error}:
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
