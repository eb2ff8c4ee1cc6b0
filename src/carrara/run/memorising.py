"""``train.until=memorisation``: two short trainings on parts of the data say where copying of all of them begins.

parts/1-of-8/, parts/1-of-4/    runs of their own, on parts that lie in each other, until copying begins
memorisation.json, .png         what they say: see ``measure.forecast``

The run itself then ends there, with its learning rate fallen, or where it would have ended anyway, if that is earlier.
The parts' trainings end after a part of the run's length, too: the time to copying grows at least with the number of
examples (``evaluate.clock``), so what has not begun by then does not begin within the run.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from carrara.errors import UserError, command
from carrara.evaluate import GapCurve
from carrara.evaluate.clock import FEWEST as FEWEST_MEASURED
from carrara.evaluate.clock import GAP as BEGINS
from carrara.measure import forecast
from carrara.measure.forecast import Forecast
from carrara.recipe import build
from carrara.recipe.kinds import kind_of
from carrara.recipe.schema import Recipe
from carrara.train import TrainSettings, distributed
from carrara.train.log import LogLine

PARTS = (8, 4)
"""The parts: an eighth, and a quarter."""
SPARE = 1.3
"""So many times as long as its part of the run's length a part may train: the gap is measured past its crossing."""
PAST = 0.03
"""So much larger than at its crossing the gap is when a part's training ends."""
FIRST, GROWTH = 24, 1.2
"""The step of a part's first measurement, and how many times as late as the one before the others are."""
MEASURED = 128
"""Examples of a measurement, at least, if there are as many."""
FEWEST = 128
"""Examples to train on, at least: with fewer, an eighth is less than a batch."""
FEWEST_HELD_OUT = 16


def part_folder(folder: Path, part: int) -> Path:
    """Where a part of the run in ``folder`` is trained."""
    return folder / "parts" / f"1-of-{part}"


def part_recipes(recipe: Recipe) -> list[tuple[int, Recipe]]:
    """The parts and their recipes, if the recipe is to end where memorisation begins."""
    return [(part, part_recipe(recipe, part)) for part in PARTS if recipe.train.until == "memorisation"]


def part_recipe(recipe: Recipe, part: int) -> Recipe:
    """A recipe that is alike but for the data, of which it has one in ``part``, its length, a learning rate that does
    not fall, and what it measures: on the same examples, those of the smallest part, whatever its own is. Some examples
    are easier than others, which so makes the same difference in all of them."""
    own, preview, share = recipe.train, recipe.preview, SPARE / part
    steps = None if own.steps is None else max(FIRST, round(own.steps * share))
    minutes = None if own.minutes is None else own.minutes * share
    count = max(preview.held_out, MEASURED)
    kept = {"every": FIRST, "growth": GROWTH, "count": 1, "held_out": count, "gap": part / max(PARTS)}
    changes = {
        "data": replace(recipe.data, part=(recipe.data.part or 1) / part),
        "train": replace(own, steps=steps, minutes=minutes, decay=0.0),
        "checkpoint": replace(recipe.checkpoint, early=None),
        "preview": replace(preview, **kept, best=None, patience=0),
    }
    return recipe.model_copy(update=changes)


