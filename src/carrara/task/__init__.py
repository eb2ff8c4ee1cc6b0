"""What a user asks of a model, as functions."""

from carrara.task.bench import Benched, bench
from carrara.task.edit import check_mask, editable, encode, finished, img2img, inpaint, outpaint, placed
from carrara.task.generate import Progress, Told, batches, denoiser, generate
from carrara.task.invert import between_pictures, between_wishes, inverted, rewrite
from carrara.task.likelihood import CodeLength, decoder_scale, diffusion_bound, flow_bound, of_levels
from carrara.task.reconstruct import compared, interpolate, reconstruct, traverse
from carrara.task.restore import restore
from carrara.task.seeing import fill, paint, seen, shown, upscale, window
from carrara.task.timing import Measured, Work, flops_of, interleaved, machine, peak_memory, roofline, timed

__all__ = [
    "Benched",
    "CodeLength",
    "Measured",
    "Progress",
    "Told",
    "Work",
    "batches",
    "bench",
    "between_pictures",
    "between_wishes",
    "check_mask",
    "compared",
    "decoder_scale",
    "denoiser",
    "diffusion_bound",
    "flops_of",
    "flow_bound",
    "editable",
    "encode",
    "fill",
    "finished",
    "generate",
    "img2img",
    "inpaint",
    "interleaved",
    "interpolate",
    "inverted",
    "machine",
    "of_levels",
    "outpaint",
    "paint",
    "peak_memory",
    "placed",
    "reconstruct",
    "restore",
    "rewrite",
    "roofline",
    "seen",
    "shown",
    "timed",
    "traverse",
    "upscale",
    "window",
]
