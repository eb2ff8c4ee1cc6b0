"""From a preset, a file and ``key=value`` arguments to a ``Recipe``; all mistakes at once, each with its place."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from carrara.data.settings import BESIDE, migrated
from carrara.errors import UserError, alike, close_match, known, option
from carrara.files import read_text
from carrara.kinds import mapping_of
from carrara.recipe.layers import Layer, from_arguments, from_file, from_yaml, over
from carrara.recipe.names import SOURCE, KeyPath, accepted, all_kinds, leaves, schema
from carrara.recipe.schema import Recipe

DEFAULT = "pixel"
"""The preset that a folder of pictures gets."""


def presets() -> dict[str, str]:
    """The presets by name, with what each is for: the comment in its first line."""
    folder = files("carrara.recipe").joinpath("presets")
    texts = {file.name.removesuffix(".yaml"): read_text(Path(str(file))) for file in folder.iterdir()}
    return {name: text.partition("\n")[0].removeprefix("# ") for name, text in sorted(texts.items())}


def load(name: str | Path = DEFAULT, overrides: Sequence[str] = ()) -> Recipe:
    """Reads a recipe.

    Args:
        name: a preset's name, or a path to a YAML file; a file may begin with ``preset: NAME`` and change it.
        overrides: ``key=value`` arguments, which have the last word.

    Raises:
        UserError: one sentence for every mistake: place, key, accepted values, and the nearest right spelling.
    """
    arguments = from_arguments(overrides)
    if "preset" in arguments.values:
        raise UserError(
            f"a preset is what a recipe begins as: name it with {option('preset')}, or as 'preset:' in a recipe file"
        )
    return parse(_over(_base(name), arguments))


def said_kind(overrides: Sequence[str]) -> object:
    """The kind of source that ``key=value`` arguments name; None if they name none."""
    source: object = from_arguments(overrides).values
    for key in ("data", "source", "kind"):
        source = (mapping_of(source) or {}).get(key)
    return source


def parse(layer: Layer) -> Recipe:
    """Checks a layer against the schema."""
    try:
        return Recipe.model_validate(layer.values)
    except ValidationError as error:
        problems = [_sentence(problem, layer) for problem in error.errors()]
        raise UserError("\n".join(dict.fromkeys(problems))) from None


def dump(recipe: Recipe) -> str:
    """The recipe as YAML, complete: ``load`` of it gives an equal recipe."""
    values = recipe.model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def _base(name: str | Path) -> Layer:
    text = str(name)
    if not text.endswith((".yaml", ".yml")):
        return _preset(text)
    layer = from_file(Path(text))
    below = layer.values.get("preset")
    if not isinstance(below, str):
        return _over(Layer(values={}, places={}), layer)
    others = {key: value for key, value in layer.values.items() if key != "preset"}
    try:
        return _over(_preset(below), Layer(values=others, places=layer.places))
    except UserError as error:
        raise UserError(f"{layer.places['preset',]}: {error.message}") from None


def _over(below: Layer, above: Layer) -> Layer:
    """Lays one layer over another; what is written as in older recipes keeps its place."""
    if "data" not in above.values:
        return over(below, above)
    data, places = migrated(above.values["data"], below.values.get("data")), dict(above.places)
    places |= {(*SOURCE, key): places["data", key] for key in BESIDE if ("data", key) in places}
    return over(below, Layer(values={**above.values, "data": data}, places=places))


def _preset(name: str) -> Layer:
    name = known("preset", name, presets())
    text = read_text(Path(str(files("carrara.recipe").joinpath("presets", f"{name}.yaml"))))
    layer = from_yaml(text, f"preset {name}")
    return Layer(values={"preset": name, **layer.values}, places=layer.places)


def _sentence(problem: Mapping[str, Any], layer: Layer) -> str:
    """One of pydantic's errors, in words that name the place, the key, what is accepted, and what to do."""
    path = _written(problem["loc"], layer.values)
    place = _place(path, layer.places)
    beside = path[:1] + path[2:] if path[:2] == SOURCE else path
    key = ".".join(beside if layer.places.get(beside) == place else path)
    context: Mapping[str, Any] = problem.get("ctx", {})
    match problem["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            siblings = accepted(path[:-1], layer.values)
            return f"{place}: unknown key '{key}'.{_elsewhere(path, siblings)} Accepted here: {', '.join(siblings)}."
        case "union_tag_invalid":
            kinds = [kind.strip("' ") for kind in context["expected_tags"].split(",")]
            return f"{place}: '{context['tag']}' is no {key}: it is one of {', '.join(kinds)}." + close_match(
                str(context["tag"]), kinds
            )
        case "union_tag_not_found" | "model_attributes_type":
            return f"{place}: {key} needs a 'kind', such as {key}.kind=..."
        case "value_error":
            return f"{place}: {key}: {context['error']}."
        case "dataclass_type":
            below = (accepted(path, layer.values) or ["KEY"])[0]
            return f"{place}: {key} is a section: name a key in it, such as {key}.{below}=..."
        case "missing" | "missing_argument" if isinstance(problem["loc"][-1], int):
            return f"{place}: {key} has too few values."
        case "missing" | "missing_argument":
            return f"{place}: the key '{key}' is missing."
        case "literal_error":
            return f"{place}: {key} is {problem['input']!r}, but must be {context['expected']}."
        case _:
            return f"{place}: {key} is {problem['input']!r}: {problem['msg'][:1].lower()}{problem['msg'][1:]}."


def _written(loc: tuple[int | str, ...], values: Any) -> KeyPath:
    """The path as the user wrote it: pydantic's has the members of unions in between."""
    path: list[str] = []
    for part in map(str, loc):
        below = mapping_of(values)
        if below is None or (part not in below and _is_member(part, below)):
            continue
        path.append(part)
        values = below.get(part)
    return tuple(path)


def _is_member(part: str, values: Mapping[str, Any]) -> bool:
    return part == values.get("kind") or part in all_kinds() or part[:1].isupper() or "[" in part


def _place(path: KeyPath, places: Mapping[KeyPath, str]) -> str:
    """Where the key was written; for a whole section, by preference the argument that changed something in it."""
    below = [place for known, place in places.items() if known[: len(path)] == path]
    above = [places[path[:length]] for length in range(len(path), 0, -1) if path[:length] in places]
    arguments = [place for place in below if place.startswith("argument")]
    return next(iter([*arguments[-1:], *above, *below]), "the recipe")


def _elsewhere(path: KeyPath, siblings: list[str]) -> str:
    """The nearest right spelling: among the keys that are accepted here, or the same word in another section."""
    homes = [".".join(p) for p in leaves(schema()) if alike(p[-1]) == alike(path[-1]) and p != path]
    prefix = ".".join(path[:-1])
    full = [f"{prefix}.{s}" if prefix else s for s in siblings]
    return f" Did you mean '{homes[0]}'?" if homes else close_match(".".join(path), full)
