"""An autoencoder learns, in whose latents one diffuses."""

from collections.abc import Iterator
from pathlib import Path

from carrara import seeds
from carrara.autoencoder import ConvolutionalStage
from carrara.errors import UserError, command
from carrara.objective import AutoencodingObjective, AutoencodingSettings, Objective
from carrara.recipe.kinds.base import Next
from carrara.recipe.kinds.stages import StageKind


class Autoencoding(StageKind[AutoencodingSettings, ConvolutionalStage]):
    """See ``objective.autoencoding``."""

    settings_class = AutoencodingSettings
    stage_class = ConvolutionalStage
    metrics = ("reconstruction",)

    def stage_objective(self, stage: ConvolutionalStage, shape: tuple[int, ...]) -> Objective:
        settings = self.settings
        try:
            with seeds.torch_generator(self.recipe.seed, "critic"):
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

    def next(self, folder: Path) -> Iterator[Next]:
        yield Next(purpose="Measure it", command=command(f"evaluate {folder}", metrics="reconstruction"))
        changes = "model.first_stage.kind=trained", f"model.first_stage.run={folder}"
        yield Next(
            purpose="Diffuse in its latents",
            command=command(f"train {self.recipe.data.source}", *changes, run="NEW"),
        )
