"""What a user asks of a model, as functions."""

from carrara.task.generate import Progress, generate
from carrara.task.likelihood import CodeLength, decoder_scale, diffusion_bound, flow_bound
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
    "reconstruct",
    "traverse",
]
