"""The page of ``carrara evaluate RUN --report``: all that a run's folder tells, as one page."""

from collections.abc import Sequence
from pathlib import Path

import torch

import carrara
from carrara.errors import PLAIN, Spelling, UserError, command, spelled
from carrara.evaluate import page
from carrara.files import check_place, is_regular, lies_in, replacing
from carrara.measure.account import Account, read_account, training_time
from carrara.measure.curves import training_charts
from carrara.measure.health import Finding
from carrara.measure.illustrations import read_picture
from carrara.measure.metrics import METRICS
from carrara.recipe import build
from carrara.recipe.kinds import kind_of
from carrara.recipe.loading import DEFAULT, dump, load, presets
from carrara.recipe.schema import Recipe


def write_report(folder: Path, device: torch.device, spelling: Spelling = PLAIN, out: Path | None = None) -> Path:
    """Writes the page about a run to its ``evaluation/report.html``, in the place of an earlier one.

    Args:
        spelling: of options and commands that the page names.
        out: a folder in the place of ``evaluation/``.

    Raises:
        NotWritten: nothing can be written there; before anything is drawn, if that can be known.
    """
    if out is not None or folder.is_dir():
        check_place(out or folder / "evaluation")
    run = read_account(folder, device, out)
    about = run.about
    lead = (
        f"{about.get('data', run.recipe.data.source)}, {about.get('examples', '?')} examples; "
        f"{run.parameters / 1e6:.2f} M parameters; {about.get('step', '?')} steps."
    )
    curves = [page.Curves(chart) for chart in training_charts(run)] if run.log else []
    times = training_time(run.log)
    sections = [
        page.Section("Health", [findings_block(run.findings)] if run.findings else []),
        page.Section("What it makes", [page.SideBySide(run.pictures)] if run.pictures else []),
        page.Section("Measurements", _measurements(run)),
        page.Section("How it learned", [page.SideBySide(curves)] if curves else []),
        page.Section("Time", [page.Table(caption="Wall clock", head=("what", "how much"), rows=times)]),
        page.Section("Recipe", _recipe(run.recipe)),
        page.Section("Sources", [page.Text(line) for line in _sources(run.recipe)]),
    ]
    text = page.page(folder.resolve().name, lead, sections)
    return write_page(run.measured / "report.html", text, spelling, folder if out is None else None)


def changes_of_preset(recipe: Recipe) -> list[tuple[str, str, str]]:
    """The keys in which a recipe differs from its preset, with both values: what a reader wants to know first."""
    base = dict(page.leaves(load(_base(recipe)).model_dump(mode="json")))
    own = dict(page.leaves(recipe.model_dump(mode="json")))
    keys = [key for key in {**own, **base} if own.get(key) != base.get(key) and key != "preset"]
    return [(key, own.get(key, page.MISSING), base.get(key, page.MISSING)) for key in keys]


def findings_block(findings: Sequence[Finding]) -> page.Findings:
    """Sentences about runs, as a page has them."""
    return page.Findings([(finding.level, finding.text) for finding in findings])


def _measurements(run: Account) -> list[page.Block]:
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
        path = run.measured / f"{name}.png"
        if is_regular(path) and lies_in(path, run.measured):
            shows = METRICS[name].shows if name in METRICS else f"what was measured as {name}"
            blocks.append(page.Figure(image=read_picture(path), alt=f"Pictures: {shows}", caption=shows.capitalize()))
    if missing := [name for name in kind_of(run.recipe).metrics if name not in run.metrics]:
        measuring = command(f"evaluate {run.folder}", metrics=",".join(missing))
        blocks.append(page.Text(f"Not measured yet: {measuring}"))
    return blocks


def _recipe(recipe: Recipe) -> list[page.Block]:
    caption = f"Keys that differ from the preset {_base(recipe)}"
    return [
        page.Table(caption=caption, head=("key", "this run", "preset"), rows=changes_of_preset(recipe)),
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


def write_page(path: Path, text: str, spelling: Spelling, within: Path | None = None) -> Path:
    """Writes a page, in the place of an earlier one; ``within``: see ``files.make_folder``."""
    with replacing(path, within=within) as file:
        file.write(spelled(text, spelling).encode("utf-8", "replace"))
    return path
