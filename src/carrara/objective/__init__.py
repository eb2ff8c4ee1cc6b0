"""From a batch to a loss."""

from carrara.objective.absorbing import AbsorbingObjective, AbsorbingSettings
from carrara.objective.autoencoding import AutoencodingObjective, AutoencodingSettings
from carrara.objective.base import LossReport, Objective, ObjectiveSettings
from carrara.objective.classification import ClassificationObjective, ClassificationSettings
from carrara.objective.diffusion import DiffusionObjective, DiffusionSettings
from carrara.objective.distillation import DecoderDistillation, DistillationSettings
from carrara.objective.elbo import ElboObjective, ElboSettings
from carrara.objective.fewstep import FewStepDistillation, FewStepSettings
from carrara.objective.finetuning import AnyLearn, Control, Everything, FineTuningSettings, Lora, Prior, Token
from carrara.objective.meanflow import MeanFlowObjective, MeanFlowSettings

__all__ = [
    "AbsorbingObjective",
    "AbsorbingSettings",
    "AnyLearn",
    "AutoencodingObjective",
    "AutoencodingSettings",
    "ClassificationObjective",
    "ClassificationSettings",
    "Control",
    "DecoderDistillation",
    "DiffusionObjective",
    "DiffusionSettings",
    "DistillationSettings",
    "ElboObjective",
    "ElboSettings",
    "Everything",
    "FewStepDistillation",
    "FewStepSettings",
    "FineTuningSettings",
    "Lora",
    "LossReport",
    "MeanFlowObjective",
    "MeanFlowSettings",
    "Objective",
    "ObjectiveSettings",
    "Prior",
    "Token",
]
