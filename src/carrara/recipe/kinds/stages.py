"""What the kinds share that train a first stage, which stands alone until something diffuses in its latents."""

from abc import abstractmethod
from pathlib import Path
from typing import Generic, TypeVar

from carrara.autoencoder import FirstStage, LearnedStage
from carrara.draw.reconstruct import compared
from carrara.errors import UserError
from carrara.model import Autoencoder, AutoencoderConfig
from carrara.objective import Objective
from carrara.recipe.first_stages import adopt_first_stage
from carrara.recipe.kinds.base import Examples, Kind, S, Shown

F = TypeVar("F", bound=LearnedStage)


class StageKind(Kind[S, Autoencoder], Generic[S, F]):
    """A first stage learns. Abstract in how.

    Attributes:
        stage_class: what it trains.
    """

    stage_class: type[F]

    def config(self) -> AutoencoderConfig:
        data = self.recipe.data
        return AutoencoderConfig(shape=data.shape, first_stage=self.recipe.first_stage, modality=data.modality)

    def untrained(self) -> Autoencoder:
        return Autoencoder(self.config())

    def first_stage(self) -> FirstStage:
        return self.model().first_stage

    def adopt(self, model: Autoencoder, folder: Path) -> None:
        adopt_first_stage(model, self.recipe, folder)

    def objective(self, model: Autoencoder, *, encoded: bool = False) -> Objective:
        return self.stage_objective(self.stage_of(model), self.recipe.data.smallest)

    @abstractmethod
    def stage_objective(self, stage: F, shape: tuple[int, ...]) -> Objective:
        """What training minimises, for a stage of pictures of ``shape`` or larger."""

    def stage_of(self, model: Autoencoder) -> F:
        """Its first stage.

        Raises:
            UserError: it is not what the objective trains.
        """
        stage = model.first_stage
        if not isinstance(stage, self.stage_class):
            raise UserError(
                f"objective {self.settings.kind} does not train model.first_stage "
                f"{self.recipe.model.first_stage.kind}: autoencoding trains kl or vq, elbo trains vae, and diffusion "
                "takes identity or a trained one"
            )
        return stage

    def preview(self, model: Autoencoder, examples: Examples, folder: Path) -> Shown:
        """Examples, and what the model makes of them."""
        return Shown(picture=compared(model, examples.batch(self.recipe.preview.count).x.to(model.device)))
