"""A model learns to draw in one step, or in few, from data alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from carrara.denoiser import MOST_SPANS, SpanDenoiser
from carrara.errors import UserError, command
from carrara.modality import Numbers
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import Flow, RectifiedFlow
from carrara.objective import MeanFlowObjective, MeanFlowSettings, Objective
from carrara.recipe.kinds.base import Next
from carrara.recipe.kinds.networks import DrawingKind
from carrara.recipe.sections import ModelSettings
from carrara.sample import Euler, SampleSettings, Uniform


class MeanFlow(DrawingKind[MeanFlowSettings]):
    """See ``objective.meanflow``."""

    settings_class = MeanFlowSettings
    metrics = ("kid", "memorisation")

    def fitting(self) -> tuple[ModelSettings, SampleSettings, tuple[str, ...]]:
        """Where a recipe has the schedule and the sampler of all recipes, those of steps of any length."""
        model, sample, reasons = super().fitting()
        usual = ModelSettings()
        if model.schedule == usual.schedule:
            model = replace(model, schedule=RectifiedFlow())
            reasons += ("schedule: rectified_flow, on which mean velocities are learned",)
            if model.parameterization == usual.parameterization:
                model = replace(model, parameterization=Flow())
        if sample.sampler == SampleSettings().sampler:
            steps = 1 if sample.steps == SampleSettings().steps else sample.steps
            sample = replace(sample, sampler=Euler(), steps=steps)
            reasons += ("sampler: euler, each of whose steps is as long as was learned",)
        return model, sample, reasons

    def config(self) -> ModelConfig:
        config = super().config()
        if config.schedule != RectifiedFlow():
            raise UserError(
                f"mean velocities are learned on straight ways, and the schedule is {config.schedule.kind}: set "
                "model.schedule=rectified_flow, without a shift"
            )
        sample = config.sample
        if (sample.sampler, sample.grid, sample.guidance) != (Euler(), Uniform(), 1.0) or sample.steps > MOST_SPANS:
            raise UserError(
                "a model of mean velocities draws in equal steps and has its guidance learned (objective.guidance): "
                f"set sample.sampler=euler, sample.grid=uniform, sample.guidance=1 and sample.steps up to {MOST_SPANS}"
            )
        return replace(config, spans=True)

    def objective(self, model: DiffusionModel, *, encoded: bool = False) -> Objective:
        self.check_first_stage()
        if self.settings.guidance != 1 and not model.guidable:
            raise UserError(
                f"objective.guidance {self.settings.guidance:g} needs a condition, and this model has none: "
                "leave it out"
            )
        denoiser, modality = model.denoiser, self.recipe.data.modality
        assert isinstance(denoiser, SpanDenoiser)
        return MeanFlowObjective(
            first_stage=model.first_stage,
            conditioner=model.conditioner,
            denoiser=denoiser,
            settings=self.settings,
            encoded=encoded,
            missing=isinstance(modality, Numbers) and modality.missing,
        )

    def about(self, folder: Path) -> dict[str, Any]:
        return {"few_steps": self.recipe.sample.steps, **super().about(folder)}

    def next(self, folder: Path) -> Iterator[Next]:
        yield from super().next(folder)
        yield Next(purpose="Take more steps", command=command(f"sample {folder}", steps=4))
