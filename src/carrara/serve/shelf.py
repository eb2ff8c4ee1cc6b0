"""Which models there are: those that are named, or else the shipped ones and all in ``runs/``.

A client knows a model by a short name that is made here, and never says where anything is. A model is opened when it
is first asked for, once, and closed again when others need the memory: the one that was used longest ago first.
"""

import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from time import monotonic
from typing import Any, final

import torch

from carrara.errors import UserError, close_match
from carrara.files import is_folder
from carrara.medium import medium_of
from carrara.model import AutoencoderConfig, ModelConfig, read_config
from carrara.serve.processes import OUTPUT
from carrara.serve.said import Missing
from carrara.serve.settings import ServeSettings
from carrara.store import OpenModel, Store, working_folder
from carrara.store.runs import SHIPPED, newest

_FRESH = 2.0
"""Seconds after which the folder of runs is looked at again."""
_LONGEST = 60


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model that is served.

    Attributes:
        id: the name that clients know it by: small letters, digits and hyphens.
        path: a run's folder, or a shipped model's name.
        kind: diffusion, autoencoder or classifier.
        medium: what its samples are called.
        about: what the model says of itself.
    """

    id: str
    path: Path
    kind: str
    medium: str
    size: tuple[int, ...]
    about: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    @property
    def title(self) -> str:
        """What people call it."""
        return self.path.name or str(self.path)

    @property
    def working(self) -> Path:
        """The folder of what is made with it."""
        return working_folder(self.path)

    @property
    def listed(self) -> dict[str, Any]:
        """As a list of models has it."""
        step = self.about.get("step")
        shown = {"id": self.id, "title": self.title, "medium": self.medium, "size": list(self.size)}
        return {**shown, "step": step if isinstance(step, int) else None, "kind": self.kind}


@final
class Shelf:
    """The models that are served.

    Args:
        settings: which, and how much memory they may have.
        device: where they are opened; None is a GPU where there is one.
    """

    def __init__(self, settings: ServeSettings, device: torch.device | None = None) -> None:
        self._settings, self._device = settings, device
        self._entries: dict[str, Entry] = {}
        self._looked = -_FRESH
        self._open: OrderedDict[str, Store] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._lock = RLock()

    def check(self) -> None:
        """Refuses runs that are none before anything is served.

        Raises:
            UserError: one that is named holds no model, or there is none at all.
        """
        for path in self._settings.runs:
            read_config(newest(path))
        if not self.entries():
            raise UserError("there is no model to serve: name a run's folder")

    def entries(self) -> dict[str, Entry]:
        """All by their ids; the folder of runs is looked at again now and then."""
        with self._lock:
            if not self._entries or monotonic() - self._looked > _FRESH:
                home, named = self._settings.home, self._settings.runs
                paths = (*named, *_begun(home, named)) if named else tuple(_everywhere(home))
                self._entries = {entry.id: entry for entry in _found(paths)}
                self._looked = monotonic()
            return self._entries

    def models(self) -> list[Entry]:
        """Those that draw or decode; classifiers only guide them."""
        return [entry for entry in self.entries().values() if entry.kind != "classifier"]

    def entry(self, name: str) -> Entry:
        """The model of an id.

        Raises:
            Missing: there is none.
        """
        entries = self.entries()
        if name not in entries:
            raise Missing(f"there is no model '{name[:_LONGEST]}' here.{close_match(name[:_LONGEST], entries)}")
        return entries[name]

    def open(self, name: str) -> OpenModel:
        """The model of an id, opened.

        Raises:
            UserError: there is none, or it is damaged.
        """
        entry = self.entry(name)
        with self._lock:
            store = self._open.pop(name, None) or Store(self._device)
            opened = store.open(entry.path)
            self._open[name] = store
            self._sizes[name] = _weight(opened)
            self._close_others(name)
        return opened

    def of_record(self, run: str) -> Entry | None:
        """The model that a record names: of the same folder, or else of the same name."""
        entries = self.models()
        same = [entry for entry in entries if str(entry.path) == run]
        return next(iter([*same, *(entry for entry in entries if entry.title == Path(run).name)]), None)

    def opened_ids(self) -> list[str]:
        """Those that are open, the one that was used last at the end."""
        with self._lock:
            return list(self._open)

    def _close_others(self, name: str) -> None:
        most = self._settings.memory or _memory() // 4
        while sum(self._sizes[one] for one in self._open) > most and len(self._open) > 1:
            oldest = next(iter(self._open))
            if oldest == name:
                return
            del self._open[oldest]


def _everywhere(home: Path) -> Iterator[Path]:
    yield from (Path(path.name) for path in sorted(Path(str(SHIPPED)).glob("*/")))
    if is_folder(home):
        yield from (path for path in sorted(home.iterdir()) if is_folder(path) and not path.name.startswith("."))


def _begun(home: Path, named: tuple[Path, ...]) -> Iterator[Path]:
    """The runs that a studio has begun, beside those that are named."""
    known = {path.absolute() for path in named}
    folders = (path.parent for path in sorted(home.glob(f"*/{OUTPUT}")))
    yield from (path for path in folders if path.absolute() not in known)


def _found(paths: tuple[Path, ...]) -> Iterator[Entry]:
    """The models that are in these folders; what holds none, or a decoder alone, is passed over."""
    taken = set[str]()
    for path in paths:
        try:
            config, about = read_config(newest(path))
        except UserError:
            continue
        if config.kind == "decoder":
            continue
        modality = config.modality if isinstance(config, ModelConfig | AutoencoderConfig) else None
        shape = config.shape
        name = free(slug(path.name or "model"), taken)
        medium = medium_of(shape, modality).name
        yield Entry(id=name, path=path, kind=config.kind, medium=medium, size=shape[1:], about=about)


def slug(text: str, usual: str = "model") -> str:
    """Small letters, digits and hyphens alone."""
    return re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")[:_LONGEST].strip("-") or usual


def free(name: str, taken: set[str]) -> str:
    """A name that is not taken yet, and is from now on."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add(candidate)
    return candidate


def _weight(opened: OpenModel) -> int:
    return sum(weights.numel() * weights.element_size() for weights in opened.model.state_dict().values())


def _memory() -> int:
    """Bytes of this machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 1 << 34
