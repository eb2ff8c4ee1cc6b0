"""One labelled picture of what a setting does: a row for each wish, a column for each value."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
import yaml
from PIL import Image

from carrara import pixels
from carrara.errors import UserError, unknown
from carrara.model import AnyModel
from carrara.recipe.sampling import Request, Watch, collect, draw, settings
from carrara.sample import SampleSettings


def read_variation(text: str) -> tuple[str, list[Any]]:
    """Reads ``guidance=1,3,6`` into the setting's name and its values.

    Raises:
        UserError: it is not of this form, or there is no such setting.
    """
    name, equals, listed = text.partition("=")
    values = [value.strip() for value in listed.split(",")]
    if not (name and equals and all(values)):
        raise UserError(f"'{text}' varies nothing: say a setting and its values, as in guidance=1,3,6")
    if name != "seed" and name not in {field.name for field in fields(SampleSettings)}:
        raise unknown("setting", name, [*(field.name for field in fields(SampleSettings)), "seed"])
    numbers = [yaml.safe_load(value) for value in values]
    whole = name in ("seed", "steps")
    return name, [float(number) if isinstance(number, int) and not whole else number for number in numbers]


def sheet(
    model: AnyModel, wanted: Request, changes: Mapping[str, Any], variation: str, watch: Watch = lambda at, _: at
) -> Image.Image:
    """Draws the first sample of each wish once for each value of a setting; all else is the same.

    Args:
        wanted: the request without the variation.
        changes: what the user asked for besides; see ``request``.
        variation: see ``read_variation``; ``seed`` varies the noise.
        watch: for a caller who wants to watch it.

    Raises:
        UserError: a value that the model or the setting does not take.
    """
    name, values = read_variation(variation)
    rows = _rows(wanted)
    columns = [_varied(model, rows, changes, name, value) for value in values]
    drawn = [collect(model, column, watch(draw(model, column), len(rows.seeds))).samples for column in columns]
    if drawn[0].ndim != 4:
        raise UserError("a sheet is made of pictures, and this model makes points")
    headings = [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for value in values]
    x = torch.stack(drawn, dim=1).flatten(0, 1)
    return pixels.grid(x, len(values), row_labels=rows.labels, column_labels=headings)


def _rows(wanted: Request) -> Request:
    """The request for the first sample of each row alone."""
    step = wanted.columns or 1
    first: Sequence[int] = range(0, len(wanted.seeds), step)
    return replace(
        wanted,
        wishes=tuple(wanted.wishes[k] for k in first),
        seeds=tuple(wanted.seeds[k] for k in first),
        columns=None,
        labels=wanted.labels or tuple(wanted.wishes[k] or "" for k in first),
    )


def _varied(model: AnyModel, rows: Request, changes: Mapping[str, Any], name: str, value: Any) -> Request:
    if name == "seed":
        return replace(rows, seeds=(value,) * len(rows.seeds))
    chosen = settings(model, {**changes, name: value}, guided=rows.weak is not None)
    led_away = rows if chosen.guidance != 1 else replace(rows, negative=None, weak=None)
    return replace(led_away, settings=chosen)
