"""Where everything meets: recipes, what is built from them, and the folders that hold what came out."""

from carrara.recipe import build
from carrara.recipe.folder import open_model
from carrara.recipe.loading import dump, load, parse, presets
from carrara.recipe.rehearsal import Rehearsal, rehearse
from carrara.recipe.resolve import Resolved, resolve
from carrara.recipe.run import HeldOut, Plan, Preview, Saved, Session, plan
from carrara.recipe.sampling import Drawn, Pipeline, Request, collect, draw, record, replay, request, save
from carrara.recipe.schema import Recipe

__all__ = [
    "Drawn",
    "HeldOut",
    "Pipeline",
    "Plan",
    "Preview",
    "Recipe",
    "Rehearsal",
    "Request",
    "Resolved",
    "Saved",
    "Session",
    "build",
    "collect",
    "draw",
    "dump",
    "load",
    "open_model",
    "parse",
    "plan",
    "presets",
    "record",
    "rehearse",
    "replay",
    "request",
    "resolve",
    "save",
]
