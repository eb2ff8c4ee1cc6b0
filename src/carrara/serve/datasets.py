"""What can be trained on: built-in data, folders that the studio was started with, and what was sent to it.

A client knows data by an id. What it sends is one zip file in the folder of uploads, or one file where the data are a
file: nothing is unpacked, and no name of a client's becomes a name on the disk but as letters and digits of a title.
"""

import re
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, final

from carrara.data import BUILTIN, SOURCES
from carrara.data.folder.listing import find
from carrara.data.formats import is_noise
from carrara.data.sources import source_at
from carrara.errors import UserError, close_match
from carrara.files import Stamp, check_room, incoming, is_folder, is_regular, make_folder, moved, sweep
from carrara.files.archives import ENDING, Packing, check_directory
from carrara.files.growing import writing
from carrara.files.reading import stamp_of
from carrara.files.writing import explained
from carrara.serve.said import Missing
from carrara.serve.settings import ServeSettings
from carrara.serve.shelf import free, slug

KINDS = {"sound": "sounds", "tones": "sounds", "songs": "pieces", "chorales": "pieces", "table": "rows"}
ALONE = (".csv", ".tsv", ".parquet", ".npy", ".npz")
"""Endings of files that are data by themselves."""
POINTS = ("swissroll", "moons", "rings", "checkerboard")
MOST_FILES = 200_000
"""Of one sending."""
_LONGEST, _DEEPEST = 60, 12
_PART = 120  # letters of a part of a name
_PLAIN = re.compile(r"[^\w.() +,&@#=~'-]+")


@dataclass(frozen=True, kw_only=True)
class Offered:
    """Data that can be trained on.

    Attributes:
        id: the name that clients know them by.
        source: a built-in name, or a path.
    """

    id: str
    title: str
    source: str
    builtin: bool = False
    uploaded: bool = False

    @property
    def kind(self) -> str:
        """The kind of the source, as recipes have it."""
        return self.source if self.builtin else _kind(Path(self.source), stamp_of(Path(self.source)))

    @property
    def shown(self) -> dict[str, Any]:
        """As a list has it."""
        kind = self.kind
        called = "points" if kind in POINTS else "numbers" if kind == "array" else KINDS.get(kind, "pictures")
        names = ("id", "title", "builtin", "uploaded")
        return {**{name: getattr(self, name) for name in names}, "kind": called}


@lru_cache(256)
def _kind(path: Path, stamp: Stamp) -> str:
    return source_at(path)["kind"]


