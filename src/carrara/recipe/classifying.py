"""What a recipe says of a classifier that is trained."""

from carrara.autoencoder import FirstStage, IdentityConfig
from carrara.backbone import UNetConfig
from carrara.classifier import ClassifierConfig
from carrara.conditioning import LabelsConfig
from carrara.errors import UserError
from carrara.model import AnyModel
from carrara.recipe.folder import first_stage_digest
from carrara.recipe.schema import Recipe
from carrara.saved import digest


def frozen_first_stage(recipe: Recipe, shape: tuple[int, ...], guided: AnyModel | None) -> tuple[FirstStage, str]:
    """The first stage in whose latents a classifier works, and its digest.

    Args:
        guided: the model that it is for, if the recipe names one.

    Raises:
        UserError: it is still to be trained.
    """
    own = recipe.model.first_stage
    if guided is not None:
        return guided.first_stage, first_stage_digest(guided)
    if not isinstance(own, IdentityConfig) or recipe.autoencoder is not None:
        raise UserError(
            "a classifier looks at pixels, or at the latents of a trained run: leave autoencoder out, and name the run "
            "(model.first_stage.kind=trained model.first_stage.run=DIR)"
        )
    stage = own.build(shape)
    return stage, digest(own, stage)


def classifier_config(recipe: Recipe, shape: tuple[int, ...], guided: AnyModel | None) -> ClassifierConfig:
    """How to build the classifier of pictures of ``shape``.

    Raises:
        UserError: the recipe's network is no U-Net, it names no labels, or see ``frozen_first_stage``.
    """
    network, told = recipe.model.backbone, recipe.model.conditioner
    if not isinstance(network, UNetConfig) or not isinstance(told, LabelsConfig):
        raise UserError(
            "a classifier is the way down of a U-Net and learns from labels: take model.backbone=unet and "
            "model.conditioner=labels"
        )
    stage, known = frozen_first_stage(recipe, shape, guided)
    return ClassifierConfig(
        shape=shape,
        latent_shape=stage.latent_shape(shape),
        classes=told.classes,
        backbone=network,
        schedule=recipe.model.schedule,
        first_stage=known,
    )
