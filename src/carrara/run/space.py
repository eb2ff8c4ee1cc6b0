"""What a run will need of the disk, before its first step: so that hours of work do not end for want of room.

It is an estimate, and rather too much than too little: tensors are counted, and a little is added for the rest.
"""

from dataclasses import dataclass
from pathlib import Path

from carrara.errors import option
from carrara.files import check_room, free_space, in_words
from carrara.objective import Objective
from carrara.recipe.schema import Recipe
from carrara.store.latents import Cache, folder_size
from carrara.store.runs import EARLY

MOMENTS = 2
"""Numbers that an optimizer keeps of each that learns, at most."""
REST = 1 << 20
"""Bytes for what is small: recipe, manifests, states, logs and previews."""


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What a run will still write, in bytes.

    Attributes:
        checkpoints: with the new one, while the oldest is still there.
        models: ``model/``, ``best/`` and ``early/``.
        cache: what is made of the data once.
    """

    checkpoints: int
    models: int
    cache: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.checkpoints + self.models + self.cache + REST

    def text(self) -> str:
        """The same in words."""
        parts = {"checkpoints": self.checkpoints, "models": self.models, "what is made of the data": self.cache}
        named = ", ".join(f"{name} {in_words(size)}" for name, size in parts.items() if size)
        return f"{in_words(self.total)} ({named})"


def needed(recipe: Recipe, folder: Path, objective: Objective, cache: Cache | None = None) -> Needed:
    """What a run will need beside what is in its folder already.

    Args:
        folder: the run's, which need not be there.
        objective: with all that is saved.
        cache: what is made of the data once.
    """
    whole, learned = _sizes(objective)
    checkpoint = 2 * whole + MOMENTS * learned
    kept = (recipe.checkpoint.keep + 1) * checkpoint - folder_size(folder / "checkpoints")
    names = ["model", *["best"] * (recipe.preview.best is not None), *[EARLY] * (recipe.checkpoint.early is not None)]
    there = sum(folder_size(folder / name) for name in names)
    models = (len(names) + 1) * whole - there  # a new one is beside the old one
    return Needed(checkpoints=max(checkpoint, kept), models=max(whole, models), cache=cache.missing if cache else 0)


def check_space(recipe: Recipe, folder: Path, objective: Objective, cache: Cache | None = None) -> None:
    """Refuses a run for which there is no room.

    Raises:
        NotWritten: with the bytes that are needed and that are free, and what to lower.
    """
    keep = recipe.checkpoint.keep
    lower = f"lower checkpoint.keep, which is {keep}, " if keep > 1 else ""
    advice = f"make room on the disk, {lower}or put the run elsewhere with {option('run', 'FOLDER')}"
    check_room(folder, needed(recipe, folder, objective, cache).total, "this run", advice)


def described(recipe: Recipe, folder: Path, objective: Objective, cache: Cache | None = None) -> str:
    """What a run needs and what is free, in words."""
    free = free_space(folder)
    there = "" if free is None else f", {in_words(free)} are free"
    return f"{needed(recipe, folder, objective, cache).text()}{there}"


def _sizes(objective: Objective) -> tuple[int, int]:
    """The bytes of all tensors of an objective, and of those that learn."""
    whole = sum(tensor.nbytes for tensor in objective.state_dict().values())
    return whole, sum(p.nbytes for p in objective.parameters() if p.requires_grad)
