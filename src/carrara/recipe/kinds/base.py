"""What everybody asks of a recipe's objective, whatever it is.

Nothing outside this folder asks which kind an objective is: the life of a run, measuring and the command ask an object
of one of these classes for what they need.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, final

from PIL import Image
from torch import Tensor

from carrara import seeds
from carrara.autoencoder import FirstStage, LearnedStage
from carrara.data import CaptionTable, Dataset, Transform, batch_of, spread
from carrara.data.settings import DataSettings
from carrara.errors import UserError
from carrara.memory import installed
from carrara.model import AnyModelConfig, AnySaved, Model
from carrara.nn import bounded
from carrara.objective import Objective, ObjectiveSettings
from carrara.recipe.sections import ModelSettings, Sections
from carrara.sample import SampleSettings
from carrara.store.latents import Cache, captioned
from carrara.store.runs import begun_about, first_stage_digest
from carrara.types import Batch

S = TypeVar("S", bound=ObjectiveSettings)
M = TypeVar("M", bound=AnySaved)


@dataclass(frozen=True, kw_only=True)
class Next:
    """What one does with a run that is done.

    Attributes:
        purpose: as a sentence begins.
        command: marked, see ``errors.command``.
    """

    purpose: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A preview.

    Attributes:
        about: what the picture's file says of itself: how to draw it again.
    """

    picture: Image.Image
    about: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The data that a run looks at while it trains.

    Attributes:
        training: what is trained on.
        held_out: what is not.
        transform: what brings pictures to the recipe's size; None for points.
        table: how the model reads captions, if it does.
    """

    training: Dataset
    held_out: Dataset
    transform: Transform | None
    table: CaptionTable | None

    @property
    def data(self) -> Dataset:
        """What is held out, or what is trained on where nothing is."""
        return self.held_out if len(self.held_out) else self.training

    def batch(self, count: int) -> Batch:
        """``count`` examples from all over the ``data``."""
        data = self.data
        return batch_of(captioned(data, self.table), self.transform, spread(count, len(data)))


class Kind(ABC, Generic[S, M]):
    """One recipe, seen by its objective. Abstract in which.

    Args:
        recipe: all of it.
        settings: the recipe's ``objective``.
        teacher: what the model learns from, if it is open already.

    Attributes:
        settings_class: of the objective's settings.
        metrics: what one measures of a finished run; by default the first.
        looks: whether there is a network that looks at latents, so that its size and its condition may be left open.
        draws: whether the model draws from noise, so that samples can be compared with pictures.
        sees: whether the network may see pictures beside its input.
        pictures: whether batches are made of the data's pictures, or of their latents.
        begun_by: where data and recipe are not enough to begin such a run, a sentence that says what is.
    """

    settings_class: ClassVar[type[ObjectiveSettings]]
    metrics: ClassVar[tuple[str, ...]] = ()
    looks: ClassVar[bool] = False
    draws: ClassVar[bool] = False
    sees: ClassVar[bool] = False
    pictures: ClassVar[bool] = True
    begun_by: ClassVar[str] = ""

    def __init__(self, recipe: Sections, settings: S, teacher: Model | None = None) -> None:
        self.recipe, self.settings, self._given = recipe, settings, teacher

    @cached_property
    def teacher(self) -> Model | None:
        """The trained model that this one learns from, or is for; None if there is none. It is opened once.

        Raises:
            UserError: the recipe names none where it needs one, or one that does not teach this.
        """
        return self.open_teacher() if self._given is None else self._given

    def open_teacher(self) -> Model | None:
        """Opens the ``teacher``."""
        return None

    def like_first_stage(self, data: DataSettings) -> tuple[DataSettings, str]:
        """The data as the trained run takes them whose first stage the recipe names; and why their size, if it is.

        Raises:
            UserError: the recipe asks for others.
        """
        return data, ""

    def fitting(self) -> tuple[ModelSettings, SampleSettings, tuple[str, ...]]:
        """The recipe's model and sampling, where it leaves them as they usually are as this objective needs them; and a
        sentence for each change."""
        return self.recipe.model, self.recipe.sample, ()

    @abstractmethod
    def config(self) -> AnyModelConfig:
        """How the model is built.

        Raises:
            UserError: the recipe leaves that open.
        """

    @abstractmethod
    def untrained(self) -> M:
        """The model as training begins, from torch's random numbers or with its teacher's weights.

        Raises:
            ValueError: the parts do not fit together.
        """

    @final
    def model(self) -> M:
        """The same as a function of the recipe's seed.

        Raises:
            UserError: the parts do not fit together.
        """
        _ = self.teacher  # opening it takes random numbers
        with seeds.torch_generator(self.recipe.seed, "initial weights"):
            try:
                with bounded(installed() // 4):
                    return self.untrained()
            except UserError:
                raise
            except ValueError as error:
                raise UserError(f"this model cannot be built: {error}") from None

    @abstractmethod
    def first_stage(self) -> FirstStage:
        """Pixels to latents, before this training."""

    def adopt(self, model: M, folder: Path) -> None:
        """Copies weights that were trained before into a model of the run in ``folder``.

        Raises:
            UserError: they are not there, or do not fit.
        """

    def told(self, data: Dataset) -> Dataset:
        """The data with what the recipe says of them.

        Raises:
            UserError: it does not go with them.
        """
        return data

    def cache(self, folder: Path, model: M, data: Dataset, table: CaptionTable | None) -> Cache | None:
        """What is made of the training data once, before training; None if nothing is.

        Args:
            folder: the run's.
            model: on its device; its weights may still be loaded until the cache is first used.
            table: how the model reads captions, if it does.
        """
        return None

    @abstractmethod
    def objective(self, model: M, *, encoded: bool = False) -> Objective:
        """What training minimises.

        Args:
            encoded: batches hold what the cache has.

        Raises:
            UserError: it does not train such a model.
        """

    def stage_of(self, model: M) -> LearnedStage | None:
        """The first stage whose latents are measured when training ends; None if none are."""
        return None

    def preview(self, model: M, examples: Examples, folder: Path) -> Shown | None:
        """What a run in ``folder`` shows on its way; None if it is nothing to look at."""
        return None

    def samples(self, model: M, examples: Examples, batch: Batch, weak: Path | None = None) -> Tensor:
        """As many samples as a batch of ``examples`` has, to compare with; of a kind that ``draws``.

        Args:
            weak: the model's earlier self, if they are to be led away from it, as ``carrara sample`` does.
        """
        raise AssertionError(f"{type(self).__name__} draws nothing")

    @property
    def compares(self) -> bool:
        """Whether the losses at each noise level say how well samples are known by heart, so that those of training and
        held-out samples can be compared."""
        return False

    def about(self, folder: Path) -> dict[str, Any]:
        """What the model of the run in ``folder`` remembers of its training, besides its data.

        Raises:
            UserError: until now it has learned from another teacher.
        """
        if self.teacher is None:
            return {}
        now = self.identity(self.teacher)
        if begun_about(folder).get("teacher", now) != now:
            raise UserError(
                f"'{folder}' has learned from another model than its teacher is now, which was trained further or "
                f"exchanged since: put the old one back, or move '{folder}' away to begin again"
            )
        return {"teacher": now}

    def identity(self, teacher: Model) -> str:
        """What identifies a teacher, as far as it teaches."""
        return first_stage_digest(teacher)

    def usual(self, model: M) -> str:
        """What is measured of the finished model unless told otherwise."""
        return self.metrics[0]

    @abstractmethod
    def next(self, folder: Path) -> Iterator[Next]:
        """What one does with the finished run in ``folder``."""
