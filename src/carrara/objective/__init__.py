"""From a batch to a loss."""

from carrara.objective.autoencoding import AutoencodingObjective
from carrara.objective.base import LossReport, Objective
from carrara.objective.classification import ClassificationObjective
from carrara.objective.diffusion import DiffusionObjective
from carrara.objective.distillation import DecoderDistillation
from carrara.objective.elbo import ElboObjective
from carrara.objective.fewstep import FewStepDistillation

__all__ = [
    "AutoencodingObjective",
    "ClassificationObjective",
    "DecoderDistillation",
    "DiffusionObjective",
    "ElboObjective",
    "FewStepDistillation",
    "LossReport",
    "Objective",
]
