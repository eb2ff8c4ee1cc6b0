"""``carrara inspect``: what is in a run, in data, in a schedule."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from carrara import recipe
from carrara.autoencoder import LearnedStage
from carrara.errors import unknown
from carrara.model import DiffusionModel
from carrara.noise import AnySchedule, DiscreteSchedule, Schedule, prior_kl
from carrara.recipe.sources import from_arguments, merge
from carrara.train import checkpoint, read_log

LONGEST = 200
"""Characters of a configuration that are shown."""

console = Console(highlight=False, soft_wrap=True)

LEAK = 1e-4
"""Nats per dimension that the last noised picture may still say about the data."""


def run(folder: Path) -> None:
    """Says what is in a run's folder, and how it went."""
    model = recipe.open_model(folder)
    config, about = model.config, model.about
    console.print(f"[bold]{folder}[/]")
    _row(
        "data", f"{about.get('data', 'unknown')}, {about.get('examples', '?')} examples, {about.get('fingerprint', '')}"
    )
    _row("sample", f"{'x'.join(map(str, config.shape))}, latents {'x'.join(map(str, model.latent_shape))}")
    for name, part in model.named_children():
        if count := sum(p.numel() for p in part.parameters()):
            _row(name, f"{count:,} parameters")
    if isinstance(model.first_stage, LearnedStage):
        _latents(model.first_stage, config.first_stage)
    if isinstance(model, DiffusionModel):
        _diffusion(model)
    _row("trained", f"{about.get('step', '?')} steps, {about.get('images', '?')} images")
    _history(folder)
    _checkpoints(folder)


def _latents(stage: LearnedStage, config: object) -> None:
    """What the first stage is, and what its latents look like before they are whitened."""
    _row("autoencoder", repr(config))
    for name, values in (("mean", stage.mean), ("std", stage.std)):
        shown = ", ".join(f"{value:.3f}" for value in values.tolist()[:16])
        _row(f"latent {name}", shown + (" ..." if len(values) > 16 else ""))


def _diffusion(model: DiffusionModel) -> None:
    config = model.config
    _row("network", repr(config.backbone))
    _row("noise", f"{config.schedule!r}, {config.parameterization!r}")
    classes: Sequence[str] = getattr(model.conditioner, "classes", ())
    _row("condition", f"{len(classes)} labels: {', '.join(classes)}" if classes else _short(config.conditioner))
    _row("guidance", "possible" if model.guidable else "not possible: nothing to be told")
    _row("sampling", f"{config.sample.sampler!r}, {config.sample.steps} steps, guidance {config.sample.guidance:g}")


def _short(config: object) -> str:
    """A configuration, as far as one wants to read: a vocabulary may be in it."""
    text = repr(config)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _history(folder: Path) -> None:
    """How the losses went."""
    if lines := read_log(folder / "log.jsonl"):
        tenth = max(1, len(lines) // 10)
        first, last = (
            sum(float(line["loss"]) for line in part) / len(part) for part in (lines[:tenth], lines[-tenth:])
        )
        _row("loss", f"{first:.4f} in the first tenth, {last:.4f} in the last; {lines[-1]['seconds'] / 60:.1f} minutes")
    if measured := read_log(folder / "held_out.jsonl"):
        levels = {name: value for name, value in measured[-1].items() if name != "step"}
        _row(
            "held out",
            f"after step {measured[-1]['step']}: " + ", ".join(f"{n[5:]} {v:.4f}" for n, v in levels.items()),
        )


def _checkpoints(folder: Path) -> None:
    newest, warnings = checkpoint.latest(folder / "checkpoints")
    _row("goes on from", str(newest) if newest else "no checkpoint")
    for warning in warnings:
        console.print(f"[yellow]{warning}[/]")


def _row(name: str, text: str) -> None:
    console.print(f"  {name:<13}{text}", markup=False)


def data(source: str) -> None:
    """Lists what is wrong with a folder."""
    from carrara.data import inspect_folder

    for line in inspect_folder(Path(source)).lines():
        console.print(line, markup=False)


def schedule(name: str, overrides: Sequence[str]) -> None:
    """Says how a schedule destroys the data, and whether its end is noise."""
    kinds = [TypeAdapter(member).json_schema()["properties"]["kind"]["const"] for member in get_args(AnySchedule)]
    if name not in kinds:
        raise unknown("schedule", name, kinds)
    values: dict[str, Any] = {"model": {"schedule": {"kind": name}}, "train": {"steps": 1}}
    layer = from_arguments([f"model.schedule.{override}" for override in overrides])
    layer = type(layer)(values=merge(values, layer.values), places=layer.places)
    chosen = recipe.parse(layer).model.schedule
    console.print(f"[bold]{name}[/]  {TypeAdapter(type(chosen)).dump_python(chosen)}")
    _table(chosen)
    leak = prior_kl(chosen)
    console.print(f"What x_1 still says about the data: {leak:.4e} nats per dimension (unit-variance data).")
    console.print(_verdict(chosen, leak))


def _table(chosen: Schedule) -> None:
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    alpha, sigma = chosen(t)
    table = Table("t", "alpha", "sigma", "abar", "log10 SNR")
    for row in zip(t, alpha, sigma, alpha**2, 2 * chosen.half_logsnr(t) / torch.tensor(10.0).log(), strict=True):
        table.add_row(*(f"{value.item():.6g}" for value in row))
    console.print(table)


def _verdict(chosen: Schedule, leak: float) -> str:
    if leak <= LEAK:
        return f"Its end is noise: the leak is below {LEAK:g}."
    if isinstance(chosen, DiscreteSchedule):
        return (
            f"It leaks: more than {LEAK:g}. Samples start from pure noise, which the model never saw, so their "
            "brightness stays near the mean. Set zero_terminal_snr=true (with v or x0), or more steps or larger betas."
        )
    return f"It leaks: more than {LEAK:g}. Let its noise grow larger at the end."
