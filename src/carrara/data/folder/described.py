"""Files of a folder, of whatever kind, with what is said of them: classes, vectors, captions, and a split."""

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from carrara.data.base import Dataset, Row, one_hot
from carrara.data.folder.columns import WIDEST, Line
from carrara.data.folder.layout import counted
from carrara.data.folder.looking import Found
from carrara.data.folder.reading import Reading
from carrara.errors import UserError
from carrara.files import shown

_SAID = set[tuple[Path, str]]()
_log = logging.getLogger(__name__)


class Described(Dataset):
    """Files of a folder. Abstract in what they are.

    Args:
        path: of the folder.
        files: their names within it, in order.
        found: what is said of them.
        reading: what files are taken as.

    Attributes:
        classes: the names of all.
        vector_size: how many numbers each has; 0 for none.

    Raises:
        UserError: it has too many classes, or vectors of several sizes.
    """

    def __init__(self, path: Path, files: Sequence[str], found: Found, reading: Reading) -> None:
        self.path, self._noun = path, reading.noun
        lines = [found.lines.get(file) for file in files]
        self._labels = [line.labels if line else () for line in lines]
        self.classes = tuple(sorted({name for labels in self._labels for name in labels}))
        if len(self.classes) > WIDEST:
            raise UserError(f"'{shown(path)}' has {len(self.classes)} classes, and at most {WIDEST} are told apart")
        self._index = {name: k for k, name in enumerate(self.classes)}
        self._vectors = _vectors(files, lines, self._noun)
        self.vector_size = len(self._vectors[0]) if self._vectors else 0
        self._captions = [(line.texts or ()) if line else () for line in lines]
        self._held = _held(files, found)

    @abstractmethod
    def file(self, index: int) -> str:
        """Its name within the folder, as it is on the disk."""

    def held(self, index: int) -> bool | None:
        return self._held[index] if self._held else None

    def labels(self, index: int) -> tuple[str, ...]:
        """The names of its classes."""
        return self._labels[index]

    def vector(self, index: int) -> Row | None:
        """Its numbers, if it has any."""
        return self._vectors[index] if self._vectors else None

    def columns(self, index: int) -> Mapping[str, Row]:
        columns: dict[str, Row] = {}
        if self._index:
            columns["label"] = one_hot(len(self._index), *(self._index[name] for name in self._labels[index]))
        if self._vectors:
            columns["vector"] = self._vectors[index]
        return columns

    def captions(self, index: int) -> tuple[str, ...]:
        return self._captions[index]

    def name(self, index: int) -> str:
        return shown(self.file(index))

    def tell_copies(self) -> None:
        """Says how many of those that are held out are trained on, under other names."""
        trained = {self.key(k) for k, held in enumerate(self._held) if not held}
        if copies := sum(self.key(k) in trained for k, held in enumerate(self._held) if held):
            warn(self.path, f"{counted(copies, self._noun)} held out are trained on too, and are not measured")


def warn(folder: Path, text: str) -> None:
    """Says something of a folder, once: whoever trains opens the folder more than once."""
    said = folder.absolute(), text
    if said not in _SAID:
        _SAID.add(said)
        _log.warning("%s", text)


def _held(files: Sequence[str], found: Found) -> list[bool | None]:
    """Which files the folder itself holds out; empty if it does not say."""
    if not found.parts:
        return []
    parts = [found.parts.get(file) for file in files]
    return [None if part is None else part != "train" for part in parts]


def _vectors(files: Sequence[str], lines: Sequence[Line | None], noun: str) -> list[Row]:
    none = np.zeros(0, np.float32)
    vectors = [none if line is None or line.vector is None else line.vector for line in lines]
    size = max(map(len, vectors), default=0)
    wrong = [
        f"\"vector\" of '{shown(file)}' has {len(vector)} numbers, and others have {size}"
        for file, vector in zip(files, vectors, strict=True)
        if len(vector) != size
    ]
    if wrong:
        more = f"; so it is with {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(f"metadata: {wrong[0]}{more}: give all {noun}s as many, or none")
    return vectors if size else []
