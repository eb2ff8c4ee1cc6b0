"""A denoiser learns from data."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from carrara.errors import command
from carrara.modality import Numbers
from carrara.model import DiffusionModel, ModelConfig
from carrara.objective import DiffusionObjective, DiffusionSettings, Objective
from carrara.recipe.kinds.base import Next
from carrara.recipe.kinds.networks import DrawingKind
from carrara.recipe.sections import Sections


class Diffusion(DrawingKind[DiffusionSettings]):
    """See ``objective.diffusion``."""

    settings_class = DiffusionSettings
    sees = True

    def config(self) -> ModelConfig:
        return replace(super().config(), learned_variance=self.settings.loss != "simple")

    def objective(self, model: DiffusionModel, *, encoded: bool = False) -> Objective:
        self.check_first_stage()
        return diffusion_objective(self.recipe, self.settings, model, encoded=encoded)

    @property
    def compares(self) -> bool:
        return self.settings.loss != "bound"

    def usual(self, model: DiffusionModel) -> str:
        return "nll" if model.first_stage.has_prior or not model.first_stage.learned else "reconstruction"

    def next(self, folder: Path) -> Iterator[Next]:
        image = self.recipe.model.image
        if image is None:
            yield from super().next(folder)
            return
        uses = {
            "masked": command(f"edit {folder} inpaint PICTURE", mask="MASK"),
            "lowres": command(f"edit {folder} upscale PICTURE"),
            "map": command(f"edit {folder} map MAP"),
        }
        yield Next(purpose="Use it", command=uses[image.kind])


def diffusion_objective(
    recipe: Sections, settings: DiffusionSettings, model: DiffusionModel, *, encoded: bool
) -> DiffusionObjective:
    """The loss of a model's denoiser; see ``Kind.objective``."""
    modality = recipe.data.modality
    return DiffusionObjective(
        first_stage=model.first_stage,
        conditioner=model.conditioner,
        denoiser=model.denoiser,
        times=settings.times,
        weighting=settings.weighting,
        image=model.image,
        drop=settings.drop,
        loss=settings.loss,
        encoded=encoded,
        missing=isinstance(modality, Numbers) and modality.missing,
    )
