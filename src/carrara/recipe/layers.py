"""Where each key of a recipe came from, and how recipes are layered.

A recipe is read from a preset, then a YAML file, then ``key=value`` arguments. Each layer is a tree of plain values in
which every key remembers its place ("photos.yaml, line 12"), so that an error can name it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from carrara.errors import UserError
from carrara.files import BadFile, Malformed, check_format, parse_yaml, read_text, shown
from carrara.files.documents import DEPTH, RECIPE
from carrara.kinds import mapping_of, spell_out
from carrara.recipe.names import KeyPath, spelled_path, spelled_values


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A tree of plain values, and the place where each of its keys was written."""

    values: Mapping[str, Any]
    places: Mapping[KeyPath, str]


def from_yaml(text: str, name: str) -> Layer:
    """Reads YAML, with line numbers.

    Raises:
        UserError: it is not YAML, or not a mapping, or names a key twice, with the line; or a newer version wrote it.
    """
    try:
        read = parse_yaml(text)
    except Malformed as error:
        raise UserError(f"{name}: this is not valid YAML (it {error})") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{name}{line}: this is not valid YAML ({error.problem})") from error
    if read.values is None:
        return Layer(values={}, places={})
    if (values := mapping_of(read.values)) is None:
        raise UserError(
            f"{name}: a recipe is a mapping of keys to values, such as 'train:' and below it '  steps: 1000'"
        )
    check_format(values, name)
    places: dict[KeyPath, str] = {}
    for path, line in ((spelled_path(written), line) for written, line in read.lines):
        place = f"{name}, line {line}"
        if path in places:
            raise UserError(f"{place}: the key '{'.'.join(path)}' stands here a second time (first: {places[path]})")
        places[path] = place
    others = {key: value for key, value in values.items() if (key, value) != ("format", 1)}
    return Layer(values=spelled_values(others), places=places)


def from_arguments(arguments: Sequence[str]) -> Layer:
    """Reads ``key=value`` arguments; values are YAML, so ``train.steps=1000`` is a number.

    Raises:
        UserError: an argument has no ``=``, or its value is not YAML.
    """
    values: dict[str, Any] = {}
    places: dict[KeyPath, str] = {}
    for argument in arguments:
        (key, equals, text), said = argument.partition("="), shown(argument)
        if not equals or not key:
            raise UserError(f"'{said}' is not of the form key=value, such as train.steps=1000")
        try:
            value = parse_yaml(text).values
        except (yaml.MarkedYAMLError, Malformed):
            raise UserError(f"the value in '{said}' cannot be read: put it in quotes") from None
        if key.count(".") >= DEPTH:
            raise UserError(f"'{said[:40]}...' is nested more than {DEPTH} deep: name a key of a recipe")
        path = spelled_path(key.split("."))
        values = merge(values, _nested(path, spelled_values(value, path)))
        places[path] = f"argument '{said}'"
    return Layer(values=values, places=places)


def from_file(path: Path) -> Layer:
    """Reads a recipe file."""
    try:
        return from_yaml(read_text(path, RECIPE), str(path))
    except BadFile as error:
        raise UserError(f"the recipe '{path}' cannot be read: it {error.why}") from None


def over(below: Layer, above: Layer) -> Layer:
    """Lays one layer over another."""
    return Layer(values=merge(below.values, above.values), places={**below.places, **above.places})


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merges two trees key by key. A member of another ``kind`` replaces the one below instead of being mixed with it,
    and naming a run's ``minutes`` takes back its ``steps``, or the other way round."""
    merged = dict(below)
    for key, new in above.items():
        merged[key] = _laid(merged.get(key), new)
        if key in ("steps", "minutes") and new is not None:
            merged.pop("minutes" if key == "steps" else "steps", None)
    return merged


def _laid(old: Any, new: Any) -> Any:
    below, above = mapping_of(spell_out(old)), mapping_of(new)
    if below is None or above is None:
        return new
    kinds = below.get("kind"), above.get("kind")
    return merge(below, above) if None in kinds or kinds[0] == kinds[1] else new


def _nested(path: KeyPath, value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return value
