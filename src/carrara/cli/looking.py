"""``carrara inspect``: what is in a run, in data, in a schedule; and the pages about runs."""

import json
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from rich.table import Table

from carrara import pixels, store
from carrara.autoencoder import FirstStage
from carrara.cli.terminal import SHELL, bold, console, plain, styled
from carrara.data import Reading, inspection
from carrara.data.description import write_rows
from carrara.data.sources import FolderSource, Source, source_at
from carrara.device import default_device
from carrara.errors import UserError, option
from carrara.evaluate import page
from carrara.files import NotWritten, check_file, check_place, is_archive, is_regular, lies_in
from carrara.kinds import mapping_of
from carrara.measure import comparison, health, report, schedules
from carrara.medium import read_about, sheet_of
from carrara.model import Model, ModelConfig
from carrara.noise import DiscreteSchedule, Schedule
from carrara.recipe.loading import load, said_kind
from carrara.shapes import by
from carrara.store.best import LEADS
from carrara.train import checkpoint, read_log, read_training

LONGEST = 200
"""Characters of a configuration that are shown."""

PARTS = ("request", "settings", "edit", "how", "spoilt", "of")
"""What a picture's record has below names of its own."""

COLOURS = {"good": "green", "note": "cyan", "warning": "yellow"}


def run(folder: Path) -> None:
    """Says what is in a run's folder, and how it went."""
    if folder.is_file():
        picture(folder)
        return
    opened = store.Store(torch.device("cpu")).open(folder)
    model = opened.model
    config, about = model.config, model.about
    console.print(bold(folder))
    _row(
        "data", f"{about.get('data', 'unknown')}, {about.get('examples', '?')} examples, {about.get('fingerprint', '')}"
    )
    _row("sample", f"{by(config.shape)}, latents {by(model.latent_shape)}")
    for name, part in model.named_children():
        if count := sum(p.numel() for p in part.parameters()):
            _row(name, f"{count:,} parameters")
    if model.first_stage.learned:
        _latents(model.first_stage, config.first_stage)
    if config.kind == "diffusion":
        _diffusion(model, config)
    _row("trained", f"{about.get('step', '?')} steps, {about.get('images', '?')} images")
    _history(folder)
    _checkpoints(folder)
    for finding in health.examine(opened):
        console.print("  ", styled(f"{finding.level:<13}", COLOURS[finding.level]), finding.text)


def picture(path: Path) -> None:
    """Says how a picture was made."""
    about = read_about(path)
    console.print(bold(path))
    for name, text in _facts(about):
        _row(name, text)