def check(recipe: Recipe) -> None:
    """Refuses what has no such end.

    Raises:
        UserError: the recipe, or its data, cannot be trained on in parts.
    """
    if recipe.train.until != "memorisation":
        return
    if recipe.autoencoder is not None:
        first = command("train DATA", preset="autoencoder-kl-f4", run="FIRST")
        raise UserError(
            "train.until=memorisation trains on parts of the data before anything else, and this recipe's autoencoder "
            f"is not there yet: train it by itself ('{first}'), and name it, with model.first_stage.kind=trained and "
            "model.first_stage.run=FIRST"
        )
    if not kind_of(recipe).compares:
        raise UserError(
            f"train.until=memorisation compares losses at noise levels, which objective.kind={recipe.objective.kind} "
            "as it is here does not have: leave it out, or end by patience (preview.best=loss preview.patience=5)"
        )
    training, held_out = build.parts(recipe, build.dataset(recipe))
    if len(training) < FEWEST:
        raise UserError(
            f"train.until=memorisation predicts from an eighth and a quarter of the data, and needs {FEWEST} examples "
            f"to train on: there are {len(training)}. So few soon show it themselves: leave it out, and take "
            "preview.best=loss preview.patience=5"
        )
    if len(held_out) < FEWEST_HELD_OUT:
        raise UserError(
            f"train.until=memorisation compares with held-out examples, {FEWEST_HELD_OUT} or more, and there are "
            f"{len(held_out)}: raise data.held_out, which is {recipe.data.held_out:g}"
        )


def curves(recipe: Recipe, folder: Path, examples: int) -> list[GapCurve]:
    """What the parts of the run in ``folder`` have measured: both, or nothing.

    Args:
        examples: that the run trains on.
    """
    found = [
        forecast.measured(part_folder(folder, part), max(1, round(examples / part)), own.train)
        for part, own in part_recipes(recipe)
    ]
    there = [curve for curve in found if curve is not None]
    return there if len(there) == len(PARTS) else []


def predicted(recipe: Recipe, folder: Path, examples: int) -> Forecast | None:
    """What the run in ``folder`` knows of its memorisation: as it was written, or by its parts, if these are trained,
    which then is written. None if it knows nothing, or what it knows is of other settings or data.

    Args:
        examples: that the run trains on.
    """
    if (known := forecast.read(folder)) is not None:  # its parts are not trained again
        return known if known.holds(recipe.train) and known.examples == examples else None
    if not (trained := curves(recipe, folder, examples)):
        return None
    found = forecast.forecast(trained[0], trained[1], examples, recipe.train)
    if distributed.is_main():
        forecast.write(found, folder, trained)
    return found


def ending(train: TrainSettings, found: Forecast | None) -> TrainSettings:
    """The settings with the step of the prediction in the place of its name."""
    if train.until != "memorisation" or found is None:
        return train
    return replace(train, until=found.length(train))


def unpredicted(train: TrainSettings, found: Forecast | None) -> str | None:
    """What to say where a run is to end at a prediction that there is not; None elsewhere."""
    if train.until != "memorisation" or found is not None:
        return None
    return (
        "train.until=memorisation ends where the trainings in parts/ have predicted it, and these had other data, "
        "another train.lr or another train.batch: this run goes its whole length. In a folder of its own it is "
        "predicted anew"
    )


def has_begun(lines: Sequence[LogLine]) -> bool:
    """Whether a part's training has seen copying begin, and a little more."""
    gap = lines[-1].get(forecast.GAP) if lines else None
    return gap is not None and gap >= BEGINS + PAST and len(lines) >= FEWEST_MEASURED


def warning(train: TrainSettings, found: Forecast | None, lines: Sequence[LogLine], step: int) -> str | None:
    """What a run that goes on past the beginning of memorisation should say, once: at its last measurement, whose line
    is the last one; None as long as there is nothing."""
    gaps = [line for line in lines if (line.get(forecast.GAP) or 0) >= BEGINS]
    if gaps and gaps[0] is lines[-1]:
        return (
            f"memorisation has begun: at one noise level the loss of training samples is {gaps[0][forecast.GAP]:.0%} "
            "lower than that of held-out ones. Samples will soon be copies: end here, or train on more data"
        )
    if found is None or found.step is None or not found.holds(train) or isinstance(train.until, int):
        return None
    expected = found.length(train)
    before = lines[-2]["step"] if len(lines) > 1 else 0
    if expected is not None and before < expected <= step:
        return (
            f"memorisation was predicted to begin at step {expected:,}, and the training goes on: samples may soon be "
            "copies of training pictures. train.until=memorisation ends it there"
        )
    return None
