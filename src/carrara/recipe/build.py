"""From a recipe to objects, one function per slot."""

from dataclasses import replace

import torch

from carrara import seeds
from carrara.autoencoder import FirstStage
from carrara.backbone import Backbone
from carrara.conditioning import Conditioner
from carrara.data import Dataset, Loader, Transform, open_dataset, split
from carrara.denoiser import Denoiser
from carrara.errors import UserError
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import Parameterization, Schedule
from carrara.objective import DiffusionObjective
from carrara.recipe.schema import Recipe


def dataset(recipe: Recipe) -> Dataset:
    """All of the data.

    Raises:
        UserError: there is none.
    """
    data = recipe.data
    return open_dataset(
        data.source,
        size=max(data.size) if data.size else None,
        skin_tones=data.skin_tones,
        points=data.points,
        thickness=data.thickness,
    )


def parts(recipe: Recipe, whole: Dataset) -> tuple[Dataset, Dataset]:
    """The data to train on, and the data held out."""
    return split(whole, recipe.data.held_out)


def transform(recipe: Recipe) -> Transform | None:
    """What brings pictures to the size of the recipe; None for points."""
    data = recipe.data
    if data.size is None or data.channels is None:
        return None
    return Transform(size=data.size, channels=data.channels, fit=data.fit, crop=data.crop, flip=data.flip)


def loader(recipe: Recipe, training: Dataset, rank: int = 0, world: int = 1) -> Loader:
    """Endless batches of one rank.

    Raises:
        UserError: the batch cannot be shared among the ranks.
    """
    if recipe.train.batch % world:
        raise UserError(f"train.batch={recipe.train.batch} cannot be shared equally by {world} processes")
    return Loader(training, transform(recipe), recipe.train.batch // world, recipe.seed, rank=rank, world=world)


def shape(recipe: Recipe) -> tuple[int, ...]:
    """One sample's shape: (C, H, W), or (2,) for points.

    Raises:
        UserError: the recipe leaves it open.
    """
    data = recipe.data
    if data.size is not None and data.channels is not None:
        return (data.channels, *data.size)
    if data.source == "swissroll":
        return (2,)
    raise UserError("the recipe leaves the size of the pictures open: set data.size and data.channels, or give data")


def backbone(recipe: Recipe) -> Backbone:
    """The network alone."""
    return model(recipe).denoiser.backbone


def schedule(recipe: Recipe) -> Schedule:
    """The noise schedule."""
    return recipe.model.schedule


def parameterization(recipe: Recipe) -> Parameterization:
    """What the network predicts."""
    return recipe.model.parameterization


def first_stage(recipe: Recipe) -> FirstStage:
    """Pixels to latents."""
    return recipe.model.first_stage.build()


def conditioner(recipe: Recipe) -> Conditioner:
    """What the network is told."""
    return model(recipe).conditioner


def denoiser(recipe: Recipe) -> Denoiser:
    """Network, schedule and parameterization together."""
    return model(recipe).denoiser


def model_config(recipe: Recipe) -> ModelConfig:
    """What ``model/config.json`` says.

    Raises:
        UserError: the recipe leaves network or condition open.
    """
    settings = recipe.model
    if settings.backbone is None:
        raise UserError("the recipe leaves the network open: set model.backbone, or give data")
    config = ModelConfig(
        shape=shape(recipe),
        backbone=settings.backbone,
        schedule=settings.schedule,
        parameterization=settings.parameterization,
        first_stage=settings.first_stage,
        sample=recipe.sample,
    )
    return config if settings.conditioner is None else replace(config, conditioner=settings.conditioner)


def model(recipe: Recipe) -> DiffusionModel:
    """The untrained model; its initial weights are a function of the seed.

    Raises:
        UserError: the parts do not fit together.
    """
    with seeds.torch_generator(recipe.seed, "initial weights"):
        try:
            return DiffusionModel(model_config(recipe))
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"this model cannot be built: {error}") from None


def objective(recipe: Recipe, untrained: DiffusionModel) -> DiffusionObjective:
    """What training minimises."""
    settings = recipe.objective
    return DiffusionObjective(
        first_stage=untrained.first_stage,
        conditioner=untrained.conditioner,
        denoiser=untrained.denoiser,
        times=settings.times,
        weighting=settings.weighting,
        drop=settings.drop,
    )


def device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
