"""Models that are opened once and shared: by the pictures of an edit, by requests, and by threads.

A model is known by its folder and by when its weights were written, so one that has learned since is opened
anew. What is opened is never changed: whoever wants to train builds another one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import TypeVar, cast, final

import torch
from torch import Tensor

from carrara.data.settings import read_settings
from carrara.device import default_device
from carrara.errors import UserError, option
from carrara.model import DiffusionModel, Model
from carrara.saved import Saved
from carrara.store.rivals import Guide, Rivals, WeakerModel, check_classifier, check_weaker, guidance_by
from carrara.store.runs import EARLY, TINY, located, newest, open_classifier, open_model, read_section, run_of
from carrara.types import Wrapper

_S = TypeVar("_S", bound=Saved)
Stamp = tuple[tuple[Path, int], ...]
"""Configuration files that are there, and when they were written."""


@final
class Store:
    """Opens models, and keeps them.

    Args:
        device: where they are; None is a GPU where there is one.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device or default_device()
        self._kept: dict[tuple[Path, Callable[..., Saved]], tuple[Stamp, Saved]] = {}
        self._lock = RLock()

    def open(self, folder: Path) -> "OpenModel":
        """The model of a run's folder, of one of its checkpoints, of a model's own folder, or a shipped one by name.

        Raises:
            UserError: there is none, or it is damaged.
        """
        return OpenModel(model=self.once(folder, open_model), folder=folder, store=self)

    def once(self, folder: Path, read: Callable[[Path], _S]) -> _S:
        """What ``read`` makes of a folder, from the second time on the same object, unless the files are others; then
        the older one is forgotten."""
        key = located(folder).resolve(), read
        with self._lock:
            stamp = _stamp(folder)
            if key not in self._kept or self._kept[key][0] != stamp:
                self._kept[key] = stamp, read(folder).to(self.device)
            return cast(_S, self._kept[key][1])


def _stamp(folder: Path) -> Stamp:
    """What is opened with a folder: its newest weights, its tiny decoder, and its earlier self."""
    files = (newest(folder), located(folder) / TINY / "model", located(folder) / EARLY)
    there = (folder.resolve() / "config.json" for folder in files)
    return tuple((file, file.stat().st_mtime_ns) for file in there if file.is_file())


@final
@dataclass(frozen=True, kw_only=True)
class OpenModel:
    """A model, and where it is from. Any number of requests and threads may share it.

    Attributes:
        folder: a run's, a checkpoint's, a model's own, or the name of a shipped one.
        store: where its rivals are opened.
    """

    model: Model
    folder: Path = Path()
    store: Store = field(default_factory=Store, repr=False)

    def examples(self, count: int) -> Tensor:
        """Held-out pictures of the data that the run was trained on, (N, *S), on the model's device.

        Raises:
            UserError: there is no run, or its data are gone.
        """
        if (run := run_of(located(self.folder))) is None:
            raise UserError(f"'{self.folder}' has no recipe.yaml, which says what its data are: name pictures instead")
        return read_settings(read_section(run, "data")).examples(count).x.to(self.model.device)

    def weaker(self, folder: Path) -> WeakerModel:
        """Says which weaker model is in ``folder``.

        Raises:
            UserError: there is none, or it does not fit.
        """
        weak = check_weaker(folder, self.store.once(folder, open_model), self.model)
        return WeakerModel(run=str(folder), weights=weak.digest())

    def guide(self, folder: Path, name: str | None, scale: float) -> Guide:
        """Says what the classifier in ``folder`` shall find.

        Raises:
            UserError: there is none, it does not fit, or it knows no such class.
        """
        classifier = self.store.once(folder, open_classifier)
        guided = check_classifier(folder, classifier, self.model)
        if name is None:
            classes = ", ".join(classifier.classes)
            raise UserError(f"what shall the classifier find? Say {option('label')} and one of {classes}")
        guide = Guide(run=str(folder), weights=classifier.digest(), name=name, scale=scale)
        guidance_by(classifier, guide, guided)
        return guide

    def rivals(self, weak: WeakerModel | None, guide: Guide | None) -> Rivals:
        """Opens what a request names.

        Raises:
            UserError: it is gone, has learned since, or does not fit.
        """
        return Rivals(
            weak=None if weak is None else self._weak(weak), within=None if guide is None else self._within(guide)
        )

    def _weak(self, named: WeakerModel) -> DiffusionModel:
        weak = check_weaker(Path(named.run), self.store.once(Path(named.run), open_model), self.model)
        if weak.digest() != named.weights:
            another = f"name another one, as in {option('weak', 'FOLDER')}"
            raise UserError(f"the weaker model in '{named.run}' has changed since: {another}")
        return weak

    def _within(self, guide: Guide) -> Wrapper:
        classifier = self.store.once(Path(guide.run), open_classifier)
        guided = check_classifier(Path(guide.run), classifier, self.model)
        if classifier.digest() != guide.weights:
            another = f"name another one with {option('classifier')}"
            raise UserError(f"the classifier in '{guide.run}' has changed since: {another}")
        return guidance_by(classifier, guide, guided)
