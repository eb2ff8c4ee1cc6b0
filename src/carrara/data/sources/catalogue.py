"""All sources. A new one is a module beside this one, and a line in the union."""

from pathlib import Path
from typing import Any, get_args

from carrara.data.base import Dataset
from carrara.data.sources.base import Source
from carrara.data.sources.digits import DigitsSource
from carrara.data.sources.folder import FolderSource
from carrara.data.sources.openmoji import OpenMojiSource
from carrara.data.sources.swissroll import SwissRollSource

AnySource = (
    FolderSource
    | DigitsSource
    | OpenMojiSource
    | SwissRollSource
)  # fmt: skip
"""The tagged union that recipes hold."""

SOURCES: dict[str, type[Source]] = {source.kind: source for source in get_args(AnySource)}
BUILTIN = tuple(name for name, source in SOURCES.items() if source.builtin)
"""The names of those that need no path."""


def source_mapping(source: Any) -> Any:
    """A source as a mapping, if it is named by a string: a built-in name, else the path of a folder."""
    if source == "":
        return None
    if not isinstance(source, str | Path):
        return source
    return {"kind": str(source)} if str(source) in BUILTIN else {"kind": FolderSource.kind, "path": str(source)}


def as_source(source: str | Path | Source, **options: Any) -> Source:
    """A source by its name: ``digits``, ``openmoji``, ``swissroll``, or else a folder; ``./digits`` is always a folder.

    Args:
        options: its fields.
    """
    if isinstance(source, Source):
        return source
    named: dict[str, Any] = source_mapping(source or ".")
    return SOURCES[named.pop("kind")](**named, **options)


def open_dataset(source: str | Path | Source, *, size: int | None = None, **options: Any) -> Dataset:
    """Opens a folder of pictures or a built-in data set; see ``as_source`` and ``Source.open``."""
    return as_source(source, **options).open(size)
