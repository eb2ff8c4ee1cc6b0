"""A tiny decoder learns from a trained first stage's, to look on while something is drawn."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from carrara.autoencoder import FirstStage, TinyDecoderConfig
from carrara.autoencoder.tiny import SMALL, decoded_shape
from carrara.distilled import DecoderConfig, DistilledDecoder
from carrara.draw.reconstruct import compared
from carrara.errors import UserError, command
from carrara.model import Model
from carrara.objective import DecoderDistillation, DistillationSettings, Objective
from carrara.recipe.kinds.base import Examples, Kind, Next, Shown
from carrara.recipe.sections import Sections, TrainedConfig
from carrara.store.runs import first_stage_digest, open_model

_R = TypeVar("_R", bound=Sections)
_LARGE = 20_000_000
"""Parameters of a first stage from which on its tiny decoder is of the larger size."""


class Distillation(Kind[DistillationSettings, DistilledDecoder]):
    """See ``objective.distillation``."""

    settings_class = DistillationSettings

    def open_teacher(self) -> Model:
        run = self.recipe.first_stage_run
        if run is None:
            raise UserError("a decoder is distilled from a trained run: name it in model.first_stage.run")
        return _decodes(open_model(run), run)

    def config(self) -> DecoderConfig:
        teacher, stage = self._taught, self._taught.first_stage
        large = sum(p.numel() for p in stage.parameters()) > _LARGE
        return DecoderConfig(
            shape=decoded_shape(stage, teacher.shape),
            latent_shape=teacher.latent_shape,
            decoder=self.settings.decoder or (TinyDecoderConfig() if large else SMALL),
            teacher=first_stage_digest(teacher),
        )

    def untrained(self) -> DistilledDecoder:
        return DistilledDecoder(self.config())

    def first_stage(self) -> FirstStage:
        return self._taught.first_stage

    def objective(self, model: DistilledDecoder, *, encoded: bool = False) -> Objective:
        original = self.settings.original
        return DecoderDistillation(decoder=model.decoder, first_stage=self.first_stage(), original=original)

    def preview(self, model: DistilledDecoder, examples: Examples, folder: Path) -> Shown:
        """Examples, what the full decoder makes of them, and what the tiny one does."""
        full = self._taught.to(model.device)
        full.fast = model.forward
        return Shown(picture=compared(full, examples.batch(self.recipe.preview.count).x.to(model.device)))

    def next(self, folder: Path) -> Iterator[Next]:
        yield Next(purpose="Draw quickly", command=command(f"sample {folder.parent}", fast=True))

    @property
    def _taught(self) -> Model:
        assert self.teacher is not None
        return self.teacher


def decoder_recipe(run: Path, trained: Model, source: _R, chosen: _R) -> _R:
    """The recipe of a decoder of the run's first stage, from the run's data.

    Args:
        run: its folder.
        trained: its model.
        source: its recipe.
        chosen: a recipe of distilling.

    Raises:
        UserError: there is no decoder to distil.
    """
    _decodes(trained, run)
    model = replace(chosen.model, first_stage=TrainedConfig(run=str(run.resolve())))
    return chosen.model_copy(update={"data": source.data, "model": model})


def _decodes(trained: Model, run: Path) -> Model:
    """Refuses a model whose decoder cannot be distilled."""
    if not trained.first_stage.learned or trained.first_stage.factor is None:
        raise UserError(f"'{run}' has no autoencoder of pictures, so there is no decoder to distil")
    return trained
