"""``carrara compare``: runs side by side, as one page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

from carrara import pixels
from carrara.errors import PLAIN, Spelling, UserError, command
from carrara.evaluate import page
from carrara.files import check_file
from carrara.measure.account import Account, read_account, training_time
from carrara.measure.curves import compared_charts, curve
from carrara.measure.health import Finding, held_out_costs
from carrara.measure.report import findings_block, write_page


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs side by side: where the page is, and its tables, for a terminal."""

    path: Path
    tables: Sequence[page.Table]


def compare_runs(folders: Sequence[Path], device: torch.device, out: Path, spelling: Spelling = PLAIN) -> Comparison:
    """Writes a page that puts runs side by side to ``out``, or beside it if there is one.

    Args:
        spelling: of options and commands that the page names.

    Raises:
        NotWritten: nothing can be written there.
        UserError: fewer than two runs, or one that cannot be read.
    """
    if len(set(folders)) < 2:
        raise UserError(f"a comparison needs two runs or more: {command('compare RUN RUN')}")
    check_file(out)
    runs = {name: read_account(folder, device) for name, folder in zip(_names(folders), folders, strict=True)}
    tables = [_summaries(runs), _measurements(runs), _differences(runs)]
    tables = [table for table in tables if table.rows]
    pictures = [
        page.Figure(image=r.pictures[0].image, alt=f"What {n} makes", caption=n) for n, r in runs.items() if r.pictures
    ]
    caution = "Losses can be compared where parameterization, weighting and data are the same; held-out metrics always."
    troubles = [Finding(level=f.level, text=f"{n}: {f.text}") for n, r in runs.items() for f in r.findings]
    troubles = [finding for finding in troubles if finding.level == "warning"]
    curves = [page.Curves(chart) for chart in compared_charts(runs)]
    sections = [
        page.Section("Side by side", tables),
        page.Section("What they make", [page.SideBySide(pictures)] if pictures else []),
        page.Section("How they learned", [page.Text(caution), page.SideBySide(curves)]),
        page.Section("Warnings", [findings_block(troubles)] if troubles else []),
    ]
    text = page.page("Comparison", ", ".join(runs), sections)
    return Comparison(path=write_page(pixels.fresh(out), text, spelling), tables=tables)


def _names(folders: Sequence[Path]) -> list[str]:
    """What to call runs: by their folder's name, where that tells them apart."""
    short = [folder.resolve().name for folder in folders]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def _summaries(runs: Mapping[str, Account]) -> page.Table:
    rows = [
        ("data", *(str(run.about.get("data", page.MISSING)) for run in runs.values())),
        ("parameters", *(f"{run.parameters:,}" for run in runs.values())),
        *page.aligned([dict(training_time(run.log)) for run in runs.values()]),
        *page.aligned([dict(_quality(run)) for run in runs.values()]),
        ("warnings", *(str(sum(f.level == "warning" for f in run.findings)) for run in runs.values())),
    ]
    return page.Table(caption="Summary", head=("", *runs), rows=rows)


def _quality(run: Account) -> list[tuple[str, str]]:
    """The loss at the end, and the best that was held out."""
    rows: list[tuple[str, str]] = []
    if losses := curve("", run.log, "loss", "step").y:
        rows.append(("training loss", f"{losses[-1]:.4g}"))
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
