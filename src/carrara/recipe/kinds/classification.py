"""A classifier of noised data learns, to guide models of such data."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from carrara.autoencoder import FirstStage, IdentityConfig
from carrara.classifier import Classifier, ClassifierConfig
from carrara.data.settings import DataSettings
from carrara.errors import UserError, command
from carrara.model import Model
from carrara.objective import ClassificationObjective, ClassificationSettings, Objective
from carrara.recipe.kinds.base import Next
from carrara.recipe.kinds.networks import NetworkKind
from carrara.saved import digest
from carrara.shapes import by, spatial_of
from carrara.store.runs import configured, first_stage_digest, open_model


class Classification(NetworkKind[ClassificationSettings, Classifier]):
    """See ``objective.classification``. Its ``teacher`` is the model that it will guide, if it is in latents."""

    settings_class = ClassificationSettings

    def open_teacher(self) -> Model | None:
        run = self.recipe.first_stage_run
        return None if run is None else open_model(run)

    def like_first_stage(self, data: DataSettings) -> tuple[DataSettings, str]:
        """A classifier guides pictures of its own size, so it takes them in the size that the model draws."""
        data, _ = super().like_first_stage(data)
        run = self.recipe.first_stage_run
        guided = None if run is None else configured(run)
        if guided is None or spatial_of(guided.shape) != 2:
            return data, ""
        size = guided.shape[1:]
        if data.size is None:
            return replace(data, size=size), f"{by(size)}: that of the pictures of '{run}'"
        if data.size != size and guided.kind == "diffusion":
            raise UserError(
                f"'{run}' draws pictures of {by(size)}, and data.size is {by(data.size)}: a classifier guides "
                "pictures of its own size, so leave data.size out"
            )
        return data, ""

    def config(self) -> ClassifierConfig:
        network, told = self.recipe.model.backbone, self.recipe.model.conditioner
        if network is None or network.kind != "unet" or told is None or told.kind != "labels":
            raise UserError(
                "a classifier is the way down of a U-Net and learns from labels: take model.backbone=unet and "
                "model.conditioner=labels"
            )
        stage, whole = self.first_stage(), self.recipe.data.shape
        own = digest(IdentityConfig(), stage) if self.teacher is None else first_stage_digest(self.teacher)
        return ClassifierConfig(
            shape=whole,
            latent_shape=stage.latent_shape(whole),
            classes=told.classes,
            backbone=network,
            schedule=self.recipe.model.schedule,
            first_stage=own,
        )

    def untrained(self) -> Classifier:
        return Classifier(self.config())

    def first_stage(self) -> FirstStage:
        """That of the model it is for, or none.

        Raises:
            UserError: it is still to be trained.
        """
        if self.teacher is not None:
            return self.teacher.first_stage
        if not self.recipe.in_pixels:
            raise UserError(
                "a classifier looks at pixels, or at the latents of a trained run: leave autoencoder out, and name the "
                "run (model.first_stage.kind=trained model.first_stage.run=DIR)"
            )
        return IdentityConfig().build(self.recipe.data.shape)

    def objective(self, model: Classifier, *, encoded: bool = False) -> Objective:
        schedule = self.recipe.model.schedule
        return ClassificationObjective(network=model.network, first_stage=self.first_stage(), schedule=schedule)

    def next(self, folder: Path) -> Iterator[Next]:
        use = command("sample RUN", classifier=folder, label="NAME")
        yield Next(purpose="Guide a model of such pictures", command=use)
