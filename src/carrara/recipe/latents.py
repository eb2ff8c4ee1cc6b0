"""The latent cache of a run: its training data are encoded once, before diffusion in latents begins."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from carrara.autoencoder import LearnedStage
from carrara.conditioning import TextConditioner
from carrara.data import CachedLatents, Captioned, CaptionTable, Dataset, Transform
from carrara.data.latents import cache_key, cacheable, complete, seal, write
from carrara.model import AnySaved, DiffusionModel
from carrara.recipe import build
from carrara.recipe.folder import first_stage_digest
from carrara.recipe.schema import Recipe
from carrara.train import distributed
from carrara.types import Batch

BATCH = 64
"""Pictures that are encoded at a time."""


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """So many of this process's pictures are encoded, or captions are read."""

    done: int
    total: int
    what: Literal["encoded pictures", "captions", "solutions"] = "encoded pictures"


def captions_for(model: AnySaved, folder: Path | None = None) -> CaptionTable | None:
    """How the model reads captions, if it does; with a run's folder, what took long to read is kept there."""
    conditioner = model.conditioner if isinstance(model, DiffusionModel) else None
    if not isinstance(conditioner, TextConditioner):
        return None
    kept = folder is not None and conditioner.reading
    return CaptionTable(conditioner.rows, folder / "captions" / conditioner.reading if folder and kept else None)


def captioned(data: Dataset, table: CaptionTable | None) -> Dataset:
    """The data with its captions as a column, if the model reads them."""
    return data if table is None else Captioned(data, table)


def cache_for(folder: Path, recipe: Recipe, model: AnySaved, data: Dataset) -> "LatentCache | None":
    """The cache of a run, if it diffuses in latents that can be cached."""
    transform = build.transform(recipe)
    if not isinstance(model, DiffusionModel) or not isinstance(model.first_stage, LearnedStage) or model.image:
        return None  # an image condition is made of pixels
    return None if transform is None or cacheable(transform) else LatentCache(folder, transform, model, data)


class LatentCache:
    """A training set as latents, in ``RUN/latents``; the weights may still be loaded until it is first used."""

    def __init__(self, folder: Path, transform: Transform, model: DiffusionModel, data: Dataset) -> None:
        self._folder, self._transform, self._model, self._data = folder / "latents", transform, model, data

    def complete(self) -> Iterator[Encoding]:
        """Encodes what is not encoded yet; every rank calls it.

        Raises:
            UserError: the folder has another cache in its place, or cannot be written.
        """
        key = self._key()
        if complete(self._folder, key):
            return
        rank, world = distributed.rank(), distributed.world()
        for done in write(
            self._folder, key, self._data, self._transform, self._raw, batch=BATCH, rank=rank, world=world
        ):
            yield Encoding(done=done, total=len(self._data) // world)
        distributed.wait()
        if distributed.is_main():
            seal(self._folder, key, self._data)
        distributed.wait()

    def opened(self) -> CachedLatents:
        """The complete cache, as a data set."""
        return CachedLatents(self._folder, self._key(), self._data)

    def encoded(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Batches of pictures as batches of raw latents, for data that are not in the cache."""
        return (replace(batch, x=self._raw(batch.x)) for batch in batches)

    def _key(self) -> str:
        return cache_key(first_stage_digest(self._model), self._transform, self._data)

    @torch.no_grad()
    def _raw(self, pixels: Tensor) -> Tensor:
        """In float32, whatever training computes in."""
        device = self._model.device
        with torch.autocast(device.type, enabled=False):
            return self._model.first_stage.encode_raw(pixels.to(device))
