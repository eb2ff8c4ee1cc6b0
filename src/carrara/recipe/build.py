"""From a recipe to objects, one function per slot. What hangs on the objective is said by its kind, in ``kinds``."""

from carrara.autoencoder import FirstStage
from carrara.backbone import Backbone
from carrara.conditioning import Conditioner
from carrara.data import Dataset, Loader, Transform, bucket_of_each
from carrara.denoiser import Denoiser
from carrara.errors import UserError
from carrara.model import AnyModelConfig, AnySaved, DiffusionModel, Model
from carrara.noise import Parameterization, Schedule
from carrara.objective import Objective
from carrara.recipe.kinds import kind_of
from carrara.recipe.schema import Recipe


def dataset(recipe: Recipe) -> Dataset:
    """All of the data; errors as of ``DataSettings.open``."""
    opened, image = kind_of(recipe).told(recipe.data.open()), recipe.model.image
    return opened if image is None else image.beside(opened)


def parts(recipe: Recipe, whole: Dataset) -> tuple[Dataset, Dataset]:
    """The data to train on, and the data held out."""
    return recipe.data.parts(whole)


def transform(recipe: Recipe) -> Transform | None:
    """What brings pictures to the size of the recipe; None for points."""
    return recipe.data.transform()


def loader(recipe: Recipe, training: Dataset, rank: int = 0, world: int = 1) -> Loader:
    """Endless batches of one rank, of pictures or of cached latents.

    Raises:
        UserError: the batch cannot be shared among the ranks.
    """
    if recipe.train.batch % world:
        raise UserError(f"train.batch={recipe.train.batch} cannot be shared equally by {world} processes")
    pictures = transform(recipe) if kind_of(recipe).pictures else None
    batch, turns = recipe.train.batch // world, recipe.data.turns
    buckets = bucket_of_each(training, pictures.buckets) if pictures and pictures.buckets else None
    return Loader(training, pictures, batch, recipe.seed, rank, world, turns=turns, buckets=buckets)


def shape(recipe: Recipe) -> tuple[int, ...]:
    """One sample's: (C, H, W) of pictures, (D,) of points."""
    return recipe.data.shape


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
    return kind_of(recipe).first_stage()


def conditioner(recipe: Recipe) -> Conditioner:
    """What the network is told."""
    return _diffusion(recipe).conditioner


def denoiser(recipe: Recipe) -> Denoiser:
    """Network, schedule and parameterization together."""
    return _diffusion(recipe).denoiser


def teacher(recipe: Recipe) -> Model | None:
    """The trained model that the recipe's learns from, or is for; None if it needs none. It takes long to open, so
    whoever needs it more than once keeps it.

    Raises:
        UserError: the recipe names none where it needs one, or one that does not teach this.
    """
    return kind_of(recipe).teacher


def model_config(recipe: Recipe, taught_by: Model | None = None) -> AnyModelConfig:
    """What ``model/config.json`` says; arguments as of ``model``, errors where the recipe leaves something open."""
    return kind_of(recipe, taught_by).config()


def model(recipe: Recipe, taught_by: Model | None = None) -> AnySaved:
    """The untrained model; its initial weights are a function of the seed, or its teacher's.

    Args:
        taught_by: the recipe's ``teacher``, if it is open already.

    Raises:
        UserError: the parts do not fit together.
    """
    return kind_of(recipe, taught_by).model()


def objective(
    recipe: Recipe, untrained: AnySaved, taught_by: Model | None = None, *, encoded: bool = False
) -> Objective:
    """What training minimises.

    Args:
        untrained: the recipe's ``model``, or one that is built alike.
        taught_by: the recipe's ``teacher``, if it is open already.
        encoded: batches hold raw latents in the place of pixels.

    Raises:
        UserError: the objective does not train such a model.
    """
    return kind_of(recipe, taught_by).objective(untrained, encoded=encoded)


def _diffusion(recipe: Recipe) -> DiffusionModel:
    built = model(recipe)
    if not isinstance(built, DiffusionModel):
        raise UserError("this recipe trains no model that diffuses, so it has neither network nor condition")
    return built
