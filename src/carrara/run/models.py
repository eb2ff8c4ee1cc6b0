"""What a run writes of its model: ``model/`` when it is done, ``best/`` and ``early/`` on the way."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carrara.autoencoder import LearnedStage, measure
from carrara.data import batch_of, spread
from carrara.files import sealed
from carrara.model import AnySaved
from carrara.recipe.kinds import Examples, Kind
from carrara.store.latents import PICTURES_AT_A_TIME
from carrara.store.runs import EARLY
from carrara.train import Clock, distributed

MEASURED = 50_000
"""At most so many pictures decide the mean and the deviation of latents."""
PROVISIONAL = 2_000
"""The same for ``best/``, which is written while training waits."""


class Models:
    """Those of one run.

    Args:
        kind: of its recipe.
        model: with the weights to write, whenever that is asked for.
        examples: the data.
        folder: the run's.
        about: what the model remembers of its training.
    """

    def __init__(
        self, kind: Kind[Any, Any], model: AnySaved, examples: Examples, folder: Path, about: Mapping[str, Any]
    ) -> None:
        self._kind, self._model, self._examples, self._about = kind, model, examples, about
        self.final, self.best, self.early = (folder / name for name in ("model", "best", EARLY))

    def finish(self) -> None:
        """Measures the latents of a first stage that has learned; every rank calls it."""
        stage = self._kind.stage_of(self._model)
        if stage is not None:
            self._whiten(stage)

    def keep_best(self, clock: Clock) -> None:
        """Writes ``best/``; a first stage's latents are measured for it and forgotten again."""
        stage = self._kind.stage_of(self._model)
        if stage is None:
            self.write(self.best, clock)
            return
        before = stage.mean.clone(), stage.std.clone()
        self._whiten(stage, most=PROVISIONAL, alone=True)
        self.write(self.best, clock)
        stage.mean.copy_(before[0])
        stage.std.copy_(before[1])

    def write(self, final: Path, clock: Clock) -> None:
        """Writes the model as it is now in the place of the old one."""

        def fill(folder: Path) -> None:
            self._model.write(folder, **self._about, step=clock.step, images=clock.images)

        sealed.write_folder(final, fill, "the checkpoints are untouched")

    def _whiten(self, stage: LearnedStage, *, most: int = MEASURED, alone: bool = False) -> None:
        """Measures the latents of the training data, or of ``most`` examples from all over them, and keeps their mean
        and deviation. Each process measures its share, unless it is ``alone``."""
        data, transform, device = self._examples.training, self._examples.transform, self._model.device
        rank, world = (0, 1) if alone else (distributed.rank(), distributed.world())
        examples = spread(most, len(data))
        parts = (
            examples[first : first + PICTURES_AT_A_TIME]
            for first in range(rank * PICTURES_AT_A_TIME, len(examples), world * PICTURES_AT_A_TIME)
        )
        batches = (batch_of(data, transform, part).to(device) for part in parts)
        measure(stage, batches, self._kind.recipe.seed, total=(lambda x: x) if alone else distributed.total)
