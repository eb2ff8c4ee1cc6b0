"""The names that a recipe may have, from its schema: its keys, and the values that are one of several.

Hyphens and underscores are the same in them, and so are capitals; what is read is brought to the schema's spelling
before anything looks at it. All else is somebody's own text, a path or the name of a class, and is left as it is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, cast

from carrara.data.settings import BESIDE
from carrara.data.sources import source_mapping
from carrara.errors import meant
from carrara.kinds import mapping_of
from carrara.recipe.schema import Recipe

KeyPath = tuple[str, ...]
"""Where a key lies: ("train", "steps")."""
SOURCE = ("data", "source")
"""Its keys stand beside it in older recipes; and a word alone there may be a path, with keys of its own after it."""
Node = Mapping[str, Any]
"""What the schema says of a value."""


def spelled_path(path: Iterable[str]) -> KeyPath:
    """A path of keys in the schema's spelling; unknown ones are left as they are."""
    found: KeyPath = ()
    for key in path:
        found = (*found, meant(key, _keys(found)) or key)
    return found


def spelled_values(value: Any, path: KeyPath = ()) -> Any:
    """A value at a path in the schema's spelling, and all below it."""
    return _spelled(value, path, _at(path))


def accepted(path: KeyPath, values: Any) -> list[str]:
    """The keys that may stand below ``path``, the members of unions being those that ``values`` choose."""
    node = schema()
    for part in path:
        values = (mapping_of(values) or {}).get(part)
        node = _choose(node["properties"].get(part, {}), values)
        if "properties" not in node:
            return []
    return list(node["properties"])


@cache
def schema() -> dict[str, Any]:
    """That of a recipe."""
    return Recipe.model_json_schema()


@cache
def all_kinds() -> set[str]:
    """All kinds of all unions: a section may leave out which of them it is."""
    members = schema()["$defs"].values()
    return {member["properties"]["kind"]["const"] for member in members if "kind" in member.get("properties", {})}


def leaves(node: Node, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The paths of the keys of sections, and of the keys in these."""
    for name, below in node.get("properties", {}).items():
        yield (*path, name)
        if len(path) < 1:
            yield from leaves(_choose(below, None), (*path, name))


def _spelled(value: Any, path: KeyPath, nodes: Sequence[Node]) -> Any:
    match value:
        case str():
            return source_mapping(value) if path == SOURCE else meant(value, _words(nodes)) or value
        case list():
            return [_spelled(one, path, _elements(nodes)) for one in cast(list[Any], value)]
        case dict():
            spelt = {meant(key, _keys(path)) or key: below for key, below in cast(dict[str, Any], value).items()}
            return {key: _spelled(below, (*path, key), _below(nodes, key)) for key, below in spelt.items()}
        case _:
            return value


def _keys(path: KeyPath) -> list[str]:
    """The keys that may stand below a path, whichever members of unions are chosen."""
    own = [key for node in _at(path) for key in node.get("properties", ())]
    return [*own, *BESIDE] if path == SOURCE[:1] else own


def _words(nodes: Sequence[Node]) -> list[str]:
    """The texts that a value may be: those that are listed, and the kinds of a union; none where any text may stand."""
    if any(node.get("type") == "string" and not {"enum", "const"} & node.keys() for node in nodes):
        return []
    kinds = (node.get("properties", {}).get("kind", {}) for node in nodes)
    listed = (word for node in (*nodes, *kinds) for word in (*node.get("enum", ()), node.get("const")))
    return [word for word in listed if isinstance(word, str)]


def _at(path: KeyPath) -> list[Node]:
    nodes: list[Node] = [schema()]
    for key in path:
        nodes = _below(nodes, key)
    return nodes


def _below(nodes: Iterable[Node], key: str) -> list[Node]:
    return [member for node in nodes for member in _members(node.get("properties", {}).get(key, {}))]


def _elements(nodes: Iterable[Node]) -> list[Node]:
    return [member for node in nodes for member in _members(node.get("items", {}))]


def _choose(node: Node, values: Any) -> dict[str, Any]:
    """Follows references, and in a union the member of the same kind, or its first."""
    members = list(_members(node))
    section = mapping_of(values)
    kind = values if section is None else section.get("kind")
    same = [m for m in members if m.get("properties", {}).get("kind", {}).get("const", kind) == kind]
    return (same or members or [{}])[0]


def _members(node: Node) -> Iterator[dict[str, Any]]:
    options = [*node.get("oneOf", ()), *node.get("anyOf", ())]
    for member in options:
        yield from _members(member)
    if "$ref" in node:
        yield schema()["$defs"][node["$ref"].rsplit("/", 1)[1]]
    elif not options and node.get("type") != "null":
        yield dict(node)
