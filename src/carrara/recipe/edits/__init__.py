"""The verbs of ``carrara edit`` for diffusion models: pictures in, pictures and a sheet out."""

from carrara.recipe.edits.base import Edited, Job, Row, job, opened, picture, save_edit
from carrara.recipe.edits.painting import inpaint, outpaint, repaint
from carrara.recipe.edits.redrawing import img2img, variation
from carrara.recipe.edits.seeing import paint_map, upscale

__all__ = [
    "Edited",
    "Job",
    "Row",
    "img2img",
    "inpaint",
    "job",
    "opened",
    "outpaint",
    "paint_map",
    "picture",
    "repaint",
    "save_edit",
    "upscale",
    "variation",
]
