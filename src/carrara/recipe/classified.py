"""Classifier guidance: which classifier it was, what it was asked for, and whether it fits."""

from dataclasses import dataclass
from pathlib import Path

from carrara.classifier import Classifier
from carrara.errors import UserError
from carrara.model import AnyModel, DiffusionModel
from carrara.recipe.folder import first_stage_digest, open_classifier
from carrara.sample import classifier_guided
from carrara.types import DenoiseFn, Wrapper


@dataclass(frozen=True, kw_only=True)
class Classified:
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


def classified(folder: Path, name: str | None, scale: float, model: AnyModel) -> Classified:
    """Says what the classifier in ``folder`` shall find.

    Raises:
        UserError: there is none, it does not fit ``model``, or it knows no such class.
    """
    classifier = _fitting(folder, model)
    if name is None:
        raise UserError(f"what shall the classifier find? Say --class and one of {', '.join(classifier.classes)}")
    assert isinstance(model, DiffusionModel)
    classifier.log_prob(name, model.config.schedule)
    return Classified(run=str(folder), weights=classifier.digest(), name=name, scale=scale)


def open_classified(which: Classified, model: AnyModel) -> Wrapper:
    """The guidance of ``model`` by a classifier.

    Raises:
        UserError: it is gone, has learned since, or does not fit ``model``.
    """
    classifier = _fitting(Path(which.run), model).to(model.device)
    if classifier.digest() != which.weights:
        raise UserError(f"the classifier in '{which.run}' has changed since: name another one with --classifier")
    assert isinstance(model, DiffusionModel)
    schedule = model.config.schedule
    log_prob = classifier.log_prob(which.name, schedule)

    def guided(denoise: DenoiseFn) -> DenoiseFn:
        return classifier_guided(denoise, log_prob, schedule, which.scale)

    return guided


def _fitting(folder: Path, model: AnyModel) -> Classifier:
    classifier = open_classifier(folder)
    if not isinstance(model, DiffusionModel):
        raise UserError("an autoencoder samples in one step, which no classifier guides: leave --classifier out")
    for what, theirs, ours in (
        ("shape", classifier.shape, model.shape),
        ("first stage", classifier.config.first_stage, first_stage_digest(model)),
    ):
        if theirs != ours:
            raise UserError(
                f"the classifier in '{folder}' does not fit, as its {what} is another one ({theirs}, not {ours}): "
                "train one for the run: carrara train DATA --preset classifier model.first_stage.kind=trained "
                "model.first_stage.run=RUN"
            )
    return classifier
