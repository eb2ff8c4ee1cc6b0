"""Where everything meets: recipes, what is built from them, and the folders that hold what came out."""

from carrara.recipe import build
from carrara.recipe.benching import Bench, benched
from carrara.recipe.compiling import Note
from carrara.recipe.editing import Edit, edit
from carrara.recipe.folder import open_model, shipped
from carrara.recipe.latents import Encoding
from carrara.recipe.loading import dump, load, parse, presets
from carrara.recipe.plan import Plan, plan, plan_distillation, plan_few_step
from carrara.recipe.rehearsal import Rehearsal, rehearse
from carrara.recipe.replaying import replay
from carrara.recipe.resolve import Resolved, resolve
from carrara.recipe.run import Diagnosis, HeldOut, Preview, Saved, Session
from carrara.recipe.sampling import Drawn, Pipeline, Request, collect, draw, record, request, save, size_of
from carrara.recipe.schema import Recipe
from carrara.recipe.sheets import read_variation, sheet
from carrara.recipe.shipping import ship, working_folder

__all__ = [
    "Bench",
    "Diagnosis",
    "Drawn",
    "Edit",
    "Encoding",
    "HeldOut",
    "Note",
    "Pipeline",
    "Plan",
    "Preview",
    "Recipe",
    "Rehearsal",
    "Request",
    "Resolved",
    "Saved",
    "Session",
    "benched",
    "build",
    "collect",
    "draw",
    "dump",
    "edit",
    "load",
    "open_model",
    "parse",
    "plan",
    "plan_distillation",
    "plan_few_step",
    "presets",
    "read_variation",
    "record",
    "rehearse",
    "replay",
    "request",
    "resolve",
    "save",
    "sheet",
    "ship",
    "shipped",
    "size_of",
    "working_folder",
]
