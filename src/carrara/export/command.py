"""``carrara export`` and ``carrara import``."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from inspect import signature
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

from cyclopts import Parameter

from carrara.errors import UserError, command, known, option
from carrara.files import check_place, explained, incoming, is_folder, is_regular, lies_in, moved, sealed
from carrara.files.lock import Lock

TARGETS = {
    "diffusers": "carrara.export.diffusers:export",
    "onnx": "carrara.export.onnx:export",
    "page": "carrara.export.page:export",
}
"""For whom a model can be written: ``export(model_folder, out, **options)`` fills the folder ``out``, and yields
sentences about it."""
SOURCE = "carrara.export.importing:read"
"""``read(path, out)`` fills a model's folder from one of another program, and yields what is to be said of it."""
FILE = "carrara.export.originals:read"
"""The same from a file, ``read(path, out, **options)``."""


def export(
    run: Path,
    /,
    *,
    to: str | None = None,
    out: Path | None = None,
    label: Annotated[str | None, Parameter(name="--class")] = None,
    int8: bool = False,
    onnxruntime_web: Path | None = None,
    consolidate: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Writes a run's model as another program reads it.

    Parameters
    ----------
    run
        A run's folder, its best/, a checkpoint in it, or the name of a model that ships.
    to
        For whom: diffusers, onnx, which carrara.runtime draws from without torch, or page, which draws in a browser.
    out
        The folder to write; nothing may be in it.
    label
        The class that is drawn, where the other program cannot be told one.
    int8
        Writes weights of 8 bits, too, and measures what they cost.
    onnxruntime_web
        For a page, the folder of the npm package onnxruntime-web, unless it is in node_modules here.
    consolidate
        In the place of --to: writes the model of the newest checkpoint, of which several processes have written a part
        each, as one that is whole. It is the run's model/, unless --out names another folder.
    """
    from carrara.store.runs import newest

    options = {"label": label, "int8": int8 or None, "onnxruntime_web": onnxruntime_web}
    if consolidate:
        _consolidate(run, out, [name for name, value in {"to": to, **options}.items() if value is not None])
        return
    if to is None or out is None:
        whom = ", ".join(TARGETS)
        raise UserError(f"for whom, and where? Say {option('to', 'TARGET')}, of {whom}, and {option('out', 'FOLDER')}")
    name = known("target", to, TARGETS)
    function = loaded(TARGETS[name])
    options = taken(function, name, options)
    with whole(out) as folder:
        for sentence in function(newest(run), folder, **options):
            print(sentence)
    print(f"'{out}' is ready for {name}")


def _consolidate(run: Path, out: Path | None, others: Sequence[str]) -> None:
    """Writes the model of a run's newest checkpoint with whole tensors."""
    from carrara.store.runs import newest, open_model

    if others:
        raise UserError(f"{option('consolidate')} writes a run's own model: leave {option(others[0])} out")
    weights, place = newest(run), run / "model"
    if weights == place and out is None:
        print(f"'{place}' is whole, and there is nothing newer")
        return
    model = open_model(weights)
    if model.config.kind == "autoencoder" and weights != place:  # else it would count as one that is finished
        raise UserError(
            f"an autoencoder's latents are measured when its training ends: end it with '{command('train', run=run)}'"
        )
    if out is not None:
        with whole(out) as folder:
            model.save(folder)
    elif not lies_in(weights, run / "checkpoints"):
        raise UserError(
            f"'{run}' is no run's folder, which has a place for its model: {option('out', 'FOLDER')} names one"
        )
    else:
        lock = Lock(run)

        def write(folder: Path) -> None:
            model.write(folder)

        try:
            sealed.write_folder(place, write)
        finally:
            lock.release()
    print(f"'{out or place}' has the model of '{weights}', whole")


def import_model(
    path: Path,
    /,
    *,
    run: Path,
    layout: str | None = None,
    size: int | None = None,
    heads: int | None = None,
    head_width: int | None = None,
    order: str | None = None,
    schedule: str | None = None,
    prediction: str | None = None,
    train_steps: int | None = None,
    autoencoder: Path | None = None,
    tokenizer: Path | None = None,
) -> None:
    """Makes a run's folder of a model that another program has written.

    Parameters
    ----------
    path
        The folder of a diffusers pipeline, or of one that 'carrara export --to diffusers' wrote; or a checkpoint in one
        file. What such a file does not say has the options that follow.
    run
        The run's folder to make; nothing may be in it.
    layout
        Whose names a file's tensors have, where they do not say it: dit or sit, say.
    size
        Pixels along an edge.
    heads
        Of each attention.
    head_width
        Features of each head, in the place of their number.
    order
        How queries, keys and values are split: heads first, or qkv first.
    schedule
        Of the noise that the network was trained on.
    prediction
        What the network predicts.
    train_steps
        Of the schedule that the network was trained on.
    autoencoder
        Of a network of latents: the folder or the file of its autoencoder.
    tokenizer
        Of a network that reads words: the folder of its vocabulary.
    """
    options = {
        "layout": layout,
        "size": size,
        "heads": heads,
        "head_width": head_width,
        "order": order,
        "schedule": schedule,
        "prediction": prediction,
        "train_steps": train_steps,
        "autoencoder": autoencoder,
        "tokenizer": tokenizer,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if not is_folder(path) and not is_regular(path):
        raise UserError(f"there is no folder or file '{path}': name a folder with a model_index.json, or a checkpoint")
    read = loaded(SOURCE if is_folder(path) else FILE)
    given = taken(read, "a folder", given) if is_folder(path) else given
    with whole(run) as folder:
        for sentence in read(path, folder / "model", **given):
            print(sentence)
    print(f"sample it with:  carrara sample {quote(str(run))}")


def loaded(place: str) -> Callable[..., Iterator[str]]:
    """The function that ``module:function`` names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def taken(function: Callable[..., object], target: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options that are given.

    Raises:
        UserError: the target takes none of this name.
    """
    given = {name: value for name, value in options.items() if value is not None}
    accepted = signature(function).parameters
    for name in given:
        if name not in accepted:
            raise UserError(f"{option(name)} means nothing to {target}: leave it out")
    return given


@contextmanager
def whole(out: Path) -> Generator[Path]:
    """A new folder that takes the name ``out`` when the block has ended well.

    Raises:
        UserError: something is there already, or nothing can be written there.
    """
    check_place(out)
    if out.exists() and any(out.iterdir()):
        raise UserError(f"'{out}' is not empty: name a new folder, as in {command('export RUN', out='NEW')}")
    with explained(out), incoming(out.absolute().parent) as folder:
        yield folder
        moved(folder, out)
