"""Captions as a loader hands them out: read once, kept, and drawn anew for each sample.

What a frozen encoder makes of captions is kept in a folder that is named by its key, a hash of all that the numbers
depend on, so that it is never stale:

captions/<key>/<texts>.safetensors    of up to 2048 texts, one after the other; named by a hash of the texts

A file is written whole or not at all, and what was read before an interruption stays. Nothing here deletes anything.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from carrara.data.base import Cell, Dataset, Texts, View, captions_of
from carrara.data.ledger import Ledger
from carrara.files import BadFile, NotWritten, open_tensors, replacing, shapes

COLUMN = "text"
TEXTS_A_FILE = 2048
"""Texts of a file: what an interruption costs at most."""

ReadTexts = Callable[[Sequence[str]], list[NDArray[Any]]]
"""Texts to what their column holds: (L,) numbers of tokens, or (L, D) features."""


@final
class CaptionTable:
    """What became of each different text that was read.

    Args:
        read: is asked once for each text.
        folder: where to keep it, for the next time; None for nowhere, which suits what is quick to read.
    """

    def __init__(self, read: ReadTexts, folder: Path | None = None) -> None:
        self._read, self._folder = read, folder
        self._known: dict[str, Callable[[], NDArray[Any]]] = {}

    def complete(
        self, dataset: Dataset, rank: int = 0, world: int = 1, *, keep: bool = True
    ) -> Iterator[tuple[int, int]]:
        """Reads this rank's share of a data set's captions, in files of ``TEXTS_A_FILE``; yields how many of how many.

        Without a folder, every rank reads them all.

        Args:
            keep: whether they must be kept in the folder; else they are held in memory where the disk refuses.

        Raises:
            NotWritten: the disk is full, or refuses.
        """
        texts = sorted({text for k in range(len(dataset)) for text in captions_of(dataset, k)} - self._known.keys())
        shards = [texts[first : first + TEXTS_A_FILE] for first in range(0, len(texts), TEXTS_A_FILE)]
        mine = shards[rank::world] if self._folder else shards
        for number, shard in enumerate(mine, start=1):
            self._learn(shard, keep)
            yield min(number * TEXTS_A_FILE, len(texts)), len(texts)

    def __call__(self, texts: Iterable[str]) -> Texts:
        """The texts as a column holds them; the empty text, if there are none."""
        wanted = tuple(texts) or ("",)
        unknown = [text for text in wanted if text not in self._known]
        self._known |= {t: _held(row) for t, row in zip(unknown, self._read(unknown) if unknown else [], strict=True)}
        return Texts(tuple(self._known[text]() for text in wanted))

    def _learn(self, texts: Sequence[str], keep: bool) -> None:
        """Reads some texts, or opens what was read of them before."""
        path = self._folder and self._folder / f"{_digest(texts)}.safetensors"
        if path is None or not _is_whole(path, len(texts)):
            rows = self._read(texts)
            if path is None or not _save(path, rows, keep):
                self._known |= {text: _held(row) for text, row in zip(texts, rows, strict=True)}
                return
        self._known |= dict(zip(texts, _opened(path), strict=True))


def _held(row: NDArray[Any]) -> Callable[[], NDArray[Any]]:
    return lambda: row


def _digest(texts: Sequence[str]) -> str:
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()


def _is_whole(path: Path, count: int) -> bool:
    try:
        found = shapes(path)
        if found.get("lengths") != (count,) or not found.get("tokens"):
            return False
        lengths = open_tensors(path, "numpy").get_tensor("lengths")
    except BadFile:
        return False
    return bool((lengths >= 0).all() and lengths.sum() == found["tokens"][0])


def _save(path: Path, rows: Sequence[NDArray[Any]], keep: bool) -> bool:
    """Writes a file, in a run that is there; whether it was written, which it must be to ``keep`` it."""
    lengths = np.array([len(row) for row in rows], np.int64)
    try:
        with replacing(path, within=path.parents[2], advice="what was read before is kept") as file:
            file.write(save({"tokens": np.concatenate(rows), "lengths": lengths}))
    except NotWritten:
        if keep:
            raise
        return False
    return True


def _opened(path: Path) -> Iterator[Callable[[], NDArray[Any]]]:
    """Each text's part of a file, which stays on the disk until it is asked for."""
    file = open_tensors(path, "numpy")
    tokens, ends = file.get_slice("tokens"), np.cumsum(file.get_tensor("lengths")).tolist()
    for begin, end in zip([0, *ends], ends, strict=False):
        yield lambda begin=begin, end=end: tokens[begin:end]


@final
class Captioned(View):
    """A data set whose captions are a condition column, ``text``."""

    def __init__(self, dataset: Dataset, table: CaptionTable) -> None:
        super().__init__(dataset)
        self._table = table

    @property
    def ledger(self) -> Ledger | None:
        return self.dataset.ledger  # captions are in it

    def columns(self, index: int) -> Mapping[str, Cell]:
        return {**self.dataset.columns(index), COLUMN: self._table(self.dataset.captions(index))}
