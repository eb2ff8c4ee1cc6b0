"""A model of few steps learns from a trained one, which draws what it learns from."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from carrara.data import CaptionTable, Dataset
from carrara.errors import UserError, command, option
from carrara.model import DiffusionModel, Model, ModelConfig
from carrara.objective import FewStepDistillation, FewStepSettings, Objective
from carrara.objective.fewstep import GRID
from carrara.recipe.kinds.networks import DrawingKind, with_adapter
from carrara.recipe.sections import Sections, TrainedConfig
from carrara.store.latents import Cache
from carrara.store.runs import open_model
from carrara.store.trajectories import Teacher, TrajectoryCache

_R = TypeVar("_R", bound=Sections)
DISTIL = command("distill RUN", steps=4)


class FewStep(DrawingKind[FewStepSettings]):
    """See ``objective.fewstep``."""

    settings_class = FewStepSettings
    metrics = ("kid",)
    pictures = False
    begun_by = (
        f"a few-step model learns from a trained run, whose data and network it has: '{DISTIL}' names it and makes one"
    )

    def open_teacher(self) -> DiffusionModel:
        if not self.settings.teacher:
            raise UserError(f"a few-step model learns from a trained run: '{DISTIL}' names it")
        run = Path(self.settings.teacher)
        return _draws(open_model(run), run)

    def config(self) -> ModelConfig:
        return replace(self._taught.config, sample=self.recipe.sample)

    def untrained(self) -> DiffusionModel:
        """Its teacher."""
        model = super().untrained()
        model.load_state_dict(self._taught.state_dict())
        model.fast = self._taught.fast
        return model if self.settings.learn is None else with_adapter(model, self.settings.learn)

    def adopt(self, model: DiffusionModel, folder: Path) -> None:
        """Its first stage is its teacher's, too."""

    def cache(self, folder: Path, model: DiffusionModel, data: Dataset, table: CaptionTable | None) -> Cache:
        teacher = Teacher(model=self._taught.to(model.device), distilled=self.settings)
        return TrajectoryCache(folder, teacher, data, table, self.recipe.seed)

    def objective(self, model: DiffusionModel, *, encoded: bool = False) -> Objective:
        return FewStepDistillation(
            first_stage=model.first_stage,
            conditioner=model.conditioner,
            denoiser=model.denoiser,
            times=GRID(self.settings.steps, model.config.schedule),
        )

    def about(self, folder: Path) -> dict[str, Any]:
        return {"few_steps": self.settings.steps, **super().about(folder)}

    def identity(self, teacher: Model) -> str:
        """All of it teaches."""
        return teacher.digest()

    @cached_property
    def _taught(self) -> DiffusionModel:
        assert self.teacher is not None
        return _draws(self.teacher, Path(self.settings.teacher))


def few_step_recipe(run: Path, trained: Model, source: _R, chosen: _R) -> _R:
    """The recipe of a model of few steps: its teacher's data and model, and what was ``chosen`` about the rest.

    Args:
        run: the teacher's folder.
        trained: the teacher.
        source: its recipe.
        chosen: a recipe of few steps.

    Raises:
        UserError: the run draws nothing in steps, or takes few already.
    """
    teacher, settings, stage = _draws(trained, run), chosen.objective, source.model.first_stage
    assert isinstance(settings, FewStepSettings)
    if teacher.few_steps is not None:
        raise UserError(f"'{run}' takes {teacher.few_steps} steps already: name {teacher.unhurried}")
    if teacher.image is not None:
        raise UserError(
            f"'{run}' sees pictures beside its noise, and few steps are learned without: sample it as it is"
        )
    if not source.in_pixels:
        stage = TrainedConfig(run=settings.teacher)
    return chosen.model_copy(
        update={
            "data": replace(source.data, buckets=()),
            "model": replace(source.model, first_stage=stage),
            "objective": replace(settings, guidance=teacher.settings(guidance=settings.guidance).guidance),
            "sample": replace(chosen.sample, steps=settings.steps),
        }
    )


def _draws(trained: Model, run: Path) -> DiffusionModel:
    """Refuses a model from which one of few steps cannot learn."""
    if trained.first_stage.levels is not None:
        raise UserError(
            f"'{run}' draws levels, which have no straight way from noise that few steps could learn: sample it in "
            f"fewer steps as it is, with {option('steps')}"
        )
    return trained.diffusion(
        f"'{run}' is an autoencoder, which takes no steps: name a run that diffuses, or distil its decoder with "
        f"{option('decoder')}"
    )