def _facts(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """All that a record says, one by one, but for what was not asked for."""
    for name, value in about.items():
        if name in PARTS and (section := mapping_of(value)) is not None:
            yield from _facts(section)
        elif not (value is None or value is False or value == []):
            yield name, _said(value)


def _said(value: Any) -> str:
    match value:
        case {"file": name, "sha256": digest}:
            return f"{name}, SHA-256 {digest}"
        case {"kind": kind, **others}:
            return f"{kind} ({_said(others)})" if others else str(kind)
        case dict():
            return ", ".join(f"{key} {_said(one)}" for key, one in cast(dict[str, Any], value).items())
        case list():
            return ", ".join(map(_said, cast(list[Any], value)))
        case _:
            return str(value)


def _latents(stage: FirstStage, config: object) -> None:
    """What the first stage is, and what its latents look like before they are whitened."""
    _row("autoencoder", repr(config))
    for name, values in stage.statistics.items():
        shown = ", ".join(f"{value:.3f}" for value in values.tolist()[:16])
        _row(f"latent {name}", shown + (" ..." if len(values) > 16 else ""))


def _diffusion(model: Model, config: ModelConfig) -> None:
    _row("network", repr(config.backbone))
    _row("noise", f"{config.schedule!r}, {config.parameterization!r}")
    classes = model.conditioner.classes
    _row("condition", f"{len(classes)} labels: {', '.join(classes)}" if classes else _short(config.conditioner))
    if model.image is not None:
        _row("sees", _short(model.image))
    _row("guidance", "possible" if model.guidable else "not possible: nothing to be told")
    _row("sampling", f"{config.sample.sampler!r}, {config.sample.steps} steps, guidance {config.sample.guidance:g}")


def _short(config: object) -> str:
    """A configuration, as far as one wants to read: a vocabulary may be in it."""
    text = repr(config)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _history(folder: Path) -> None:
    """How the losses went."""
    if lines := [line for line in read_training(folder / "log.jsonl") if line["loss"] is not None]:
        tenth = max(1, len(lines) // 10)
        first, last = (
            sum(float(line["loss"]) for line in part) / len(part) for part in (lines[:tenth], lines[-tenth:])
        )
        _row("loss", f"{first:.4f} in the first tenth, {last:.4f} in the last; {lines[-1]['seconds'] / 60:.1f} minutes")
    if measured := read_log(folder / "held_out.jsonl"):
        values = {
            name.removeprefix("loss@"): value for name, value in measured[-1].items() if name not in ("step", LEADS)
        }
        shown = ", ".join(f"{name} {value:.4f}" for name, value in values.items() if value is not None)
        _row("held out", f"after step {measured[-1]['step']}: {shown}")


def _checkpoints(folder: Path) -> None:
    newest, warnings = checkpoint.latest(folder / "checkpoints")
    _row("goes on from", str(newest) if newest else "no checkpoint")
    for warning in warnings:
        console.print(warning, style="yellow")


def _row(name: str, text: str) -> None:
    console.print(f"  {name:<13}{text}")


def data(source: str, overrides: Sequence[str], findings: Path | None, out: Path | None) -> None:
    """Says and draws what is in a folder, and lists what may be wrong with it."""
    path = Path(source)
    about = source_at(source, said_kind(overrides))
    if about["kind"] != FolderSource.kind:
        _described(load(overrides=[f"data.source={json.dumps(about)}", *overrides]).data.source, path, findings, out)
        return
    reading = reading_of(overrides)
    _check_places(path, findings, out)
    try:
        report = inspection.inspect_folder(path, reading)
    except KeyboardInterrupt:
        console.print("What was looked at is remembered: the same command goes on from there.")
        raise
    for line in report.lines():
        console.print(_wrapped(line))
    if rows := inspection.contact_rows(path, report.by_class):
        if console.color_system in ("256", "truecolor"):
            for line in inspection.sheet_text(rows, console.width):
                console.print(line)
        _draw_sheet(lambda: inspection.sheet_picture(rows), path, out)
    if findings is not None:
        console.print(f"{inspection.write_findings(report, findings)} findings in ", bold(findings))


def _described(source: Source | None, path: Path, findings: Path | None, out: Path | None) -> None:
    """Says and draws what files hold that are no pictures, and lists it."""
    assert source is not None
    _check_places(path, findings, out)
    told = source.describe()
    assert told is not None
    for line in told.lines:
        console.print(_wrapped(line))
    if findings is not None:
        console.print(f"{write_rows(told.rows, findings)} rows in ", bold(findings))
    try:
        dataset = source.open()
        whole, _ = source.completed(dataset) if len(dataset) else (source, ())
        sheet = sheet_of(dataset, whole.modality)
    except UserError as error:
        console.print(f"This cannot be trained on: {error.message}", style="yellow")
        return
    if sheet is not None:
        _draw_sheet(lambda: sheet, path, out)


def _check_places(path: Path, findings: Path | None, out: Path | None) -> None:
    if findings is not None and os.path.lexists(findings):
        raise UserError(f"'{findings}' is there already: name a file that is not")
    for place, named in ((findings, "list"), (out, "out")):
        if place is not None:
            _check_apart(place, path, named)


def _check_apart(place: Path, data: Path, named: str) -> None:
    """Refuses, before the work, what cannot be written, and what would be found among the pictures the next time."""
    if lies_in(place, data):
        raise UserError(f"'{place}' lies among the pictures, where nothing is written: name another {option(named)}")
    check_file(place) if named == "list" else check_place(place)


def _draw_sheet(draw: Callable[[], Image.Image], data: Path, out: Path | None) -> None:
    """Where nobody has said where, the sheet is drawn where that can be."""
    name = data.stem if is_archive(data) or is_regular(data) else data.resolve().name
    place = out or Path("runs") / "data" / name
    if lies_in(place, data):
        console.print(
            f"No contact sheet is drawn among the pictures: {option('out', 'FOLDER')} says where", style="yellow"
        )
        return
    try:
        sheet = pixels.save_png(draw(), place / "contact-sheet.png", overwrite=out is None)
    except NotWritten as error:
        if out is not None:
            raise
        console.print(error.message, style="yellow")
    else:
        console.print("Drawn in ", bold(sheet))


def _wrapped(line: str) -> str:
    """A line of a report, of which what does not fit stands below its text; in a file it stays one line."""
    if not console.is_terminal or len(line) <= console.width or line[:2] != "  ":
        return line
    return "\n".join(textwrap.wrap(line, console.width, subsequent_indent=" " * 15, break_on_hyphens=False))


def reading_of(overrides: Sequence[str]) -> Reading:
    """What a folder's files are taken as, by keys of ``data.source``.

    Raises:
        UserError: they are keys of something else.
    """
    found = load(overrides=["data.source={kind: folder, path: .}", *overrides]).data.source
    if not isinstance(found, Reading):
        raise UserError("what is looked into is a folder of pictures or a zip file of them: leave data.source.kind out")
    return found


def describe_schedule(
    name: str, overrides: Sequence[str], steps: int | None, image: Path | None, out: Path | None
) -> None:
    """Says how a schedule destroys the data, whether its end is noise, and how many steps that takes; and draws it."""
    chosen = schedules.find_schedule(name, overrides)
    if steps is not None and chosen.own_steps is not None:
        chosen = schedules.find_schedule(name, [*overrides, f"steps={steps}"])
    picture, times = schedules.example_picture(image), schedules.noising_times(chosen, steps)
    console.print(bold(name), f"  {schedules.describe(chosen)}")
    _table(chosen)
    if isinstance(chosen, DiscreteSchedule):
        _ends(chosen)
    else:
        console.print("It is a function of t: where it ends does not depend on the number of steps.")
    console.print(schedules.verdict(chosen))
    for path in _drawn(chosen, name, schedules.noising_strip(picture, chosen, times), out):
        console.print("Drawn in ", bold(path))


def _table(chosen: Schedule) -> None:
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    alpha, sigma = chosen(t)
    table = Table("t", "alpha", "sigma", "abar", "SNR in dB")
    for row in zip(t, alpha, sigma, alpha**2, schedules.decibels(chosen, t), strict=True):
        table.add_row(*(f"{value.item():.6g}" for value in row))
    console.print(table)


def _ends(chosen: DiscreteSchedule) -> None:
    """How large T must be."""
    table = Table("steps T", "abar at T", "SNR in dB", "leak in nats per dimension", "")
    for at in schedules.ends(chosen):
        own = "this one" if at.steps == chosen.steps else ""
        table.add_row(f"{at.steps}", f"{at.abar:.4g}", f"{at.snr:.1f}", f"{at.leak:.2e}", own)
    console.print("KL(x_T || N(0, I)) with other numbers of steps, for data of unit variance:")
    console.print(table)
    least = schedules.steps_needed(chosen)
    enough = f"{least} steps or more" if least is not None else "no number of steps"
    console.print(f"With {enough} it leaks at most {schedules.LEAK:g} nats per dimension.")
    console.print("The end asks for no more. Steps back are nearly Gaussian if they are small: that may ask for more.")


def _drawn(chosen: Schedule, name: str, strip: Image.Image, out: Path | None) -> Iterator[Path]:
    """Where the pictures are: in a folder of the user's nothing is overwritten, in the schedule's own it is."""
    label = Path(name).name
    folder = out or Path("runs") / "schedules" / label
    amounts, ratio = schedules.schedule_charts(chosen, label)
    for file, image in (
        ("amounts.png", amounts.picture()),
        ("snr.png", ratio.picture()),
        ("noising.png", strip),
    ):
        yield pixels.save_png(image, folder / file, overwrite=out is None)


def report_on(folder: Path, out: Path | None = None) -> None:
    """Writes a page about a run."""
    console.print(
        "Report in ", bold(report.write_report(folder, default_device(), SHELL, out)), ": open it in a browser"
    )


def write_comparison(folders: Sequence[Path], out: Path) -> None:
    """Puts runs side by side."""
    compared = comparison.compare_runs(folders, default_device(), out, SHELL)
    for table in compared.tables:
        _show(table)
    console.print("Side by side, with pictures and curves, in ", bold(compared.path), ": open it in a browser")


def _show(shown: page.Table) -> None:
    table = Table(title=plain(shown.caption), title_justify="left")
    for heading in shown.head:
        table.add_column(plain(heading), overflow="fold")
    for row in shown.rows:
        table.add_row(*map(plain, row))
    console.print(table)
