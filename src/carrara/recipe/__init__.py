"""A recipe: everything that a run is made from, and what is built from it."""

from carrara.recipe import build
from carrara.recipe.loading import dump, load, parse, presets
from carrara.recipe.resolve import Resolved, resolve
from carrara.recipe.schema import Recipe

__all__ = [
    "Recipe",
    "Resolved",
    "build",
    "dump",
    "load",
    "parse",
    "presets",
    "resolve",
]
