"""What a user asks of a model, as functions."""

from carrara.task.generate import Progress, generate
from carrara.task.reconstruct import compared, interpolate, reconstruct, traverse

__all__ = ["Progress", "compared", "generate", "interpolate", "reconstruct", "traverse"]
