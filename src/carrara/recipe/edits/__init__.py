"""The verbs of ``carrara edit`` for diffusion models: pictures in, pictures and a sheet out."""

from carrara.recipe.edits.again import replay_edit
from carrara.recipe.edits.base import Edited, Job, Row, job, save_edit
from carrara.recipe.edits.inverting import interpolate, invert, rewrite
from carrara.recipe.edits.painting import inpaint, outpaint, repaint
from carrara.recipe.edits.redrawing import img2img, variation
from carrara.recipe.edits.restoring import Spoilt, restore
from carrara.recipe.edits.seeing import paint_map, upscale

__all__ = [
    "Edited",
    "Job",
    "Row",
    "Spoilt",
    "img2img",
    "inpaint",
    "interpolate",
    "invert",
    "job",
    "outpaint",
    "paint_map",
    "repaint",
    "replay_edit",
    "restore",
    "rewrite",
    "save_edit",
    "upscale",
    "variation",
]
