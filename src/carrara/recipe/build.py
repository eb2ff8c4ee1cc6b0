"""From a recipe to objects, one function per slot."""

from dataclasses import replace
from pathlib import Path

import torch

from carrara import seeds
from carrara.autoencoder import (
    AnyFirstStage,
    ConvolutionalStage,
    FirstStage,
    IdentityConfig,
    LayeredVae,
    LearnedStage,
    TinyDecoderConfig,
)
from carrara.autoencoder.tiny import SMALL, decoded_shape
from carrara.backbone import Backbone
from carrara.classifier import Classifier
from carrara.conditioning import Conditioner, LayoutMap
from carrara.data import (
    CachedLatents,
    Captioned,
    Dataset,
    Loader,
    Mapped,
    Transform,
    bucket_of_each,
    open_dataset,
    split,
)
from carrara.denoiser import Denoiser
from carrara.errors import UserError
from carrara.model import (
    AnyModel,
    AnyModelConfig,
    AnySaved,
    Autoencoder,
    AutoencoderConfig,
    DecoderConfig,
    DiffusionModel,
    DistilledDecoder,
    ModelConfig,
    build_model,
)
from carrara.noise import Parameterization, Schedule
from carrara.objective import (
    AutoencodingObjective,
    ClassificationObjective,
    DecoderDistillation,
    DiffusionObjective,
    ElboObjective,
    FewStepDistillation,
    Objective,
)
from carrara.recipe.classifying import classifier_config, frozen_first_stage
from carrara.recipe.folder import attach_decoder, first_stage_digest, open_model
from carrara.recipe.schema import (
    GRID,
    AutoencodingSettings,
    ClassificationSettings,
    DiffusionSettings,
    DistillationSettings,
    ElboSettings,
    FewStepSettings,
    Recipe,
    TrainedConfig,
)
from carrara.recipe.teachers import teacher, trained_config

LARGE = 20_000_000
"""Parameters of a first stage from which on its tiny decoder is of the larger size."""


def dataset(recipe: Recipe) -> Dataset:
    """All of the data.

    Raises:
        UserError: there is none.
    """
    data = recipe.data
    opened = open_dataset(
        data.source,
        size=max(data.size) if data.size else None,
        skin_tones=data.skin_tones,
        points=data.points,
        thickness=data.thickness,
    )
    image = recipe.model.image
    return Mapped(opened, image.colours) if isinstance(image, LayoutMap) and image.colours else opened


def parts(recipe: Recipe, whole: Dataset) -> tuple[Dataset, Dataset]:
    """The data to train on, and the data held out."""
    return split(whole, recipe.data.held_out)


def transform(recipe: Recipe) -> Transform | None:
    """What brings pictures to the size of the recipe; None for points."""
    data = recipe.data
    if data.size is None or data.channels is None:
        return None
    assert data.buckets != "auto", "a resolved recipe has sizes"
    return Transform(
        size=data.size,
        channels=data.channels,
        fit=data.fit,
        crop=data.crop,
        flip=data.flip,
        buckets=data.buckets,
    )


def loader(recipe: Recipe, training: Dataset, rank: int = 0, world: int = 1) -> Loader:
    """Endless batches of one rank, of pictures or of cached latents.

    Raises:
        UserError: the batch cannot be shared among the ranks.
    """
    if recipe.train.batch % world:
        raise UserError(f"train.batch={recipe.train.batch} cannot be shared equally by {world} processes")
    inner = training.dataset if isinstance(training, Captioned) else training
    pictures = None if isinstance(recipe.objective, FewStepSettings) else transform(recipe)
    how = inner.transform if isinstance(inner, CachedLatents) else pictures
    batch, turns = recipe.train.batch // world, recipe.data.turns
    buckets = bucket_of_each(training, pictures.buckets) if pictures and pictures.buckets else None
    return Loader(training, how, batch, recipe.seed, rank, world, turns=turns, buckets=buckets)


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
    return denoiser(recipe).backbone


def schedule(recipe: Recipe) -> Schedule:
    """The noise schedule."""
    return recipe.model.schedule


def parameterization(recipe: Recipe) -> Parameterization:
    """What the network predicts."""
    return recipe.model.parameterization


