"""Is the beginning of memorisation predicted well? Two parts of a set predict it for the whole, which is then trained.

    python benchmarks/memorisation.py OUT DATA [--examples 128] [--seeds 0,1] [key=value ...]

Trains the preset ``pixel`` with ``key=value`` changed on an eighth, a quarter and all of so many training examples of
DATA, as ``train.until=memorisation`` trains parts: at a learning rate that does not fall, until the gap between the
losses of held-out and training pictures is past ``evaluate.clock.GAP``. Prints, for each seed, where that was on each;
what the first two say of the third, and how far off that was; and for comparison, what they say if the time is in
proportion to the number of examples. Who stops it and calls it again goes on.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path

import torch
from machine import described

from carrara.errors import UserError
from carrara.evaluate import GapCurve, onset
from carrara.measure import forecast
from carrara.recipe import build
from carrara.run import memorising
from carrara.run.plan import Plan, plan
from carrara.run.session import Session

LONGEST = 40
"""Steps for each example, at most."""
RECIPE = ("train.minutes=null", "train.until=memorisation", "train.compile=false", "train.tune=false", "sample.steps=1")
NETWORK = "model.backbone={kind: unet, channels: 32, multipliers: [1, 2], blocks: 1, attention_levels: [], patch: 2, "
DEFAULTS = (
    NETWORK + "modulation: scale_shift}",
    *("data.size=8", "data.held_out=0.2", "model.conditioner=none", "train.precision=float32", "checkpoint.every=500"),
)


def trained(whole: Plan, part: int, examples: int) -> GapCurve:
    """How the gap rises on one in ``part`` of the examples."""
    recipe = memorising.part_recipe(whole.recipe, part)
    if part == 1:  # what its users would see
        recipe = recipe.model_copy(update={"preview": replace(recipe.preview, gap=1.0)})
    stage = replace(whole, recipe=recipe, folder=memorising.part_folder(whole.folder, part), whole=whole)
    for _ in Session(stage, torch.device("cpu")):
        pass
    found = forecast.measured(stage.folder, max(1, round(examples / part)), recipe.train)
    if found is None or onset(found) is None:
        raise UserError(f"copying has not begun in '{stage.folder}': raise {LONGEST} steps for each example")
    return found


def with_examples(asked: Plan, count: int) -> Plan:
    """The plan with so many training examples."""
    there = len(build.parts(asked.recipe, build.dataset(asked.recipe))[0])
    if there < count:
        raise UserError(f"the data have {there} examples to train on, not {count}")
    data = replace(asked.recipe.data, part=count / there)
    return replace(asked, recipe=asked.recipe.model_copy(update={"data": data}))


def row(whole: Plan, examples: int, seed: int) -> str:
    """A line of the table."""
    small, large = (trained(whole, part, examples) for part in memorising.PARTS)
    said = forecast.forecast(small, large, examples, whole.recipe.train)
    first, second, truth = (at.step for each in (small, large, trained(whole, 1, examples)) if (at := onset(each)))
    found = [said.step or math.nan, second * examples / large.examples]
    predicted, proportional = (f"{value:.0f} ({value / truth - 1:+.0%})" for value in found)
    interval = f"{said.low or math.nan:.0f} to {said.high or math.nan:.0f}"
    return f"| {seed} | {first:.0f} | {second:.0f} | {truth:.0f} | {predicted} | {interval} | {proportional} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("data")
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("changes", nargs="*")
    given = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    print(f"{described()}; {' '.join(given.changes)}\n", flush=True)
    eighth, quarter = (given.examples // part for part in memorising.PARTS)
    print(f"| seed | onset, {eighth} | {quarter} | {given.examples} | predicted | interval | in proportion |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for seed in map(int, given.seeds.split(",")):
        steps = f"train.steps={LONGEST * given.examples}"
        changes = [*DEFAULTS, *RECIPE, steps, f"seed={seed}", *given.changes]
        folder = given.out / f"{Path(given.data).name}-{seed}"
        asked = plan(given.data, "pixel", folder, changes)
        whole = asked if asked.resumes else with_examples(asked, given.examples)
        print(row(whole, given.examples, seed), flush=True)


if __name__ == "__main__":
    main()
