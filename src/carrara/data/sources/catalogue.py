"""All sources. A new one is a module beside this one, and a line in the union."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from carrara.data.base import Dataset
from carrara.data.folder.layout import counted
from carrara.data.sources.array import ArraySource
from carrara.data.sources.base import Source
from carrara.data.sources.checkerboard import CheckerboardSource
from carrara.data.sources.chorales import ChoralesSource
from carrara.data.sources.digits import DigitsSource
from carrara.data.sources.folder import FolderSource
from carrara.data.sources.moons import MoonsSource
from carrara.data.sources.openmoji import OpenMojiSource
from carrara.data.sources.rings import RingsSource
from carrara.data.sources.shards import ShardsSource
from carrara.data.sources.songs import SongsSource
from carrara.data.sources.sound import SoundSource
from carrara.data.sources.swissroll import SwissRollSource
from carrara.data.sources.table import TableSource
from carrara.data.sources.tones import TonesSource
from carrara.errors import option
from carrara.files import is_archive, is_folder, members, shown
from carrara.files.places import is_url

AnySource = (
    FolderSource
    | DigitsSource
    | OpenMojiSource
    | SwissRollSource
    | SoundSource
    | TonesSource
    | ChoralesSource
    | SongsSource
    | MoonsSource
    | RingsSource
    | CheckerboardSource
    | ArraySource
    | TableSource
    | ShardsSource
)  # fmt: skip
"""The tagged union that recipes hold."""

SOURCES: dict[str, type[Source]] = {source.kind: source for source in get_args(AnySource)}
BUILTIN = tuple(name for name, source in SOURCES.items() if source.builtin)
"""The names of those that need no path."""
_LOOKED_AT = 2_000  # files of a folder, which say what it is a folder of


def source_mapping(source: Any) -> Any:
    """A source as a mapping, if it is named by a string: a built-in name, else the path of a folder or a file."""
    if source == "":
        return None
    if not isinstance(source, str | Path):
        return source
    if str(source) in BUILTIN:
        return {"kind": str(source)}
    return source_at(source)


def source_at(path: str | Path, kind: object = None) -> dict[str, Any]:
    """What lies at a path, as a mapping; it is no built-in name.

    Args:
        kind: of sources, if somebody says it; else what the files are.
    """
    said = isinstance(kind, str) and kind in SOURCES and kind not in BUILTIN
    return {"kind": kind if said else _kind_of(path).kind, "path": str(path)}


def others_in(path: Path, kind: str) -> str:
    """A sentence, if a folder also has files of another kind; nothing if it has not."""
    if not is_folder(path):
        return ""
    counts = _kinds_in(path)
    others = {SOURCES[other].noun: (other, count) for other, count in counts.items() if other != kind}
    if kind not in counts or not others:
        return ""
    said = " and ".join(f"{counted(count, noun)}" for noun, (_, count) in others.items())
    keys = ", ".join(option("data.source.kind", other) for other, _ in others.values())
    taken = counted(counts[kind], SOURCES[kind].noun)
    return f"{taken} of '{shown(path.name)}', and not the {said} there: {keys} takes those"


def _kind_of(path: str | Path) -> type[Source]:
    """What a file is, or what most of the first files in a folder are; pictures where nothing says otherwise."""
    if is_url(path):
        return ShardsSource
    path = Path(path)
    if (surely := next((source for source in SOURCES.values() if source.suits(path)), None)) is not None:
        return surely
    kinds = _kinds_in(path) if is_folder(path) or is_archive(path) else Counter[str]()
    most, count = next(iter(kinds.most_common(1)), (FolderSource.kind, 0))
    return SOURCES[most] if count > kinds[FolderSource.kind] else FolderSource


def _kinds_in(folder: Path) -> Counter[str]:
    """How many of the first files of a folder, or of a zip file, are of which kind."""
    kind = {ending: source.kind for source in SOURCES.values() for ending in source.endings}
    names = _members(folder) if is_archive(folder) else _names(folder)
    suffixes = (Path(name).suffix.lower() for name in islice(names, _LOOKED_AT))
    return Counter(kind[suffix] for suffix in suffixes if suffix in kind)


def _names(folder: Path) -> Iterator[str]:
    """Of the files in a folder and in those below, in order; what may not be looked into is passed over."""
    for within, below, names in os.walk(folder):
        hidden = [name for name in below if name.startswith(".")]
        below[:] = sorted(name for name in below if name not in hidden)
        yield from (name for name in sorted(names) if not name.startswith("."))
        if (Path(within) / "recipe.yaml").exists():  # a run's own pictures are not its data
            below.clear()


def _members(archive: Path) -> Sequence[str]:
    """Of the files in a zip file; none, if it cannot be read, which is said when it is opened."""
    try:
        return [name for name in members(archive) if not any(part[0] in "._" for part in name.split("/")[:-1])]
    except OSError:
        return ()


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
