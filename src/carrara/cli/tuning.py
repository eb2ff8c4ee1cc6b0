"""``carrara finetune`` and ``carrara distill``: models that begin with a trained one."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Run = Annotated[
    Path, Parameter(help="A run's folder, its best/, a checkpoint in it, or the name of a model that ships.")
]
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


def distill(
    teacher: Run,
    /,
    *overrides: str,
    steps: int | None = None,
    decoder: bool = False,
    run: Path | None = None,
    minutes: float | None = None,
) -> None:
    """Makes a faster model of a trained one. Run it again to go on where it stopped.

    With --steps 4: a run of its own, whose model draws in 4 steps what this one draws in many. With --decoder: a tiny
    decoder of the run's autoencoder, for previews, in the run's tiny-decoder/.

    Examples:
        carrara distill runs/photos --steps 4
        carrara distill runs/photos --steps 1 --minutes 60 --run runs/quick
        carrara distill runs/photos --decoder
        carrara distill runs/photos --decoder train.minutes=20

    Parameters
    ----------
    overrides
        Changes to the recipe, key=value.
    steps
        How many steps the new model takes: 1, 2, 4, or up to 16.
    decoder
        Distil the decoder.
    run
        With --steps, the new run's folder; the old one's name and the steps, beside it, if not given.
    minutes
        How long to train, after the teacher's samples are made; as train.minutes.
    """
    from carrara.cli import commands

    overrides = (*overrides, *([f"train.minutes={minutes}"] if minutes is not None else []))
    commands.train_student(teacher, overrides, decoder, steps, run)
