"""The trained runs that a recipe names: first stages to diffuse in, and teachers."""

from pathlib import Path

from carrara.autoencoder import ConvolutionalStage
from carrara.errors import UserError
from carrara.model import AnyModel, AutoencoderConfig, DiffusionModel, ModelConfig
from carrara.recipe.folder import begun_about, configured, first_stage_digest, open_model
from carrara.recipe.schema import (
    ClassificationSettings,
    DistillationSettings,
    FewStepSettings,
    Recipe,
    TrainedConfig,
)


def trained_config(settings: TrainedConfig) -> ModelConfig | AutoencoderConfig:
    """How the model of the run that ``settings`` name is built.

    Raises:
        UserError: there is no such run.
    """
    return configured(Path(settings.run))


def teacher(recipe: Recipe) -> AnyModel | None:
    """The trained model that a few-step model or a tiny decoder learns from, or that a classifier is for; None if the
    recipe needs none. It takes long to open, so whoever needs it more than once keeps it.

    Raises:
        UserError: the recipe names none where it needs one, or one that does not teach this.
    """
    own = recipe.model.first_stage
    match recipe.objective:
        case FewStepSettings(teacher=""):
            raise UserError("a few-step model learns from a trained run: 'carrara distill RUN --steps 4' names it")
        case FewStepSettings() as settings:
            return few_step_teacher(Path(settings.teacher))
        case DistillationSettings() if isinstance(own, TrainedConfig):
            return decoder_teacher(Path(own.run))
        case DistillationSettings():
            raise UserError("a decoder is distilled from a trained run: name it in model.first_stage.run")
        case ClassificationSettings() if isinstance(own, TrainedConfig):
            return open_model(Path(own.run))
        case _:
            return None


def known_teacher(recipe: Recipe, taught_by: AnyModel, folder: Path) -> str:
    """What identifies a teacher, as far as it teaches: of a few-step model all of it, else its first stage.

    Raises:
        UserError: the run in ``folder`` has learned from another one.
    """
    few = isinstance(recipe.objective, FewStepSettings)
    found = taught_by.digest() if few else first_stage_digest(taught_by)
    if begun_about(folder).get("teacher", found) != found:
        raise UserError(
            f"'{folder}' has learned from another model than its teacher is now, which was trained further or "
            f"exchanged since: put the old one back, or move '{folder}' away to begin again"
        )
    return found


def few_step_teacher(run: Path) -> DiffusionModel:
    """The model of a run, from which one of few steps can learn.

    Raises:
        UserError: there is none.
    """
    trained = open_model(run)
    if not isinstance(trained, DiffusionModel):
        raise UserError(
            f"'{run}' is an autoencoder, which takes no steps: name a run that diffuses, or distil its decoder with "
            "--decoder"
        )
    return trained


def decoder_teacher(run: Path) -> AnyModel:
    """The model of a run, whose decoder can be distilled.

    Raises:
        UserError: there is none, or it diffuses in pixels.
    """
    trained = open_model(run)
    if not isinstance(trained.first_stage, ConvolutionalStage):
        raise UserError(f"'{run}' has no autoencoder of pictures, so there is no decoder to distil")
    return trained
