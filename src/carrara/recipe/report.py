"""``carrara evaluate RUN --report`` and ``carrara compare``: all that a run's folder tells, as one page.

What was measured before is read from the run's ``evaluation/``, and pictures that the model drew are taken if the
weights are still the same; else a few are drawn. Nothing is measured here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

import torch

import carrara
from carrara import pixels
from carrara.errors import UserError
from carrara.evaluate import page
from carrara.plots import Chart, Line
from carrara.recipe import build
from carrara.recipe.folder import open_model
from carrara.recipe.health import Finding, by_level, examine, held_out_costs
from carrara.recipe.illustrations import drawn, opened
from carrara.recipe.loading import DEFAULT, dump, load, presets
from carrara.recipe.schema import Recipe
from carrara.train import read_log
from carrara.train.log import Line as LogLine

POINTS = 200
"""The most points of a training curve, each the mean of as many steps."""

_LONGEST = 12  # numbers of a list that a table has room for
_USUAL: Mapping[str, Sequence[str]] = {
    "diffusion": ("nll", "kid", "memorisation"),
    "autoencoding": ("reconstruction",),
    "elbo": ("nll", "reconstruction"),
    "distillation": (),
    "few_step": ("kid",),
}
_SHOWS = {
    "nll": "what each step of the variational bound costs",
    "reconstruction": "held-out pictures, what the autoencoder makes of them, and the errors",
    "retrieval": "the right pictures of held-out captions, and below them what the model drew",
    "memorisation": "samples beside the training pictures that are nearest to them",
}


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a run's folder tells.

    Attributes:
        about: what the model knows about its training.
        metrics: of each measurement, its numbers by name.
        pictures: what the model makes.
    """

    folder: Path
    recipe: Recipe
    log: Sequence[LogLine]
    held_out: Sequence[LogLine]
    findings: Sequence[Finding]
    about: Mapping[str, Any]
    parameters: int
    metrics: Mapping[str, Mapping[str, str]]
    pictures: Sequence[page.Picture]


def account(folder: Path, device: torch.device) -> Account:
    """Reads a run, and draws what is missing.

    Raises:
        UserError: it is no run's folder, or the run is damaged.
    """
    model = open_model(folder).to(device)
    if not (folder / "recipe.yaml").is_file():
        raise UserError(f"'{folder}' has no recipe.yaml, and a report is about a whole run: name a run's folder")
    return Account(
        folder=folder,
        recipe=load(folder / "recipe.yaml"),
        log=read_log(folder / "log.jsonl"),
        held_out=read_log(folder / "held_out.jsonl"),
        findings=examine(folder, model),
        about=model.about,
        parameters=sum(p.numel() for p in model.parameters()),
        metrics=metrics(folder, model.digest()),
        pictures=drawn(folder, model),
    )


def report(folder: Path, device: torch.device) -> Path:
    """Writes the page about a run to its ``evaluation/report.html``, in the place of an earlier one."""
    run = account(folder, device)
    about = run.about
    lead = (
        f"{about.get('data', run.recipe.data.source)}, {about.get('examples', '?')} examples; "
        f"{run.parameters / 1e6:.2f} M parameters; {about.get('step', '?')} steps."
    )
    sections = [
        page.Section("Health", [_findings(run.findings)] if run.findings else []),
        page.Section("What it makes", [page.Side(run.pictures)] if run.pictures else []),
        page.Section("Measurements", _measured(run)),
        page.Section("How it learned", [page.Side([page.Curves(chart) for chart in charts(run)])] if run.log else []),
        page.Section("Time", [page.Table(caption="Wall clock", head=("what", "how much"), rows=timing(run.log))]),
        page.Section("Recipe", _recipe(run.recipe)),
        page.Section("Sources", [page.Text(line) for line in _sources(run.recipe)]),
    ]
    return _written(folder / "evaluation" / "report.html", page.page(folder.resolve().name, lead, sections))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs side by side: where the page is, and its tables, for a terminal."""

    path: Path
    tables: Sequence[page.Table]


def compare(folders: Sequence[Path], device: torch.device, out: Path) -> Comparison:
    """Writes a page that puts runs side by side to ``out``, or beside it if there is one.

    Raises:
        UserError: fewer than two runs, or one that cannot be read.
    """
    if len(set(folders)) < 2:
        raise UserError("a comparison needs two runs or more: carrara compare RUN RUN")
    runs = {name: account(folder, device) for name, folder in zip(_names(folders), folders, strict=True)}
    tables = [_summaries(runs), _measurements(runs), _differences(runs)]
    tables = [table for table in tables if table.rows]
    pictures = [
        page.Picture(image=r.pictures[0].image, alt=f"What {n} makes", caption=n) for n, r in runs.items() if r.pictures
    ]
    caution = "Losses can be compared where parameterization, weighting and data are the same; held-out metrics always."
    troubles = [Finding(level=f.level, text=f"{n}: {f.text}") for n, r in runs.items() for f in r.findings]
    troubles = [finding for finding in troubles if finding.level == "warning"]
    sections = [
        page.Section("Side by side", tables),
        page.Section("What they make", [page.Side(pictures)] if pictures else []),
        page.Section("How they learned", [page.Text(caution), page.Side([page.Curves(c) for c in _together(runs)])]),
        page.Section("Warnings", [_findings(troubles)] if troubles else []),
    ]
    text = page.page("Comparison", ", ".join(runs), sections)
    return Comparison(path=_written(pixels.fresh(out), text), tables=tables)


def metrics(folder: Path, weights: str) -> dict[str, dict[str, str]]:
    """What was measured, by the names of the files in ``evaluation/``, as one writes numbers for a reader.

    Args:
        weights: the model's digest; what was measured of other weights says so.

    Raises:
        UserError: a file is damaged.
    """
    found: dict[str, dict[str, str]] = {}
    for file in sorted((folder / "evaluation").glob("*.json")):
        try:
            values = json.loads(file.read_bytes())
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise UserError(f"'{file}' is damaged: remove it, or measure again")
        of: Mapping[str, Any] = values.pop("measured", {})
        rows = {name: text for name, text in page.leaves(_brief(values)) if text != page.MISSING}
        old = (
            {"note": f"of an earlier model, step {of.get('step', '?')}"}
            if of.get("weights", weights) != weights
            else {}
        )
        found[file.stem] = {**old, **rows}
    return found


def _brief(values: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers without long lists; a value with its error as one."""
    brief: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and "value" in value and "error" in value:
            brief[name] = f"{value['value']:.4g} ± {value['error']:.1g}"
        elif isinstance(value, Mapping):
            brief[name] = _brief(value)
        elif not isinstance(value, list) or len(value) <= _LONGEST:
            brief[name] = value
    return brief


