"""What was made here: pictures in ``samples/studio/`` of each run's folder, each with what is known of it beside it.

A picture's files are written in a hidden folder, moved to their names when they are whole, and listed in a JSON file
that is written last. So whatever kills the studio, what is in the gallery is whole. The bin is a mark in that file, and
so is the star. A PNG without such a file is taken in by what it carries itself.
"""

import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import RLock
from typing import Annotated, Any, final

from pydantic import Field

from carrara.draw.request import read_request
from carrara.errors import UserError
from carrara.files import incoming, is_folder, is_regular, make_folder, moved, read_as, replacing, sweep
from carrara.files.writing import delete
from carrara.medium import read_about
from carrara.pixels import read_picture
from carrara.serve.adapters import told
from carrara.serve.made import Piece
from carrara.serve.said import Missing
from carrara.serve.shelf import Entry, Shelf

TYPES: Mapping[str, str] = {
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".wav": "audio/wav",
    ".mid": "audio/midi",
    ".musicxml": "application/vnd.recordare.musicxml+xml",
    ".npy": "application/octet-stream",
    ".csv": "text/csv",
}
"""What the files of a gallery are, by their endings; no others are given out."""
ID = re.compile("[0-9a-f]{22}")
_TITLE = 80
Text = Annotated[str, Field(max_length=1 << 16)] | None
Ending = Annotated[str, Field(pattern=r"^\.[a-z0-9]{1,10}$")]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is known of a picture of a gallery.

    Attributes:
        id: its time and a random number; the name of its files.
        model: the id of the model at that time.
        group: of all that came of one job.
        files: the endings of its files, that of the picture first.
        place, among: its number among what came of the job, and how many that were; 0 of 0 if nobody knows.
        adapters: what was added to the model, and how much of it, as in ``cats 0.8``.
        said: what was asked for, as a client said it.
    """

    id: Annotated[str, Field(pattern="^[0-9a-f]{22}$")]
    model: Annotated[str, Field(max_length=100)]
    group: Annotated[str, Field(max_length=100)] | None = None
    prompt: Text = None
    seed: int | None = None
    verb: Annotated[str, Field(max_length=100)] | None = None
    width: int = 0
    height: int = 0
    starred: bool = False
    binned: bool = False
    files: tuple[Ending, ...] = (".png",)
    place: Annotated[int, Field(ge=0)] = 0
    among: Annotated[int, Field(ge=0)] = 0
    adapters: tuple[str, ...] = ()
    said: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def time(self) -> float:
        """Seconds since 1970."""
        return int(self.id[:16], 16) / 1e9

    @property
    def title(self) -> str:
        """A few words for people."""
        words = self.prompt or self.verb or self.model
        return words if len(words) <= _TITLE else f"{words[: _TITLE - 3]}..."

    @property
    def shown(self) -> dict[str, Any]:
        """As the page has it."""
        names = ("id", "model", "group", "seed", "prompt", "verb", "adapters", "time", "starred", "width", "height")
        url = f"/pictures/{self.id}"
        files = [
            {"url": f"{url}{end}", "name": f"{self.model}-{self.id[-6:]}{end}", "type": TYPES[end]}
            for end in self.files[1:]
            if end in TYPES
        ]
        shown = {"title": self.title, **{name: getattr(self, name) for name in names}}
        return {**shown, "url": f"{url}.png", "thumb": f"{url}/thumb", "bin": self.binned, "files": files}

    def matches(self, words: Sequence[str]) -> bool:
        """Whether all words are in what is known of it."""
        known = (self.prompt, self.model, self.verb, *self.adapters, self.seed, self.id)
        text = " ".join(str(one) for one in known if one is not None)
        return all(word in text.lower() for word in words)


@final
class Gallery:
    """The pictures of one folder."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder, self._model = folder, model
        self._lock = RLock()
        if is_folder(folder):
            sweep(folder)
        self._kept = {one.id: one for one in self._read()}

    def all(self) -> list[Kept]:
        """All of them."""
        with self._lock:
            return list(self._kept.values())

    def get(self, name: str) -> Kept | None:
        """The one of an id."""
        return self._kept.get(name)

    def path(self, kept: Kept, ending: str = ".png") -> Path:
        """Where a file of a picture is."""
        return self.folder / f"{kept.id}{ending}"

    def add(self, piece: Piece, **known: Any) -> Kept:
        """Takes in what was made: its files are moved here."""
        kept = Kept(
            id=_new_id(),
            model=self._model,
            prompt=piece.prompt,
            seed=piece.seed,
            verb=piece.verb,
            width=piece.size[0],
            height=piece.size[1],
            files=tuple(path.suffix.lower() for path in piece.paths),
            **known,
        )
        for path in piece.paths:
            moved(path, self.path(kept, path.suffix.lower()))
        self._write(kept)
        return kept

    def incoming(self) -> Any:
        """A hidden folder for what is being made; see ``files.incoming``."""
        make_folder(self.folder)
        return incoming(self.folder)

    def change(self, kept: Kept, **changes: Any) -> Kept:
        """Stars a picture, throws it away, or takes it back."""
        with self._lock:
            changed = replace(self._kept[kept.id], **changes)
            self._write(changed)
        return changed

    def empty_bin(self) -> int:
        """Deletes what is in the bin for good, and says how many; what cannot be deleted stays there.

        The picture itself goes first: without it, what is left of its files is nobody's.
        """
        with self._lock:
            binned = [kept for kept in self._kept.values() if kept.binned]
            for kept in binned:
                for path in (*(self.path(kept, ending) for ending in kept.files), self.path(kept, ".json")):
                    delete(path)
                    if is_regular(self.path(kept)):
                        break
                else:
                    del self._kept[kept.id]
            return sum(kept.id not in self._kept for kept in binned)

    def _write(self, kept: Kept) -> None:
        with self._lock:
            with replacing(self.folder / f"{kept.id}.json") as file:
                file.write(json.dumps({"format": 1, **asdict(kept)}, ensure_ascii=False).encode())
            self._kept[kept.id] = kept

    def _read(self) -> Iterator[Kept]:
        if not is_folder(self.folder):
            return
        for path in self.folder.glob("*.png"):
            if not ID.fullmatch(path.stem):
                continue
            about = path.with_suffix(".json")
            try:
                yield read_as(about, Kept) if is_regular(about) else self._adopted(path)
            except UserError:
                continue

    def _adopted(self, path: Path) -> Kept:
        """A picture of which only its own record is there."""
        about, image = read_about(path), read_picture(path)
        match about.get("request"):
            case {"wishes": [prompt, *_], "seeds": [int(seed), *_]}:
                said = (prompt if isinstance(prompt, str) else None), seed
            case _:
                said = None, None
        verb = (about.get("edit") or {}).get("verb")
        prompt, seed = said
        kept = Kept(id=path.stem, model=self._model, prompt=prompt, seed=seed, verb=verb, adapters=_added(about))
        return replace(kept, width=image.width, height=image.height)


