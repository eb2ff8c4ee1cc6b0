"""What the kinds share whose network looks at latents, and those of them that draw from noise."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from carrara.autoencoder import FirstStage
from carrara.data import CaptionTable, Dataset, captions_of, spread
from carrara.data.settings import DataSettings
from carrara.draw import Request, collect, cycled, finish, record, sample
from carrara.draw.image_input import seen, shown
from carrara.draw.wishes import prompts
from carrara.errors import UserError, command
from carrara.model import DiffusionModel, ModelConfig
from carrara.nn.low_rank import adapted
from carrara.objective import Lora
from carrara.recipe.first_stages import adopt_first_stage
from carrara.recipe.kinds.base import Examples, Kind, M, Next, S, Shown
from carrara.store import OpenModel, Store
from carrara.store.latents import Cache, cache_for
from carrara.store.rivals import EARLY_GUIDANCE
from carrara.store.runs import configured
from carrara.train.precision import matmul_dtype
from carrara.types import Batch


class NetworkKind(Kind[S, M]):
    """A network learns, in pixels or in the latents of a first stage. Abstract in what."""

    looks = True

    def like_first_stage(self, data: DataSettings) -> tuple[DataSettings, str]:
        run = self.recipe.first_stage_run
        if run is None:
            return data, ""
        channels = configured(run).shape[0]
        if data.channels not in (None, channels):
            raise UserError(
                f"the autoencoder in '{run}' takes pictures of {channels} channels, and data.channels is "
                f"{data.channels}: set data.channels={channels}, or leave it out"
            )
        return replace(data, channels=channels), ""


class DrawingKind(NetworkKind[S, DiffusionModel]):
    """A model learns to draw from noise, by default from data. Abstract in how.

    Attributes:
        of_levels: whether it draws levels, from masks.
    """

    metrics = ("nll", "kid", "memorisation")
    draws = True
    of_levels: ClassVar[bool] = False

    def config(self) -> ModelConfig:
        model = self.recipe.model
        if model.backbone is None:
            raise UserError("the recipe leaves the network open: set model.backbone, or give data")
        if self.recipe.first_stage.kind == "levels" and not self.of_levels:
            raise UserError(
                f"{self.settings.kind} is of numbers, and model.first_stage makes levels of them: set "
                "objective.kind=absorbing, or leave the first stage out"
            )
        self.recipe.sample.check(self.of_levels)
        config = ModelConfig(
            shape=self.recipe.data.shape,
            backbone=model.backbone,
            schedule=model.schedule,
            parameterization=model.parameterization,
            first_stage=self.recipe.first_stage,
            image=model.image,
            sample=self.recipe.sample,
            modality=self.recipe.data.modality,
        )
        return config if model.conditioner is None else replace(config, conditioner=model.conditioner)

    def untrained(self) -> DiffusionModel:
        return DiffusionModel(self.config())

    def adopt(self, model: DiffusionModel, folder: Path) -> None:
        adopt_first_stage(model, self.recipe, folder)

    def cache(self, folder: Path, model: DiffusionModel, data: Dataset, table: CaptionTable | None) -> Cache | None:
        return cache_for(folder, self.recipe.data.transform(), model, data)

    def check_first_stage(self) -> None:
        """Refuses a first stage that has still to learn."""
        recipe = self.recipe
        if not recipe.in_pixels and recipe.autoencoder is None and recipe.first_stage_run is None:
            raise UserError(
                f"{self.settings.kind} needs a first stage that is trained, and model.first_stage is a new "
                f"{recipe.model.first_stage.kind}: name a run (model.first_stage.kind=trained "
                "model.first_stage.run=DIR), or train one first (autoencoder:)"
            )

    def first_stage(self) -> FirstStage:
        return self.model().first_stage

    def preview(self, model: DiffusionModel, examples: Examples, folder: Path) -> Shown:
        """Samples of the seeds 0, 1, 2, ...; or what is made of parts of examples, beside these."""
        count = self.recipe.preview.count
        if model.image is not None:
            batch = examples.batch(count)
            return Shown(picture=shown(model, batch, self.samples(model, examples, batch)))
        opened, wanted = OpenModel(model=model, folder=folder), self._wanted(model, examples, count)
        return Shown(picture=collect(opened, wanted).picture("grid"), about=record(opened, wanted))

    def samples(self, model: DiffusionModel, examples: Examples, batch: Batch, weak: Path | None = None) -> Tensor:
        wanted, opened = self._wanted(model, examples, len(batch)), OpenModel(model=model, store=Store(model.device))
        if weak is not None:
            settings = replace(wanted.settings, **EARLY_GUIDANCE)
            wanted = replace(wanted, weak=opened.weaker(weak), settings=settings)
        return finish(sample(opened, wanted, image=seen(model, batch)))

    def next(self, folder: Path) -> Iterator[Next]:
        yield Next(purpose="Sample it", command=command(f"sample {folder}"))

    def _wanted(self, model: DiffusionModel, examples: Examples, count: int) -> Request:
        """Samples that are drawn quickly."""
        dtype = matmul_dtype(self.recipe.train.precision, model.device)
        return Request(
            wishes=_wishes(model, examples, count),
            seeds=tuple(range(count)),
            settings=self.recipe.sample,
            precision="bfloat16" if dtype == torch.bfloat16 else "float32",
            fast=model.fast is not None,
        )


def _wishes(model: DiffusionModel, examples: Examples, count: int) -> tuple[str | None, ...]:
    """What previews show: pictures of captions from all over the data, or of each class in turn."""
    conditioner, data = model.conditioner, examples.training
    if model.image is not None:
        return prompts(model, examples.data, spread(count, len(examples.data)))
    if not conditioner.reads_captions:
        return tuple(cycled(model, count))
    captioned = [k for k in range(len(data)) if captions_of(data, k)]
    first = (data.captions(captioned[k])[0] for k in spread(count, len(captioned)))
    chosen = [prompt for caption in first if (prompt := conditioner.as_prompt(caption)) is not None]
    return tuple(chosen[k % len(chosen)] if chosen else None for k in range(count))


def with_adapter(model: DiffusionModel, learn: Lora) -> DiffusionModel:
    """The model, of which an adapter learns and nothing else."""
    model.requires_grad_(False)
    adapted(model.denoiser.backbone, learn.layers, learn.rank, float(learn.alpha or learn.rank))
    return model