def timing(log: Sequence[LogLine]) -> list[tuple[str, str]]:
    """How long a run took, and how fast it was: at the end, and in all."""
    if not log:
        return []
    last, late = log[-1], log[-max(2, len(log) // 10)] if len(log) > 1 else log[-1]
    seconds, passed = last["seconds"], last["seconds"] - late["seconds"]
    rows = [("minutes", f"{seconds / 60:.1f}"), ("steps", f"{last['step']:,}"), ("images", f"{last['images']:,}")]
    if seconds > 0:
        rows.append(("images a second", f"{last['images'] / seconds:.1f}, previews and saves included"))
    if passed > 0:
        rows.append(("images a second at the end", f"{(last['images'] - late['images']) / passed:.1f}"))
    return rows


def charts(run: Account) -> list[Chart]:
    """The curves of a training: the loss, each held-out measure, and the loss over the noise levels."""
    levels, steps = by_level(run.held_out), [line["step"] for line in run.held_out]
    lines = [_binned("training", run.log, "loss", "step")]
    if levels:
        lines.append(Line(name="held out", x=steps, y=held_out_costs(run.held_out)[1]))
    found = [_chart("Loss", lines, "step", "loss")]
    if levels:
        each = [Line(name=f"t = {t:g}", x=steps, y=values) for t, values in levels.items()]
        found.append(_chart("Held-out loss at each noise level", each, "step", "loss"))
        ends = [0, len(steps) - 1][: len(steps)]
        over = [Line(name=f"step {steps[k]}", x=list(levels), y=[v[k] for v in levels.values()]) for k in ends]
        found.append(_chart("Held-out loss over the noise levels", over, "t", "loss"))
    for name in run.held_out[0] if run.held_out else {}:
        if name != "step" and not name.startswith("loss@"):
            lines = [Line(name="held out", x=steps, y=[_number(line.get(name)) for line in run.held_out])]
            lines += [_binned("training", run.log, name, "step")] * (name in run.log[-1])
            found.append(_chart(f"{name}", lines, "step", name))
    return found


def changed(recipe: Recipe) -> list[tuple[str, str, str]]:
    """The keys in which a recipe differs from its preset, with both values: what a reader wants to know first."""
    base = dict(page.leaves(load(_base(recipe)).model_dump(mode="json")))
    own = dict(page.leaves(recipe.model_dump(mode="json")))
    keys = [key for key in {**own, **base} if own.get(key) != base.get(key) and key != "preset"]
    return [(key, own.get(key, page.MISSING), base.get(key, page.MISSING)) for key in keys]


def _findings(findings: Sequence[Finding]) -> page.Findings:
    return page.Findings([(finding.level, finding.text) for finding in findings])


def _measured(run: Account) -> list[page.Block]:
    """A table for each measurement, and its picture if it has one."""
    blocks: list[page.Block] = []
    for name, numbers in run.metrics.items():
        blocks.append(
            page.Table(
                caption=name,
                head=("measure", "value"),
                rows=[(name.replace("_", " "), text) for name, text in numbers.items()],
            )
        )
        path = run.folder / "evaluation" / f"{name}.png"
        if path.is_file():
            shows = _SHOWS.get(name, f"what was measured as {name}")
            blocks.append(page.Picture(image=opened(path), alt=f"Pictures: {shows}", caption=shows.capitalize()))
    if missing := [name for name in _USUAL[run.recipe.objective.kind] if name not in run.metrics]:
        blocks.append(page.Text(f"Not measured yet: carrara evaluate {run.folder} --metrics {','.join(missing)}"))
    return blocks


def _recipe(recipe: Recipe) -> list[page.Block]:
    caption = f"Keys that differ from the preset {_base(recipe)}"
    return [
        page.Table(caption=caption, head=("key", "this run", "preset"), rows=changed(recipe)),
        page.Folded(summary="The complete recipe", text=dump(recipe)),
    ]


def _sources(recipe: Recipe) -> list[str]:
    """Who made the data, and what made the page."""
    try:
        info = build.dataset(recipe).info
        data = info.attribution or f"{info.name}: the data's makers and terms are not known to this run."
    except UserError:
        data = f"The data, {recipe.data.source}, are not there any more."
    return [f"Data: {data}", f"Trained, measured and reported by Carrara {carrara.__version__}."]


def _base(recipe: Recipe) -> str:
    return recipe.preset if recipe.preset in presets() else DEFAULT


def _names(folders: Sequence[Path]) -> list[str]:
    """What to call runs: by their folder's name, where that tells them apart."""
    short = [folder.resolve().name for folder in folders]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def _summaries(runs: Mapping[str, Account]) -> page.Table:
    rows = [
        ("data", *(str(run.about.get("data", page.MISSING)) for run in runs.values())),
        ("parameters", *(f"{run.parameters:,}" for run in runs.values())),
        *page.aligned([dict(timing(run.log)) for run in runs.values()]),
        *page.aligned([dict(_quality(run)) for run in runs.values()]),
        ("warnings", *(str(sum(f.level == "warning" for f in run.findings)) for run in runs.values())),
    ]
    return page.Table(caption="Summary", head=("", *runs), rows=rows)


def _quality(run: Account) -> list[tuple[str, str]]:
    """The loss at the end, and the best that was held out."""
    rows: list[tuple[str, str]] = []
    if curve := _binned("", run.log, "loss", "step").y:
        rows.append(("training loss", f"{curve[-1]:.4g}"))
    name, costs = held_out_costs(run.held_out) if run.held_out else ("", [])
    if costs:
        best = min(range(len(costs)), key=costs.__getitem__)
        rows.append((f"best held-out {name}", f"{abs(costs[best]):.4g} at step {run.held_out[best]['step']}"))
    return rows


def _measurements(runs: Mapping[str, Account]) -> page.Table:
    each = [{f"{f} {m}": v for f, values in run.metrics.items() for m, v in values.items()} for run in runs.values()]
    return page.Table(caption="Measurements", head=("measure", *runs), rows=page.aligned(each))


def _differences(runs: Mapping[str, Account]) -> page.Table:
    each = [dict(page.leaves(run.recipe.model_dump(mode="json"))) for run in runs.values()]
    rows = [row for row in page.aligned(each) if any(a != b for a, b in pairwise(row[1:]))]
    return page.Table(caption="Keys in which the recipes differ", head=("key", *runs), rows=rows)


def _together(runs: Mapping[str, Account]) -> list[Chart]:
    """The runs' curves over the images seen, which is fair to every batch size: one chart for each kind of measure."""
    learned = [_binned(name, run.log, "loss", "images") for name, run in runs.items()]
    found, measured = [_chart("Training loss", learned, "images", "loss")], dict[str, list[Line]]()
    for name, run in runs.items():
        images = {line["step"]: line["images"] for line in run.log}
        kind, costs = held_out_costs(run.held_out) if run.held_out else ("", [])
        if costs:
            seen = [images.get(line["step"], float("nan")) for line in run.held_out]
            measured.setdefault(kind, []).append(Line(name=name, x=seen, y=[abs(cost) for cost in costs]))
    return [*found, *(_chart(f"Held-out {kind}", lines, "images", kind) for kind, lines in measured.items())]


def _binned(name: str, log: Sequence[LogLine], field: str, over: str) -> Line:
    """A number of the log as a curve, each point the mean over equally many steps, at the last of them."""
    there = [line for line in log if isinstance(line.get(field), int | float)]
    size = -(-len(there) // POINTS) or 1
    bins = [there[first : first + size] for first in range(0, len(there), size)]
    means = [sum(float(line[field]) for line in part) / len(part) for part in bins]
    return Line(name=name, x=[part[-1][over] for part in bins], y=means)


def _chart(title: str, lines: Sequence[Line], x: str, y: str) -> Chart:
    """A chart whose ordinate is logarithmic, if all is positive."""
    values = [value for line in lines for value in line.y if isfinite(value)]
    return Chart(title=title, lines=lines, x_label=x, y_label=y, log_y=bool(values) and min(values) > 0)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _written(path: Path, text: str) -> Path:
    with pixels.replacing(path) as file:
        file.write(text.encode())
    return path
