"""Other models that guide one: a weaker one that guidance leads away from, and a classifier.

A request names them by folder and weights; here they are checked and opened. A weaker model's estimates are compared
with the better one's at the same x_t and t, so both must mean the same by them: the same latents, the same schedule.
Network, parameterization and training may differ.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carrara.classifier import Classifier
from carrara.errors import UserError, command, option
from carrara.model import DiffusionModel, Model
from carrara.sample import classifier_guided
from carrara.store.runs import first_stage_digest
from carrara.types import DenoiseFn, Wrapper

EARLY_GUIDANCE: Mapping[str, Any] = {"guidance": 3.0, "interval": (0.2, 1.0)}
"""How a model without a condition is guided away from its earlier self, unless the user says; near the data it is not,
where both see all there is to see. See benchmarks/ablations.md."""


@dataclass(frozen=True, kw_only=True)
class WeakerModel:
    """Which weaker model samples are guided away from.

    Attributes:
        run: its folder: a run's, a checkpoint's, or a model's own.
        weights: its digest.
    """

    run: str
    weights: str


@dataclass(frozen=True, kw_only=True)
class Guide:
    """What a classifier shall find in samples.

    Attributes:
        run: its folder.
        weights: its digest.
        name: the class.
        scale: how much it counts; 1 is Bayes' rule.
    """

    run: str
    weights: str
    name: str
    scale: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise UserError(f"how much a classifier counts is a number, and {self.scale} is none: 1 is Bayes' rule")


@dataclass(frozen=True, kw_only=True)
class Rivals:
    """Opened: the weaker model, and what a classifier makes of estimates; None where there is none."""

    weak: DiffusionModel | None = None
    within: Wrapper | None = None


def check_weaker(folder: Path, weak: Model, model: Model) -> DiffusionModel:
    """The model ``weak`` from ``folder``, if guidance can lead ``model`` away from it.

    Raises:
        UserError: it does not fit.
    """
    none = f"an autoencoder has no guidance: '{folder}' and the model are to be diffusion models both"
    model, weak = model.diffusion(none), weak.diffusion(none)
    for what, theirs, ours in (
        ("shape", weak.shape, model.shape),
        ("first stage", first_stage_digest(weak), first_stage_digest(model)),
        ("schedule", weak.config.schedule, model.config.schedule),
        ("kind of condition", weak.conditioner.column, model.conditioner.column),
        ("image condition", weak.image, model.image),
    ):
        if theirs != ours:
            raise UserError(
                f"the weaker model in '{folder}' does not fit, as its {what} is another one ({theirs}, not {ours}): "
                "take an early checkpoint of the same run, or a smaller network trained by the same recipe"
            )
    return weak


def check_classifier(folder: Path, classifier: Classifier, model: Model) -> DiffusionModel:
    """The model that the classifier from ``folder`` can guide.

    Raises:
        UserError: it cannot.
    """
    guided = model.diffusion(
        f"an autoencoder samples in one step, which no classifier guides: leave {option('classifier')} out"
    )
    if model.first_stage.levels is not None:
        raise UserError(
            f"no classifier guides a model of levels, which have no gradient: leave {option('classifier')} out"
        )
    for what, theirs, ours in (
        ("shape", classifier.shape, model.shape),
        ("first stage", classifier.config.first_stage, first_stage_digest(model)),
    ):
        if theirs != ours:
            latents = "model.first_stage.kind=trained", "model.first_stage.run=RUN"
            train = command("train DATA", *latents, preset="classifier")
            raise UserError(
                f"the classifier in '{folder}' does not fit, as its {what} is another one ({theirs}, not {ours}): "
                f"train one for the run: {train}"
            )
    return guided


def guidance_by(classifier: Classifier, guide: Guide, model: DiffusionModel) -> Wrapper:
    """The guidance of ``model`` by a classifier.

    Raises:
        UserError: it knows no such class.
    """
    schedule = model.config.schedule
    log_prob = classifier.log_prob(guide.name, schedule)

    def guided(denoise: DenoiseFn) -> DenoiseFn:
        return classifier_guided(denoise, log_prob, schedule, guide.scale)

    return guided
