"""From a batch to a loss."""

from carrara.objective.absorbing import AbsorbingObjective, AbsorbingSettings
from carrara.objective.autoencoding import AutoencodingObjective, AutoencodingSettings
from carrara.objective.base import LossReport, Objective, ObjectiveSettings
from carrara.objective.classification import ClassificationObjective, ClassificationSettings
from carrara.objective.diffusion import DiffusionObjective, DiffusionSettings
from carrara.objective.distillation import DecoderDistillation, DistillationSettings
from carrara.objective.elbo import ElboObjective, ElboSettings
from carrara.objective.fewstep import FewStepDistillation, FewStepSettings

__all__ = [
    "AbsorbingObjective",
    "AbsorbingSettings",
    "AutoencodingObjective",
    "AutoencodingSettings",
    "ClassificationObjective",
    "ClassificationSettings",
    "DecoderDistillation",
    "DiffusionObjective",
    "DiffusionSettings",
    "DistillationSettings",
    "ElboObjective",
    "ElboSettings",
    "FewStepDistillation",
    "FewStepSettings",
    "LossReport",
    "Objective",
    "ObjectiveSettings",
]