@final
class Datasets:
    """All data that are offered."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings, self._lock = settings, RLock()
        if is_folder(settings.uploads):
            sweep(settings.uploads)

    def check(self) -> None:
        """Refuses places where no data can be, before anything is served.

        Raises:
            UserError: there is neither a folder nor a file at one that is named.
        """
        for path in self._settings.data:
            if not (is_folder(path) or is_regular(path)):
                raise UserError(f"there is no folder and no file '{path}': name data that lie on this machine")

    def all(self) -> list[Offered]:
        """Those that were sent first, the newest at their head; then folders, then what is built in."""
        taken = set[str]()
        built_in = [Offered(id=free(name, taken), title=name, source=name, builtin=True) for name in BUILTIN]
        folders = [
            Offered(id=free(slug(path.resolve().stem, "data"), taken), title=path.resolve().name, source=str(path))
            for path in self._settings.data
        ]
        sent = [
            Offered(id=free(slug(path.stem, "data"), taken), title=path.stem, source=str(path), uploaded=True)
            for path in self._sent()
        ]
        return [*reversed(sent), *folders, *built_in]

    def find(self, name: str) -> Offered:
        """The data of an id.

        Raises:
            Missing: there are none.
        """
        known = {one.id: one for one in self.all()}
        if name not in known:
            raise Missing(f"there are no data '{name[:_LONGEST]}' here.{close_match(name[:_LONGEST], known)}")
        return known[name]

    def of_source(self, source: str) -> Offered | None:
        """The data that a recipe names."""
        same = (one for one in self.all() if one.source == source or Path(one.source).absolute() == Path(source))
        return next(same, None)

    def receiving(self, length: int) -> "Receiving":
        """Takes in what is sent.

        Raises:
            NotWritten: there is no room for so many bytes.
        """
        make_folder(self._settings.uploads)
        check_room(self._settings.uploads, length, "what is sent", "make room on the disk, or send less")
        return Receiving(self)

    @property
    def folder(self) -> Path:
        """Where what is sent is kept."""
        return self._settings.uploads

    def keep(self, path: Path, title: str) -> Offered:
        """Gives a whole file a name that is free."""
        stem = _PLAIN.sub("-", title).strip(" .-_")[:_LONGEST].strip(" .-_") or "data"
        with self._lock:
            names = (stem, *(f"{stem}-{number}" for number in range(2, 10_000)))
            place = next(place for name in names if not (place := self.folder / f"{name}{path.suffix}").exists())
            moved(path, place)
            return next(one for one in self.all() if one.uploaded and one.source == str(place))

    def _sent(self) -> list[Path]:
        if not is_folder(self.folder):
            return []
        found = [path for path in self.folder.iterdir() if not path.name.startswith(".") and is_regular(path)]
        found = [path for path in found if path.suffix == ENDING or _stands_alone(path.name)]
        return sorted(found, key=lambda path: (stamp_of(path)[1], path.name))


def _stands_alone(name: str) -> bool:
    """Whether a file is data by itself: a table, or an array."""
    return name.lower().endswith(ALONE)


@final
class Receiving:
    """Files that are being sent, one after the other; nothing is left of them unless they are ``kept``.

    Raises:
        UserError: here and in all methods: they cannot be kept, with why.
    """

    def __init__(self, datasets: Datasets) -> None:
        self._datasets, self._stack = datasets, ExitStack()
        self._folder = self._stack.enter_context(incoming(datasets.folder))
        self._path: Path | None = None
        self._packing: Packing | None = None
        self._raw: Any = None
        self._names = set[str]()
        self._title, self._passes_over = "", False

    def __enter__(self) -> "Receiving":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def begin(self, name: str) -> None:
        """Begins a file, by the name that the client has for it."""
        if self._raw is not None:
            raise UserError("one zip file, or many other files: send these one after the other")
        self._passes_over = any(map(is_noise, filter(_is_named, re.split(r"[\\/]", name))))
        if self._passes_over:
            return
        parts = _parts(name)
        alone = not self._names and len(parts) == 1 and (parts[0].lower().endswith(ENDING) or _stands_alone(parts[0]))
        self._title = self._title or (Path(parts[0]).stem if len(parts) == 1 else parts[0])
        if alone:
            self._names.add(parts[0])
            self._path = self._folder / f"data{Path(parts[0]).suffix.lower()}"
            with explained(self._datasets.folder):
                self._raw = self._stack.enter_context(writing(self._path))
            return
        if parts[-1].lower().endswith(ENDING):
            raise UserError("one zip file, or many other files: send these one after the other")
        if len(self._names) >= MOST_FILES:
            raise UserError(f"more than {MOST_FILES:,} files: send them as one zip file")
        if self._packing is None:
            self._path = self._folder / f"data{ENDING}"
            with explained(self._datasets.folder):
                self._packing = Packing(self._path)
                self._stack.callback(self._packing.abandon)
        with explained(self._datasets.folder):
            self._packing.begin(self._free("/".join(parts)))

    def write(self, content: bytes) -> None:
        """Goes on with the file."""
        into = self._raw or self._packing
        if into is None or self._passes_over:
            return
        with explained(self._datasets.folder):
            into.write(content)

    def kept(self, title: str = "") -> Offered:
        """Keeps what was sent, under this title or the name of its folder or its file."""
        if self._path is None:
            raise UserError("nothing was sent: choose a folder, files, or a zip file")
        with explained(self._datasets.folder):
            if self._packing is not None:
                self._packing.close()
            if self._raw is not None:
                self._raw.close()
        self._check(self._path)
        return self._datasets.keep(self._path, title or self._title)

    def _check(self, path: Path) -> None:
        """Refuses what nothing can be trained on; files are looked at later."""
        if path.suffix != ENDING:
            return
        try:
            check_directory(path)
        except OSError as error:
            raise UserError(f"this zip file cannot be used: it is {error}") from None
        kind = SOURCES[source_at(path)["kind"]]
        try:
            listed = find(path, endings=kind.endings)
        except UserError as error:
            raise UserError(error.message.replace(f"'{path}'", "this zip file")) from None
        if not listed.pictures and not listed.tables:
            passed = ", ".join(f"{count} {ending}" for ending, count in listed.others.most_common(5))
            there = f" (there are {passed})" if passed else ""
            raise UserError(
                f"nothing can be trained on among these files{there}: send pictures, sounds, MIDI files, arrays or "
                "a table"
            )

    def _free(self, name: str) -> str:
        """A name that no other file has."""
        stem, dot, ending = name.rpartition(".")
        candidate, number = name, 1
        while candidate in self._names:
            number += 1
            candidate = f"{stem or ending}-{number}{dot if stem else ''}{ending if stem else ''}"
        self._names.add(candidate)
        return candidate


def _is_named(part: str) -> bool:
    """Whether a part of a path is more than points."""
    return bool(part.strip("."))


def _parts(name: str) -> list[str]:
    """A client's name of a file as parts that lead nowhere else, and of which none is hidden."""
    parts = [_PLAIN.sub("_", part).strip(" .")[:_PART] for part in name.replace("\\", "/").split("/")]
    ending = _PLAIN.sub("", Path(name).suffix.lower())
    parts = [part for part in parts if part and not re.fullmatch("[A-Za-z]_", part)][-_DEEPEST:] or ["file"]
    if len(ending) <= 10 and not parts[-1].lower().endswith(ending):
        parts[-1] = f"{parts[-1]}{ending}"
    return parts
