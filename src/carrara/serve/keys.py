"""The keys of a recipe as a form has them: each with its value, its kind, and what its class says of it.

A section that is one of several kinds is a choice under its own name, and below it stand the keys of the kind that is
chosen. Keys that lead to files are none: which data are trained on is not said by a path here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from carrara.docs import field_docs, summary
from carrara.objective import FineTuningSettings
from carrara.recipe.schema import Recipe
from carrara.recipe.sections import TrainedConfig

LEADING = frozenset({"path", "only", "run", "teacher", "source", "start", "fingerprint"})
"""Names of keys that lead to files, or say what these are."""
MAIN = (
    *("objective.learn", "objective.caption"),
    *("train.steps", "train.minutes", "train.batch", "train.lr", "data.size", "data.flip", "data.held_out"),
    *("preview.every", "checkpoint.every", "seed"),
)
"""Keys that are shown at once, in this order."""
LEARN = ("lora", "all")
"""What can learn in a fine-tuning that a form plans."""
_TAKEN_OVER = re.compile(r"(model|autoencoder|sample|data\.size|objective\.(times|weighting|drop|loss))(\.|$)")
UNITS = {"train.minutes": "minutes", "autoencoder.train.minutes": "minutes", "data.size": "pixels"}
_HIDDEN = frozenset({"preset", "objective.kind", "data.source.kind", "data.channels"})
_OTHERS = {"seed": "of every random number."}
_LONGEST = 300


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key of a recipe.

    Attributes:
        key: its dotted name.
        value: as one writes it after ``key=``; empty is nothing.
        doc: what it means.
        type: int, float, bool, text, choice or pair.
    """

    key: str
    value: str
    doc: str
    type: str
    choices: tuple[str, ...] = ()

    def shown(self, usual: Mapping[str, str], changed: Mapping[str, str]) -> dict[str, Any]:
        """As the page has it.

        Args:
            usual: the values of keys if nothing is changed.
            changed: what somebody has changed, as it was written.
        """
        own = {"key": self.key, "section": self.key.partition(".")[0], "doc": self.doc, "type": self.type}
        value = changed.get(self.key, self.value)
        own |= {"value": value, "usual": usual.get(self.key, self.value), "changed": self.key in changed}
        own |= {"choices": list(self.choices)} if self.choices else {}
        own |= {"unit": UNITS[self.key]} if self.key in UNITS else {}
        return {**own, "main": self.key in MAIN}


def keys_of(recipe: Recipe) -> list[Key]:
    """All keys of a recipe, those that are shown at once first; of a fine-tuning, those that are not taken over."""
    order = {key: place for place, key in enumerate(MAIN)}
    found: Iterable[Key] = _below(recipe, "")
    if isinstance(recipe.objective, FineTuningSettings):
        found = (replace(one, choices=LEARN) if one.key == "objective.learn" else one for one in found)
        found = (one for one in found if not taken_over(one.key))
    return sorted(found, key=lambda one: order.get(one.key, len(MAIN)))


def taken_over(key: str) -> bool:
    """Whether a key of a fine-tuning is that of what it begins with."""
    return _TAKEN_OVER.match(key) is not None


def texts(recipe: Recipe, names: frozenset[str] = LEADING) -> dict[str, str]:
    """The values of all keys that have one of these last names, with whose sections they lie in."""
    return dict(_leading(recipe, "", names))


def written(value: Any) -> str:
    """A value as one writes it after ``key=``."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple() | list():
            parts: list[Any] = list(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            return f"[{', '.join(map(written, parts))}]"
        case float():
            return f"{value:.10g}"
        case _ if is_dataclass(value):
            named = {field.name: getattr(value, field.name) for field in fields(value)}
            parts = [f"{name}: {written(one) or 'null'}" for name, one in named.items()]
            return "{" + ", ".join(parts) + "}"
        case _:
            return str(value)


def _below(section: Any, path: str) -> Iterator[Key]:
    hints, docs = _hints(type(section)), field_docs(type(section))
    for name in hints:
        key = f"{path}{name}"
        if name == "kind" or (name in LEADING and path) or key in _HIDDEN or name.startswith("_"):
            continue
        value, members = getattr(section, name), _members(hints[name])
        doc = docs.get(name) or _OTHERS.get(key) or _about(value if is_dataclass(value) else section)
        kinds = {kind: one for one in members if (kind := _kind_of(one)) is not None and one is not TrainedConfig}
        if key == "data.source" or key == "objective" or (is_dataclass(value) and len(kinds) < 2):
            yield from _below(value, f"{key}.") if is_dataclass(value) else ()
        elif kinds and (value is None or is_dataclass(value)):
            chosen = "" if value is None else str(getattr(value, "kind", ""))
            open_ = ("",) if type(None) in members else ()
            yield Key(key=key, value=chosen, doc=doc, type="choice", choices=(*open_, *kinds))
            yield from _below(value, f"{key}.") if is_dataclass(value) else ()
        elif any(is_dataclass(one) for one in members) and value is None:
            continue  # a section that is not there
        else:
            yield from _leaf(key, value, members, doc)


def _leaf(key: str, value: Any, members: tuple[Any, ...], doc: str) -> Iterator[Key]:
    text = written(value)
    if len(text) > _LONGEST:  # a vocabulary, for example
        return
    listed = [word for one in members if get_origin(one) is Literal for word in get_args(one)]
    plain = {one for one in members if one in (int, float, bool, str)}
    if listed and not plain and not any(get_origin(one) is tuple for one in members):
        open_ = ("",) if type(None) in members else ()
        yield Key(key=key, value=text, doc=doc, type="choice", choices=(*open_, *map(written, listed)))
        return
    pair = any(get_origin(one) is tuple and len(get_args(one)) == 2 and ... not in get_args(one) for one in members)
    named = {int: "int", float: "float", bool: "bool"}
    kind = "pair" if pair else next((named[one] for one in (bool, float, int) if plain == {one}), "text")
    yield Key(key=key, value=text, doc=doc, type="text" if listed else kind)


def _leading(section: Any, path: str, names: frozenset[str]) -> Iterator[tuple[str, str]]:
    for name in _hints(type(section)):
        value, key = getattr(section, name), f"{path}{name}"
        if is_dataclass(value):
            yield from _leading(value, f"{key}.", names)
        elif name in names and isinstance(value, str):
            yield key, value


@cache
def _hints(what: type) -> dict[str, Any]:
    """The fields of a section with their types."""
    hints = get_type_hints(what, include_extras=True)
    own = getattr(what, "model_fields", None) or {field.name: field for field in fields(what)}
    return {name: hints[name] for name in own}


def _members(hint: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    if get_origin(hint) is Annotated:
        return _members(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return tuple(member for one in get_args(hint) for member in _members(one))
    return (hint,)


def _about(section: Any) -> str:
    """The first sentence of what a section's class says of itself."""
    return " ".join(summary(type(section)).split()).partition(". ")[0]


def _kind_of(what: Any) -> str | None:
    """The kind that a class of sections is."""
    return getattr(what, "kind", None) if isinstance(what, type) and is_dataclass(what) else None
