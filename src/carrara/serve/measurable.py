"""Which metrics a model can be measured with, and what has been measured of it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from carrara.autoencoder import LayeredVae
from carrara.errors import UserError
from carrara.files import is_regular, lies_in, stamp_of
from carrara.measure.account import read_measurements
from carrara.measure.metrics import METRICS
from carrara.medium import PictureMedium
from carrara.medium.notes import NotesMedium
from carrara.modality import Sound
from carrara.model import Model
from carrara.recipe.kinds import kind_of
from carrara.recipe.loading import load
from carrara.serve.said import Missing, sentence
from carrara.serve.shelf import Entry, Shelf
from carrara.store.runs import located, run_of

SAMPLED = ("kid", "fid", "prdc", "memorisation", "spectrum", "kad", "music")
"""Metrics for which samples are drawn, as many as one says."""
_OF_PICTURES = ("kid", "fid", "prdc", "memorisation")


@dataclass(frozen=True, kw_only=True)
class Measurable:
    """A metric that a model can be measured with.

    Attributes:
        about: what it is.
        samples: whether one says how many samples are drawn.
        usual: whether it is what one measures first.
        exact: whether all terms can be computed.
    """

    name: str
    about: str
    samples: bool
    usual: bool
    exact: bool


def fitting(model: Model) -> Iterator[str]:
    """The metrics that a model has by its kind; those are left out that need files which no client may name."""
    known = model.few_steps is None
    pictures = isinstance(model.medium, PictureMedium)
    if model.first_stage.learned and pictures:
        yield "reconstruction"
    if known and (model.diffuses or isinstance(model.first_stage, LayeredVae)):
        yield "nll"
    if known and model.diffuses and model.first_stage.levels is None:
        yield "flow"
    if not model.diffuses:
        return
    if pictures:
        yield from _OF_PICTURES
        if model.conditioner.reads_captions and model.image is None:
            yield "retrieval"
    if isinstance(getattr(model.config, "modality", None), Sound):
        yield from ("spectrum", "kad")
    if isinstance(model.medium, NotesMedium):
        yield "music"


def measurable(shelf: Shelf, name: str) -> dict[str, Any]:
    """What can be measured of a model, by its id, and what was.

    Raises:
        UserError: there is none, or it is damaged.
    """
    entry, model = shelf.entry(name), shelf.open(name).model
    shown: dict[str, Any] = {"model": name, "title": entry.title, "steps": model.settings().steps, "trouble": None}
    nothing = {"metrics": [], "measured": [], "report": None}
    if entry.kind == "classifier" or run_of(located(entry.path)) is None:
        trouble = "this model came without its recipe, which says what data it is measured on: measure a run of yours"
        return {**shown, **nothing, "trouble": trouble}
    try:
        usual = kind_of(load(_run(entry) / "recipe.yaml")).usual(model)
        metrics = [asdict(one) for one in _metrics(model, usual)]
        return {**shown, "metrics": metrics, "measured": list(_measured(entry, model)), "report": _report(entry)}
    except UserError as error:
        return {**shown, **nothing, "trouble": without_folder(sentence(error), {str(entry.path): entry.title})}


def _run(entry: Entry) -> Path:
    run = run_of(located(entry.path))
    assert run is not None
    return run


def _metrics(model: Model, usual: str) -> Iterator[Measurable]:
    for name in dict.fromkeys([usual, *fitting(model)]):
        exact = name == "nll" and model.diffuses
        about = METRICS[name].about
        yield Measurable(name=name, about=about, samples=name in SAMPLED, usual=name == usual, exact=exact)


def _measured(entry: Entry, model: Model) -> Iterator[dict[str, Any]]:
    folder = entry.path
    if not lies_in(folder / "evaluation", folder):
        return
    for name, rows in read_measurements(folder, model.digest()).items():
        picture = folder / "evaluation" / f"{name}.png"
        url = f"/evaluations/models/{entry.id}/{name}.png?{_stamp(picture)}"
        yield {
            "name": name,
            "rows": list(rows.items()),
            "picture": url if name in METRICS and _is_own(picture, folder) else None,
            "shows": METRICS[name].shows if name in METRICS else "",
        }


def _report(entry: Entry) -> str | None:
    path = entry.path / "evaluation" / "report.html"
    return f"/evaluations/models/{entry.id}/report.html?{_stamp(path)}" if _is_own(path, entry.path) else None


def evaluated(entry: Entry, file: str) -> Path:
    """A file of a run's ``evaluation/``.

    Raises:
        Missing: there is none.
    """
    path = entry.path / "evaluation" / file
    if not _is_own(path, entry.path):
        raise Missing("this was not measured yet, or it has been deleted from its folder")
    return path


def _is_own(path: Path, folder: Path) -> bool:
    """Whether it is a file that lies in the folder, and does not lead out of it."""
    return is_regular(path) and lies_in(path, folder)


def _stamp(path: Path) -> str:
    """What an address ends with, so that a browser sees a new file as one."""
    return str(abs(hash(stamp_of(path))) % 10**8) if is_regular(path) else "0"


def without_folder(message: str, names: Mapping[str, str]) -> str:
    """A sentence with the names of runs in the place of their folders."""
    for folder, name in names.items():
        message = message.replace(folder, name)
    return message
