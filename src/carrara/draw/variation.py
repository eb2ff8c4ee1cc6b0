"""One labelled picture of what a setting does: a row for each wish, a column for each value."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import yaml
from PIL import Image
from torch import Tensor

from carrara import pixels
from carrara.draw.ask import settings
from carrara.draw.generate import Progress, follow, sample
from carrara.draw.request import Request
from carrara.errors import UserError, known
from carrara.files import Malformed, parse_yaml
from carrara.sample import SampleSettings
from carrara.shapes import spatial_of
from carrara.store import OpenModel


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A setting and its values; ``seed`` varies the noise."""

    name: str
    values: tuple[Any, ...]


def read_variation(text: str) -> Sweep:
    """Reads ``guidance=1,3,6``.

    Raises:
        UserError: it is not of this form, or there is no such setting.
    """
    name, equals, listed = text.partition("=")
    values = [value.strip() for value in listed.split(",")]
    if not (name and equals and all(values)):
        raise UserError(f"'{text}' varies nothing: say a setting and its values, as in guidance=1,3,6")
    name = known("setting", name, [*(field.name for field in fields(SampleSettings)), "seed"])
    numbers = [_value(value) for value in values]
    whole = name in ("seed", "steps")
    read = (float(number) if isinstance(number, int) and not whole else number for number in numbers)
    return Sweep(name=name, values=tuple(read))


def _value(text: str) -> Any:
    try:
        return parse_yaml(text).values
    except (yaml.MarkedYAMLError, Malformed):
        raise UserError(f"the value '{text[:40]}' cannot be read: say a number or a name") from None


def draw_variation(
    opened: OpenModel, request: Request, changes: Mapping[str, Any], variation: Sweep
) -> Generator[Progress, None, Image.Image]:
    """Draws the first sample of each wish once for each value of a setting; all else is the same.

    Args:
        request: without the variation.
        changes: what the user asked of the settings besides.

    Raises:
        UserError: a value that the model or the setting does not take.
    """
    rows, columns = _rows(request), list[Tensor]()
    varied = [_varied(opened, rows, changes, variation.name, value) for value in variation.values]
    if spatial_of(opened.model.shape) != 2:
        raise UserError(f"a sheet is made of pictures, and this model makes {opened.model.medium.name}")
    for column in varied:
        columns.append((yield from follow(sample(opened, column))))
    headings = [f"{variation.name} {_written(value)}" for value in variation.values]
    x = torch.stack(columns, dim=1).flatten(0, 1)
    return pixels.grid(x, len(columns), row_labels=rows.labels, column_labels=headings)


def _rows(request: Request) -> Request:
    """The request for the first sample of each row alone."""
    first: Sequence[int] = range(0, len(request.seeds), request.columns or 1)
    return replace(
        request,
        wishes=tuple(request.wishes[k] for k in first),
        seeds=tuple(request.seeds[k] for k in first),
        columns=None,
        labels=request.labels or tuple(request.wishes[k] or "" for k in first),
    )


def _varied(opened: OpenModel, rows: Request, changes: Mapping[str, Any], name: str, value: Any) -> Request:
    if name == "seed":
        return replace(rows, seeds=(value,) * len(rows.seeds))
    chosen = settings(opened.model, {**changes, name: value}, guided=rows.weak is not None)
    led_away = rows if chosen.guidance != 1 else replace(rows, negative=None, weak=None)
    return replace(led_away, settings=chosen)


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
