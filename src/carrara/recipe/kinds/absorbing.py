"""A network learns what is masked, of data that are levels."""

from dataclasses import replace

from carrara.autoencoder import Levels
from carrara.autoencoder.levels import LevelsConfig
from carrara.denoiser import AbsorbingDenoiser
from carrara.errors import UserError
from carrara.modality import Notes
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import X0, RectifiedFlow
from carrara.noise.absorbing import masks
from carrara.notes import count
from carrara.objective import AbsorbingObjective, AbsorbingSettings, Objective
from carrara.recipe.kinds.networks import DrawingKind
from carrara.recipe.sections import ModelSettings
from carrara.sample import Absorbing, SampleSettings


class AbsorbingDiffusion(DrawingKind[AbsorbingSettings]):
    """See ``objective.absorbing``."""

    settings_class = AbsorbingSettings
    of_levels = True

    def fitting(self) -> tuple[ModelSettings, SampleSettings, tuple[str, ...]]:
        """Where a recipe has the schedule and the sampler of all recipes, those of masks."""
        model, sample, reasons = super().fitting()
        if model.schedule == ModelSettings().schedule:
            model = replace(model, schedule=RectifiedFlow())
            reasons += ("schedule: rectified_flow, the share that is masked grows evenly",)
        if sample.sampler == SampleSettings().sampler:
            sample = replace(sample, sampler=Absorbing())
            reasons += ("sampler: absorbing, which reveals what is masked",)
        modality = self.recipe.data.modality
        open_stage = model.first_stage == ModelSettings().first_stage
        if open_stage and isinstance(modality, Notes) and modality.form == "tokens":
            levels = count(modality.lowest, modality.highest)
            model = replace(model, first_stage=LevelsConfig(levels=levels))
            reasons += (f"first_stage: {levels} levels, the states of the notes",)
        return model, sample, reasons

    def config(self) -> ModelConfig:
        config = super().config()
        if config.first_stage.kind != "levels":
            raise UserError(
                "absorbing diffusion masks levels, and the first stage makes none: say how many the data have, as in "
                "model.first_stage={kind: levels, levels: 17}"
            )
        if not masks(config.schedule):
            raise UserError(
                f"the schedule {config.schedule.kind} masks nothing, as its alpha and sigma are no probabilities: set "
                "model.schedule=rectified_flow"
            )
        if config.image is not None:
            raise UserError("a network that fills in levels sees nothing beside them: leave model.image out")
        return replace(config, parameterization=X0())

    def objective(self, model: DiffusionModel, *, encoded: bool = False) -> Objective:
        stage, denoiser = model.first_stage, model.denoiser
        assert isinstance(stage, Levels) and isinstance(denoiser, AbsorbingDenoiser)
        return AbsorbingObjective(
            first_stage=stage, conditioner=model.conditioner, denoiser=denoiser, drop=self.settings.drop
        )