@final
class Galleries:
    """The galleries of all models, by the folders where they work."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf, self._lock = shelf, RLock()
        self._galleries: dict[Path, Gallery] = {}

    def of(self, entry: Entry) -> Gallery:
        """The gallery of a model."""
        folder = entry.working / "samples" / "studio"
        with self._lock:
            if folder not in self._galleries:
                self._galleries[folder] = Gallery(folder, entry.id)
            return self._galleries[folder]

    def find(self, name: str) -> tuple[Gallery, Kept]:
        """The picture of an id.

        Raises:
            Missing: there is none.
        """
        for gallery in self._all():
            if ID.fullmatch(name) and (kept := gallery.get(name)) is not None:
                return gallery, kept
        raise Missing("there is no such picture here: it may have been deleted from its folder")

    def get(self, name: str) -> Kept | None:
        """The same, or None."""
        return next((kept for gallery in self._all() if (kept := gallery.get(name)) is not None), None)

    def newest(
        self, model: str | None, search: str, starred: bool, binned: bool, before: str | None, limit: int
    ) -> tuple[list[Kept], str | None]:
        """The newest pictures, and the id to go on before; None where there are no more."""
        galleries = self._those(model)
        words = search.lower().split()
        found = [
            kept
            for gallery in galleries
            for kept in gallery.all()
            if kept.binned == binned and (kept.starred or not starred) and (before is None or kept.id < before)
            if kept.matches(words)
        ]
        found.sort(key=lambda kept: kept.id, reverse=True)
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    def empty_bin(self, model: str | None) -> int:
        """Deletes for good what is in the bin, of one model or of all; how many pictures that were."""
        return sum(gallery.empty_bin() for gallery in self._those(model))

    def _those(self, model: str | None) -> list[Gallery]:
        return self._all() if model is None else [self.of(self._shelf.entry(model))]

    def _all(self) -> list[Gallery]:
        return list(dict.fromkeys(self.of(entry) for entry in self._shelf.models()))


def _added(about: Mapping[str, Any]) -> tuple[str, ...]:
    """The adapters of a record; none of what is no request."""
    try:
        return told(read_request(about["request"]).adapters)
    except (KeyError, TypeError, ValueError):
        return ()


def _new_id() -> str:
    """Newer ones are greater."""
    return f"{time.time_ns():016x}{secrets.token_hex(3)}"
