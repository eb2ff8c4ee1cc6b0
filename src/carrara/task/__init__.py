"""What a user asks of a model, as functions."""

from carrara.task.edit import editable, encode, finished, img2img
from carrara.task.generate import Progress, Told, batches, denoiser, generate
from carrara.task.invert import between_pictures, between_wishes, inverted, rewrite
from carrara.task.likelihood import CodeLength, decoder_scale, diffusion_bound, flow_bound, of_levels
from carrara.task.reconstruct import compared, interpolate, reconstruct, traverse

__all__ = [
    "CodeLength",
    "Progress",
    "Told",
    "batches",
    "between_pictures",
    "between_wishes",
    "compared",
    "decoder_scale",
    "denoiser",
    "diffusion_bound",
    "flow_bound",
    "editable",
    "encode",
    "finished",
    "generate",
    "img2img",
    "interpolate",
    "inverted",
    "of_levels",
    "reconstruct",
    "rewrite",
    "traverse",
]
