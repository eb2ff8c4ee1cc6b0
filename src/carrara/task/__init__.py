"""What a user asks of a model, as functions."""

from carrara.task.generate import Progress, generate
from carrara.task.likelihood import CodeLength, decoder_scale, diffusion_bound, flow_bound, of_levels
from carrara.task.reconstruct import compared, interpolate, reconstruct, traverse

__all__ = [
    "CodeLength",
    "Progress",
    "compared",
    "decoder_scale",
    "diffusion_bound",
    "flow_bound",
    "generate",
    "interpolate",
    "of_levels",
    "reconstruct",
    "traverse",
]
