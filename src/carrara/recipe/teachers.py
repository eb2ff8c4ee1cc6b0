"""The trained runs that a recipe names: first stages to diffuse in, and models to distil."""

from pathlib import Path

from carrara.autoencoder import ConvolutionalStage
from carrara.errors import UserError
from carrara.model import AnyModel, AutoencoderConfig, DiffusionModel, ModelConfig
from carrara.recipe.folder import configured, open_model
from carrara.recipe.schema import FewStepSettings, Recipe, TrainedConfig


def trained_config(settings: TrainedConfig) -> ModelConfig | AutoencoderConfig:
    """How the model of the run that ``settings`` name is built.

    Raises:
        UserError: there is no such run.
    """
    return configured(Path(settings.run))


def teacher(recipe: Recipe) -> AnyModel:
    """The trained model whose decoder is distilled.

    Raises:
        UserError: the recipe names none, or it diffuses in pixels.
    """
    own = recipe.model.first_stage
    if not isinstance(own, TrainedConfig):
        raise UserError("a decoder is distilled from a trained run: name it in model.first_stage.run")
    trained = open_model(Path(own.run))
    if not isinstance(trained.first_stage, ConvolutionalStage):
        raise UserError(f"'{own.run}' has no autoencoder of pictures, so there is no decoder to distil")
    return trained


def few_step_teacher(settings: FewStepSettings) -> DiffusionModel:
    """The trained model that one of few steps learns from.

    Raises:
        UserError: there is none.
    """
    if not settings.teacher:
        raise UserError("a few-step model learns from a trained run: 'carrara distill RUN --steps 4' names it")
    trained = open_model(Path(settings.teacher))
    if not isinstance(trained, DiffusionModel):
        raise UserError(
            f"'{settings.teacher}' is an autoencoder, which takes no steps: name a run that diffuses, or distil its "
            "decoder with --decoder"
        )
    return trained