def first_stage(recipe: Recipe) -> FirstStage:
    """Pixels to latents."""
    taught_by = teacher(recipe)
    built = model(recipe, taught_by)
    if isinstance(built, Classifier):
        return frozen_first_stage(recipe, shape(recipe), taught_by)[0]
    if isinstance(built, DistilledDecoder):
        assert taught_by is not None
        return taught_by.first_stage
    return built.first_stage


def conditioner(recipe: Recipe) -> Conditioner:
    """What the network is told."""
    return _diffusion(recipe).conditioner


def denoiser(recipe: Recipe) -> Denoiser:
    """Network, schedule and parameterization together."""
    return _diffusion(recipe).denoiser


def first_stage_config(recipe: Recipe) -> AnyFirstStage:
    """What the first stage is, wherever it is trained.

    Raises:
        UserError: it is another run's, and there is none.
    """
    own = recipe.model.first_stage
    if recipe.autoencoder is not None:
        return recipe.autoencoder.first_stage
    return trained_config(own).first_stage if isinstance(own, TrainedConfig) else own


def _decoder_config(settings: DistillationSettings, trained: AnyModel) -> DecoderConfig:
    whole = decoded_shape(trained.first_stage, trained.shape)
    large = sum(p.numel() for p in trained.first_stage.parameters()) > LARGE
    chosen = settings.decoder or (TinyDecoderConfig() if large else SMALL)
    digest = first_stage_digest(trained)
    return DecoderConfig(shape=whole, latent_shape=trained.latent_shape, decoder=chosen, teacher=digest)


def model_config(recipe: Recipe, taught_by: AnyModel | None = None) -> AnyModelConfig:
    """What ``model/config.json`` says.

    Args:
        taught_by: the recipe's ``teacher``, if it is open already.

    Raises:
        UserError: the recipe leaves network or condition open.
    """
    taught_by = taught_by or teacher(recipe)
    if isinstance(recipe.objective, ClassificationSettings):
        return classifier_config(recipe, shape(recipe), taught_by)
    if isinstance(recipe.objective, DistillationSettings) and taught_by is not None:
        return _decoder_config(recipe.objective, taught_by)
    if isinstance(recipe.objective, FewStepSettings) and isinstance(taught_by, DiffusionModel):
        return replace(taught_by.config, sample=recipe.sample)
    settings, stage = recipe.model, first_stage_config(recipe)
    if not isinstance(recipe.objective, DiffusionSettings):
        return AutoencoderConfig(shape=shape(recipe), first_stage=stage)
    if settings.backbone is None:
        raise UserError("the recipe leaves the network open: set model.backbone, or give data")
    config = ModelConfig(
        shape=shape(recipe),
        backbone=settings.backbone,
        schedule=settings.schedule,
        parameterization=settings.parameterization,
        first_stage=stage,
        image=settings.image,
        learned_variance=recipe.objective.loss != "simple",
        sample=recipe.sample,
    )
    return config if settings.conditioner is None else replace(config, conditioner=settings.conditioner)


def model(recipe: Recipe, taught_by: AnyModel | None = None) -> AnySaved:
    """The untrained model; its initial weights are a function of the seed, or its teacher's.

    Args:
        taught_by: the recipe's ``teacher``, if it is open already.

    Raises:
        UserError: the parts do not fit together.
    """
    taught_by = taught_by or teacher(recipe)
    with seeds.torch_generator(recipe.seed, "initial weights"):
        try:
            built = build_model(model_config(recipe, taught_by))
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"this model cannot be built: {error}") from None
    if isinstance(recipe.objective, FewStepSettings) and isinstance(built, DiffusionModel) and taught_by is not None:
        built.load_state_dict(taught_by.state_dict())
        built.fast = taught_by.fast
    return built


