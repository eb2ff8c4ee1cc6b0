"""The verbs of ``carrara edit`` for diffusion models: pictures in, pictures and a sheet out."""

from carrara.recipe.edits.base import Edited, Job, Row, job, opened, picture, save_edit
from carrara.recipe.edits.redrawing import img2img, variation
from carrara.recipe.edits.restoring import Spoilt, restore

__all__ = ["Edited", "Job", "Row", "img2img", "job", "Spoilt", "opened", "picture", "restore", "save_edit", "variation"]
