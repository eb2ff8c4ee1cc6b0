"""What is made of a run's training data once, before training: the latents in which it diffuses, for one."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Literal, final

import torch
from torch import Tensor

from carrara.data import CachedLatents, Captioned, CaptionTable, Dataset, Transform
from carrara.data.latents import cache_key, cacheable, has_cache, seal, write
from carrara.model import DiffusionModel
from carrara.store.runs import first_stage_digest
from carrara.train import distributed
from carrara.types import Batch

PICTURES_AT_A_TIME = 64
"""Pictures that are encoded at a time."""


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """So many of this process's pictures are encoded, or captions are read."""

    done: int
    total: int
    what: Literal["encoded pictures", "captions", "solutions", "drawn pictures"] = "encoded pictures"


class Cache(ABC):
    """What is made of a training set once, and then read in its place. Abstract in what."""

    @abstractmethod
    def complete(self) -> Iterator[Encoding]:
        """Makes what is not there yet; every rank calls it.

        Raises:
            UserError: it cannot be written.
        """

    @property
    @abstractmethod
    def missing(self) -> int:
        """Bytes that are not there yet, about, and rather too many."""

    @abstractmethod
    def opened(self) -> Dataset:
        """The complete cache, as a data set."""

    @abstractmethod
    def encoded(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same of held-out batches, which are not in the cache."""


def bytes_missing(folder: Path, wanted: int) -> int:
    """What a folder will grow by to have so many bytes."""
    return max(0, wanted - folder_size(folder))


def folder_size(folder: Path) -> int:
    """The bytes of the files in a folder; 0 if there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def captioned(data: Dataset, table: CaptionTable | None) -> Dataset:
    """The data with its captions as a column, if the model reads them."""
    return data if table is None else Captioned(data, table)


def cache_for(folder: Path, transform: Transform | None, model: DiffusionModel, data: Dataset) -> Cache | None:
    """The cache of a run, if it diffuses in latents that can be cached."""
    if not model.first_stage.learned or model.image is not None:
        return None  # an image condition is made of pixels
    return None if transform is None or cacheable(transform) else LatentCache(folder, transform, model, data)


@final
class LatentCache(Cache):
    """A training set as latents, in ``RUN/latents``; the weights may still be loaded until it is first used."""

    def __init__(self, folder: Path, transform: Transform, model: DiffusionModel, data: Dataset) -> None:
        self._folder, self._transform, self._model, self._data = folder / "latents", transform, model, data

    def complete(self) -> Iterator[Encoding]:
        key = self._key()
        if has_cache(self._folder, key):
            return
        rank, world = distributed.rank(), distributed.world()
        for done in write(
            self._folder, key, self._data, self._transform, self._raw, batch=PICTURES_AT_A_TIME, rank=rank, world=world
        ):
            yield Encoding(done=done, total=len(self._data) // world)
        distributed.wait()
        if distributed.is_main():
            seal(self._folder, key, self._data)
        distributed.wait()

    @property
    def missing(self) -> int:
        """Raw latents are at most twice as many numbers as latents, of two bytes mostly; mirrored ones are others."""
        views = 2 if self._transform.flip else 1
        return bytes_missing(self._folder, 2 * 2 * views * len(self._data) * prod(self._model.latent_shape))

    def opened(self) -> CachedLatents:
        return CachedLatents(self._folder, self._key(), self._data)

    def encoded(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Pictures as raw latents."""
        return (replace(batch, x=self._raw(batch.x)) for batch in batches)

    def _key(self) -> str:
        return cache_key(first_stage_digest(self._model), self._transform, self._data)

    @torch.no_grad()
    def _raw(self, pixels: Tensor) -> Tensor:
        """In float32, whatever training computes in."""
        device = self._model.device
        with torch.autocast(device.type, enabled=False):
            return self._model.first_stage.encode_raw(pixels.to(device))
