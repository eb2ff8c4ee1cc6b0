"""What a run shows and measures on its way, of fixed seeds and fixed held-out examples, so that it can be compared."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from carrara import evaluate, pixels
from carrara.data import Dataset, batch_of, nested, spread
from carrara.errors import UserError
from carrara.evaluate import Features
from carrara.measure import likeness
from carrara.measure.forecast import GAP
from carrara.medium import PictureMedium
from carrara.model import AnySaved, DiffusionModel
from carrara.objective import Objective
from carrara.ranks import rank, world
from carrara.recipe.kinds import Examples, Kind
from carrara.store.latents import PICTURES_AT_A_TIME, Cache, captioned
from carrara.store.runs import EARLY, is_sound
from carrara.train import autocast
from carrara.train.runner import Sums, means, sums
from carrara.types import Batch


class Previews:
    """Those of one run.

    Args:
        kind: of its recipe.
        model: on its device.
        examples: the data.
        folder: the run's.

    Raises:
        UserError: there is nothing by which the best model could be found.
    """

    def __init__(self, kind: Kind[Any, Any], model: AnySaved, examples: Examples, folder: Path) -> None:
        self._kind, self._model, self._examples, self._folder = kind, model, examples, folder
        self._settings = kind.recipe.preview
        self._features = self._judges()

    def picture(self, step: int) -> Path | None:
        """Writes a preview; None if there is nothing to look at."""
        shown = self._kind.preview(self._model, self._examples, self._folder)
        if shown is None:
            return None
        path = self._folder / "samples" / f"step-{step:06d}.png"
        return pixels.save_png(shown.picture, path, shown.about, overwrite=True, within=self._folder)

    def share(self, objective: Objective, cache: Cache | None) -> Sequence[Sums]:
        """The objective's measures of this rank's share of the held-out examples; and of training examples, if the
        settings ask for the ``gap``."""
        count = self._settings.held_out
        found = [self._sums(objective, cache, self._examples.batch(count))]
        if self._settings.gap is not None:
            found.append(self._sums(objective, cache, self._trained(self._part, count)))
        return found

    def measure(self, shares: Sequence[Sequence[Sums]]) -> Mapping[str, float]:
        """What the shares of all ranks come to; with the ``gap``, and ``kid``, if the best model is found by it."""
        values, *trained = (means(parts) for parts in zip(*shares, strict=True))
        for others in trained:
            gap = evaluate.memorisation_gap(others, values)
            values = values if gap is None else {**values, GAP: gap}
        return values if self._features is None else {**values, "kid": self._kernel_distance(self._features)}

    @cached_property
    def _part(self) -> Dataset:
        """Of the training data, what the ``gap`` is measured on."""
        return nested(self._examples.training, self._settings.gap or 1.0)

    def _trained(self, data: Dataset, count: int) -> Batch:
        """``count`` examples from all over ``data``; if there are fewer, each is there again with other noise."""
        chosen = spread(count, len(data))
        again = [chosen[k % len(chosen)] for k in range(count)]
        batch = batch_of(captioned(data, self._examples.table), self._examples.transform, again)
        return replace(batch, position=torch.arange(count))

    def _sums(self, objective: Objective, cache: Cache | None, batch: Batch) -> Sums:
        """The objective's measures of every ``world``-th of the batches, which are no larger than in training."""
        recipe = self._kind.recipe
        size = -(-min(recipe.train.batch, len(batch)) // world())
        batches = islice(batch.split(size), rank(), None, world())
        batches = batches if cache is None else cache.encoded(batches)
        with autocast(recipe.train.precision, self._model.device):
            return sums(objective, batches, recipe.seed)

    def compare(self, step: int, images: int) -> None:
        """Writes how samples of the finished model compare with held-out pictures, as ``measure.likeness`` has it; as
        many as are measured at previews, or fewer after a short training. Nothing where there is nothing to compare.

        Args:
            step, images: of the training.
        """
        model, count = self._model, min(self._settings.held_out, len(self._examples.held_out))
        if not (self._kind.draws and isinstance(model, DiffusionModel) and isinstance(model.medium, PictureMedium)):
            return
        early = self._folder / EARLY
        weak = early if is_sound(early) and not model.guidable else None
        settings = self._kind.recipe.sample
        sides = 1 if weak is None and settings.guidance == 1 else 2
        if count := likeness.affordable(count, images=images, calls=sides * settings.steps):
            real = self._examples.batch(count)
            made = self._kind.samples(model, self._examples, real, weak)
            found = likeness.likeness(made, real.x, self.seeing(), step=step, led=weak is not None)
            likeness.write(found, self._folder)

    def seeing(self) -> Features | None:
        """Features, if they are installed."""
        if self._features is not None:
            return self._features
        with suppress(UserError):
            return evaluate.extractor().to(self._model.device)
        return None

    def _kernel_distance(self, features: Features) -> float:
        """Of as many samples as there are held-out pictures to compare them with."""
        real = self._examples.batch(max(2, self._settings.held_out))
        made = self._kind.samples(self._model, self._examples, real)
        both = (pixels.rounded(made), real.x)
        vectors = [torch.cat(list(evaluate.extract(features, x.split(PICTURES_AT_A_TIME)))) for x in both]
        return evaluate.kernel_distance(*vectors).value

    def _judges(self) -> Features | None:
        """What ``preview.best=kid`` looks at."""
        by, count = self._settings.best, len(self._examples.held_out)
        if by is None:
            return None
        if count < 1 + (by == "kid"):
            raise UserError(f"preview.best={by} is found on held-out data, and there are {count}: raise data.held_out")
        if by == "kid" and self._examples.transform is None:
            raise UserError("preview.best=kid compares pictures, and these data are points: take preview.best=loss")
        return evaluate.extractor().to(self._model.device) if by == "kid" else None
