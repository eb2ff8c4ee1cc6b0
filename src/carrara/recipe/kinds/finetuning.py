"""A trained model learns further, from other data: all of it, or an adapter beside its weights."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

from carrara.conditioning import ClipTextConfig, EncodedTextConfig, LearnedTextConfig
from carrara.data import CaptionTable, Dataset
from carrara.data.prior import Told
from carrara.data.settings import DataSettings
from carrara.draw.prior import PriorCache
from carrara.errors import UserError, command
from carrara.model import DiffusionModel, Model, ModelConfig
from carrara.objective import Control, DiffusionSettings, FineTuningSettings, Lora, Objective, Token
from carrara.recipe.kinds.base import Next
from carrara.recipe.kinds.controls import seen_of, with_control
from carrara.recipe.kinds.diffusion import diffusion_objective
from carrara.recipe.kinds.networks import DrawingKind, with_adapter
from carrara.recipe.kinds.subjects import check_classes, check_said, columns_of, told_of, with_new_word
from carrara.recipe.sections import ModelSettings, Sections, TrainedConfig
from carrara.shapes import by
from carrara.store.latents import Cache
from carrara.store.runs import open_model

_R = TypeVar("_R", bound=Sections)
FINETUNE = command("finetune RUN DATA")


class FineTuning(DrawingKind[FineTuningSettings]):
    """See ``objective.finetuning``."""

    settings_class = FineTuningSettings
    sees = True
    begun_by = f"fine-tuning begins with a trained model: '{FINETUNE}' names it, and the data to learn from"

    def open_teacher(self) -> DiffusionModel:
        if not self.settings.start:
            raise UserError(f"fine-tuning begins with a trained model: '{FINETUNE}' names it")
        run = Path(self.settings.start)
        return tunable(open_model(run), run)

    def config(self) -> ModelConfig:
        config = replace(self._begun.config, sample=self.recipe.sample)
        conditioner = told_of(config.conditioner, self.settings.learn)
        backbone, _ = seen_of(config, self.settings.learn)
        return replace(config, conditioner=conditioner, backbone=backbone, image=self.recipe.model.image)

    def untrained(self) -> DiffusionModel:
        """As its training begins: what it starts from, with what is added to it."""
        model, learn = super().untrained(), self.settings.learn
        if isinstance(learn, Token):
            return with_new_word(model, self._begun, learn)
        if isinstance(learn, Control):
            return with_control(model, self._begun)
        model.load_state_dict(self._begun.state_dict())
        model.fast = self._begun.fast
        return with_adapter(model, learn) if isinstance(learn, Lora) else model

    def adopt(self, model: DiffusionModel, folder: Path) -> None:
        """Its first stage is there already."""

    def told(self, data: Dataset) -> Dataset:
        settings, conditioner = self.settings, self.recipe.model.conditioner
        if settings.caption:
            columns, classes = columns_of(conditioner, settings.caption)
            data = Told(data, settings.caption, columns, classes)
        elif isinstance(conditioner, EncodedTextConfig | LearnedTextConfig | ClipTextConfig) and not data.info.captions:
            raise UserError(
                "the model reads captions, and the data has none: say what all pictures show, as in "
                "objective.caption='a cat', or put cat.txt beside cat.png"
            )
        check_classes(conditioner, data)
        if isinstance(settings.learn, Token):
            check_said(conditioner, data)
        return data

    def cache(self, folder: Path, model: DiffusionModel, data: Dataset, table: CaptionTable | None) -> Cache | None:
        prior, config = self.settings.prior, model.config.conditioner
        if prior is None:
            return super().cache(folder, model, data, table)
        columns, _ = columns_of(config, prior.prompt)
        begun = self._begun.to(model.device)
        return PriorCache(folder, begun, prior, self.recipe.sample, data, columns)

    def objective(self, model: DiffusionModel, *, encoded: bool = False) -> Objective:
        encoded = encoded and self.settings.prior is None  # what was drawn before are pictures
        return diffusion_objective(self.recipe, self.settings, model, encoded=encoded)

    def about(self, folder: Path) -> dict[str, Any]:
        return {"start": Path(self.settings.start).name, **super().about(folder)}

    def usual(self, model: DiffusionModel) -> str:
        return "kid"

    def identity(self, teacher: Model) -> str:
        """All of it is begun with."""
        return teacher.digest()

    def next(self, folder: Path) -> Iterator[Next]:
        yield from super().next(folder)
        if isinstance(self.settings.learn, Token):
            yield Next(
                purpose="Say its word", command=command(f"sample {folder} {quote(f'a {self.settings.learn.word}')}")
            )
        if isinstance(self.settings.learn, Lora):
            yield Next(
                purpose="Add its adapter to what it began with",
                command=command(f"sample {self.settings.start}", lora=f"{folder}:0.8"),
            )

    @cached_property
    def _begun(self) -> DiffusionModel:
        assert self.teacher is not None
        return tunable(self.teacher, Path(self.settings.start))


def finetuning_recipe(run: Path, trained: Model, before: Sections | None, chosen: _R) -> _R:
    """The recipe of a fine-tuning: the model of what it starts from, and what was ``chosen`` about the rest.

    Args:
        run: what it starts from.
        trained: its model.
        before: its recipe, if it has one.
        chosen: a recipe of fine-tuning, with its data.

    Raises:
        UserError: it draws nothing by steps, or takes few; or the data are to be of another size.
    """
    model, settings = tunable(trained, run), chosen.objective
    assert isinstance(settings, FineTuningSettings)
    config, own = model.config, None if before is None else before.objective
    if isinstance(own, DiffusionSettings):
        settings = replace(settings, times=own.times, weighting=own.weighting, drop=own.drop)
    backbone, image = seen_of(config, settings.learn)
    if chosen.model != ModelSettings():
        raise UserError("the model is that of what one starts from: leave everything under 'model' out")
    return chosen.model_copy(
        update={
            "data": fitting(chosen.data, config.shape, run),
            "model": ModelSettings(
                backbone=backbone,
                schedule=config.schedule,
                parameterization=config.parameterization,
                conditioner=told_of(config.conditioner, settings.learn),
                image=image,
                first_stage=TrainedConfig(run=settings.start) if model.first_stage.learned else config.first_stage,
            ),
            "objective": replace(settings, loss="hybrid" if config.learned_variance else "simple"),
            "sample": config.sample,
        }
    )


def fitting(data: DataSettings, shape: tuple[int, ...], run: Path) -> DataSettings:
    """The data as a model of ``shape`` takes them.

    Raises:
        UserError: others are asked for.
    """
    if data.size not in (None, shape[1:]) or data.channels not in (None, shape[0]):
        asked = data.channels if data.channels not in (None, shape[0]) else by(data.size or ())
        raise UserError(f"'{run}' takes {shape[0]} channels of {by(shape[1:])}, not {asked}: leave that out")
    return replace(data, size=shape[1:] or None, channels=shape[0] if shape[1:] else None)


def tunable(trained: Model, run: Path) -> DiffusionModel:
    """Refuses a model that cannot be tuned."""
    if trained.few_steps is not None:
        raise UserError(f"'{run}' draws in {trained.few_steps} steps and no other way: name {trained.unhurried}")
    if trained.first_stage.levels is not None:
        raise UserError(f"'{run}' draws levels from masks, and noise is what is learned here: train a new model")
    return trained.diffusion(f"'{run}' is an autoencoder, which does not diffuse: name a run that was trained on it")