def adopt_first_stage(untrained: AnyModel, recipe: Recipe, folder: Path) -> None:
    """Copies the weights of a first stage that was trained before, in another run or in this run's ``autoencoder/``;
    and looks through its distilled decoder, if there is one.

    Raises:
        UserError: there is none, or it is another one than the recipe says.
    """
    own = recipe.model.first_stage
    if isinstance(recipe.objective, FewStepSettings):
        return  # it has its teacher's
    if recipe.autoencoder is not None:
        source = folder / "autoencoder"
    elif isinstance(own, TrainedConfig):
        source = Path(own.run)
    else:
        return
    trained = open_model(source)
    if trained.config.first_stage != untrained.config.first_stage:
        raise UserError(f"the autoencoder in '{source}' is not the one that the recipe names: train in a new folder")
    stage = trained.first_stage
    if isinstance(stage, LearnedStage) and bool((stage.std == 1).all()):
        raise UserError(
            f"the latents of the autoencoder in '{source}' were never measured, because its training was cut off: "
            "run its command again, which finishes it"
        )
    untrained.first_stage.load_state_dict(trained.first_stage.state_dict())
    attach_decoder(untrained, source)


def objective(
    recipe: Recipe, untrained: AnySaved, taught_by: AnyModel | None = None, *, encoded: bool = False
) -> Objective:
    """What training minimises.

    Args:
        taught_by: the recipe's ``teacher``, if it is open already.
        encoded: batches hold raw latents in the place of pixels.

    Raises:
        UserError: the model is not of the kind that the objective trains.
    """
    taught_by = taught_by or teacher(recipe)
    match recipe.objective, untrained:
        case DiffusionSettings(), DiffusionModel() if not _is_trained(recipe):
            raise UserError(
                f"diffusion needs a first stage that is trained, and model.first_stage is a new {_kind(recipe)}: name "
                "a run (model.first_stage.kind=trained model.first_stage.run=DIR), or train one first (autoencoder:)"
            )
        case DiffusionSettings() as settings, DiffusionModel():
            return DiffusionObjective(
                first_stage=untrained.first_stage,
                conditioner=untrained.conditioner,
                denoiser=untrained.denoiser,
                times=settings.times,
                weighting=settings.weighting,
                image=untrained.image,
                drop=settings.drop,
                loss=settings.loss,
                encoded=encoded,
            )
        case FewStepSettings() as settings, DiffusionModel():
            return FewStepDistillation(
                first_stage=untrained.first_stage,
                conditioner=untrained.conditioner,
                denoiser=untrained.denoiser,
                times=GRID(settings.steps, untrained.config.schedule),
            )
        case AutoencodingSettings() as settings, Autoencoder(first_stage=ConvolutionalStage() as stage):
            return _autoencoding(settings, stage, untrained.shape)
        case DistillationSettings() as settings, DistilledDecoder() if taught_by is not None:
            stage = taught_by.first_stage
            return DecoderDistillation(decoder=untrained.decoder, first_stage=stage, original=settings.original)
        case ClassificationSettings(), Classifier():
            stage, _ = frozen_first_stage(recipe, shape(recipe), taught_by)
            return ClassificationObjective(network=untrained.network, first_stage=stage, schedule=schedule(recipe))
        case ElboSettings() as settings, Autoencoder(first_stage=LayeredVae() as stage):
            return ElboObjective(stage, warmup=settings.warmup, free_bits=settings.free_bits)
        case _:
            raise UserError(
                f"objective {recipe.objective.kind} does not train model.first_stage {_kind(recipe)}: autoencoding "
                "trains kl or vq, elbo trains vae, and diffusion takes identity or a trained one"
            )


def _is_trained(recipe: Recipe) -> bool:
    """Whether there is nothing to learn in the first stage any more."""
    return recipe.autoencoder is not None or isinstance(recipe.model.first_stage, IdentityConfig | TrainedConfig)


def _kind(recipe: Recipe) -> str:
    return recipe.model.first_stage.kind


def _autoencoding(
    settings: AutoencodingSettings, stage: ConvolutionalStage, shape: tuple[int, ...]
) -> AutoencodingObjective:
    try:
        return AutoencodingObjective(
            first_stage=stage,
            shape=shape,
            error=settings.error,
            learned_scale=settings.learned_scale,
            perceptual=settings.perceptual,
            features=settings.features,
            penalty=settings.penalty,
            critic=settings.critic,
        )
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"this autoencoder cannot be trained: {error}") from None


def _diffusion(recipe: Recipe) -> DiffusionModel:
    built = model(recipe)
    if not isinstance(built, DiffusionModel):
        raise UserError("this recipe trains an autoencoder, which has neither network nor condition")
    return built


def device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
