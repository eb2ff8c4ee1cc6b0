"""What a run's folder, or a model's, tells about itself: what a card says, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from carrara.conditioning import LabelsConfig
from carrara.data.sources import BUILTIN
from carrara.errors import UserError
from carrara.files import is_regular, lies_in, read_yaml
from carrara.measure.account import read_measurements, training_time
from carrara.measure.illustrations import illustrate
from carrara.model import DiffusionModel, Model
from carrara.recipe import build
from carrara.recipe.loading import load
from carrara.shapes import by
from carrara.share.places import png, without_places
from carrara.store import Store
from carrara.store.runs import located, run_of
from carrara.train import read_training


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known.

    Attributes:
        name: the run's, or the shipped model's.
        weights: the digest of the model.
        what: what it is, in rows: a name and a value.
        conditions: how it is told what to draw: ``text``, ``class`` or ``none``; ``stage`` of what draws nothing.
        example: what it may be told; empty if it is told nothing.
        pictures: whether it makes pictures, and no sounds, notes, arrays or points.
        data: what it was trained on, in rows.
        terms: of the data, where they are known.
        training: how long, in rows.
        recipe: complete, as YAML; empty where there is none.
        metrics: of each measurement of these weights, its numbers by name, as a reader reads them.
        picture: a PNG that the model drew, and what can be seen on it; None if there is none.
        places: of this machine, that were taken out.
    """

    name: str
    weights: str
    what: Sequence[tuple[str, str]]
    conditions: str
    example: str
    pictures: bool
    data: Sequence[tuple[str, str]]
    terms: str
    training: Sequence[tuple[str, str]]
    recipe: str
    metrics: Mapping[str, Mapping[str, str]]
    picture: tuple[bytes, str] | None
    places: Mapping[str, str]


def read_facts(path: Path) -> Facts:
    """Reads a run, and draws a few samples if it has none of its present weights.

    Raises:
        UserError: there is none, or it is damaged.
    """
    opened = Store().open(path)
    model, run = opened.model, run_of(located(path))
    places: dict[str, str] = {}
    about: dict[str, Any] = without_places(dict(model.about), places)
    figures = illustrate(opened)
    measured = {} if run is None else read_measurements(run, model.digest())
    return Facts(
        name=located(path).resolve().name,
        weights=model.digest(),
        what=_what(model),
        conditions=_conditions(model),
        example={"class": next(iter(_classes(model)), ""), "text": "a prompt"}.get(_conditions(model), ""),
        pictures=model.config.modality is None and len(model.config.shape) == 3,
        data=_data(model, about),
        terms="" if run is None else _terms(run),
        training=_training(run, about),
        recipe="" if run is None else told_recipe(run, places),
        metrics={name: numbers for name, rows in measured.items() if (numbers := _numbers(rows))},
        picture=(png(figures[0].image), figures[0].alt) if figures else None,
        places=places,
    )


def told_recipe(run: Path, places: dict[str, str]) -> str:
    """The recipe of a run as YAML, with names in the place of paths; empty if there is none.

    Args:
        places: gets the paths, with what they have become.
    """
    path = run / "recipe.yaml"
    if not is_regular(path) or not lies_in(path, run):
        return ""
    values = without_places(read_yaml(path), places)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def _what(model: Model) -> list[tuple[str, str]]:
    config = model.config
    rows = [
        ("kind", f"{config.kind} model" if config.kind == "diffusion" else str(config.kind)),
        ("a sample", f"{by(config.shape)} numbers (channels first)"),
        ("parameters", f"{sum(one.numel() for one in model.parameters()):,}"),
        ("first stage", config.first_stage.kind),
    ]
    if config.modality is not None:
        rows.insert(1, ("of", type(config.modality).__name__.lower()))
    if isinstance(model, DiffusionModel):
        own = model.config
        rows += [
            ("network", own.backbone.kind),
            ("prediction", own.parameterization.kind),
            ("schedule", own.schedule.kind),
            ("told by", own.conditioner.kind),
            ("sampler", f"{own.sample.sampler.kind}, {own.sample.steps} steps, guidance {own.sample.guidance:g}"),
        ]
    return [*rows, ("digest of the weights", model.digest())]


def _conditions(model: Model) -> str:
    if not model.draws:
        return "stage"
    return {"label": "class", "text": "text"}.get(model.conditioner.column or "", "none")


def _classes(model: Model) -> tuple[str, ...]:
    told = model.config.conditioner if isinstance(model, DiffusionModel) else None
    return told.classes if isinstance(told, LabelsConfig) else ()


def _data(model: Model, about: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = {"data": "data", "examples": "examples", "fingerprint": "fingerprint", "imported": "imported from"}
    rows = [(text, str(about[key])[:200]) for key, text in names.items() if key in about]
    if classes := _classes(model):
        shown = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
        rows.append((f"{len(classes)} classes", shown))
    return rows


def _terms(run: Path) -> str:
    """Who made the data and on which terms: of what comes with Carrara, because a user's folder does not say."""
    try:
        recipe = load(run / "recipe.yaml")
        source = recipe.data.source
        return build.dataset(recipe).info.attribution if source is not None and source.kind in BUILTIN else ""
    except UserError:
        return ""


def _training(run: Path | None, about: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = dict(training_time(read_training(run / "log.jsonl"))) if run is not None else {}
    for name in ("step", "images"):
        if isinstance(count := about.get(name), int):
            rows["steps" if name == "step" else name] = f"{count:,}"
    if "preset" in about:
        rows["preset"] = str(about["preset"])[:80]
    return list(rows.items())


def _numbers(rows: Mapping[str, str]) -> dict[str, str]:
    """The rows that are numbers: others may name files of the user's. None of other weights than these."""
    return {} if "note" in rows else {name: text for name, text in rows.items() if number(text) is not None}


def number(text: str) -> float | None:
    """The number that a reader reads, without its error; None if it is none."""
    try:
        return float(text.partition(" ±")[0].replace(",", ""))
    except ValueError:
        return None
