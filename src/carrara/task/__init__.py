"""What a user asks of a model, as functions."""

from carrara.task.generate import Progress, generate

__all__ = ["Progress", "generate"]
