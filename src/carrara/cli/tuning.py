"""``carrara finetune``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Start = Annotated[
    Path, Parameter(help="The run that it begins with, a model's own folder, or the name of one that ships.")
]


def finetune(
    start: Start,
    source: str,
    /,
    *overrides: str,
    learn: str | None = None,
    run: Path | None = None,
    minutes: float | None = None,
    dry_run: bool = False,
) -> None:
    """Lets a trained model learn from other data. Run it again to go on where it stopped.

    What learns is a LoRA: small matrices beside the weights, which stay. It is also kept by itself in the new run's
    model/, as peft keeps it, so that it can be added to what it began with.

    Examples:
        carrara finetune runs/photos garden/
        carrara finetune openmoji cats/ --minutes 20 --run runs/cats
        carrara finetune runs/photos garden/ --learn all
        carrara finetune runs/photos garden/ objective.learn.rank=16 'objective.learn.layers=[q, kv, conv1]'
        carrara sample openmoji "a cat" --lora runs/cats:0.8

    Parameters
    ----------
    start
        The run that it begins with, a model's own folder, or the name of one that ships.
    source
        A folder, or a built-in data set.
    overrides
        Changes to the recipe, key=value.
    learn
        What learns: lora, or all.
    run
        The new run's folder; runs/ and both names, if not given.
    minutes
        How long to train; as train.minutes.
    dry_run
        Only say what would be trained, and how long it takes.
    """
    from carrara.cli import commands

    overrides = (*overrides, *([f"train.minutes={minutes}"] if minutes is not None else []))
    commands.tune(start, source, overrides, learn, run, dry_run)
