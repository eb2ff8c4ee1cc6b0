"""The latent cache of a run: its training data are encoded once, before diffusion in latents begins."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from carrara.autoencoder import LearnedStage
from carrara.data import CachedLatents, Dataset, Transform
from carrara.data.latents import cache_key, cacheable, complete, seal, write
from carrara.model import AnyModel
from carrara.recipe import build
from carrara.recipe.folder import first_stage_digest
from carrara.recipe.schema import Recipe
from carrara.train import distributed

BATCH = 64
"""Pictures that are encoded at a time."""


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """So many of this process's examples are encoded."""

    done: int
    total: int


def useful(recipe: Recipe, model: AnyModel) -> bool:
    """Whether the model diffuses in latents that can be cached."""
    return isinstance(model.first_stage, LearnedStage) and cacheable(build.transform(recipe)) is None


def encode(folder: Path, recipe: Recipe, model: AnyModel, data: Dataset) -> Iterator[Encoding]:
    """Completes the cache in ``folder``, if it is not there already; every rank calls it.

    Raises:
        UserError: the folder has another cache in its place, or cannot be written.
    """
    where, key = folder / "latents", _key(recipe, model, data)
    if complete(where, key):
        return
    rank, world = distributed.rank(), distributed.world()

    def raw(pixels: Tensor) -> Tensor:
        with torch.no_grad():
            return model.first_stage.encode_raw(pixels.to(model.device))

    for done in write(where, key, data, _transform(recipe), raw, batch=BATCH, rank=rank, world=world):
        yield Encoding(done=done, total=len(data) // world)
    distributed.wait()
    if distributed.is_main():
        seal(where, key, data)
    distributed.wait()


def opened(folder: Path, recipe: Recipe, model: AnyModel, data: Dataset) -> CachedLatents:
    """The complete cache, as a data set."""
    return CachedLatents(folder / "latents", _key(recipe, model, data), data)


def _key(recipe: Recipe, model: AnyModel, data: Dataset) -> str:
    return cache_key(first_stage_digest(model), _transform(recipe), data)


def _transform(recipe: Recipe) -> Transform:
    transform = build.transform(recipe)
    assert transform is not None, "a learned first stage takes pictures"
    return transform
