"""From a batch to a loss."""

from carrara.objective.base import LossReport, Objective
from carrara.objective.diffusion import DiffusionObjective

__all__ = ["DiffusionObjective", "LossReport", "Objective"]
