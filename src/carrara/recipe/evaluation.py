"""``carrara evaluate``: measures a run on the data that were held out of its training."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from carrara import evaluate, pixels, plots
from carrara.autoencoder import Identity, LayeredVae, PerceptualConfig
from carrara.conditioning import TextConditioner
from carrara.data import Dataset, Transform, batch_of, contents, spread
from carrara.errors import UserError, unknown
from carrara.evaluate import psnr
from carrara.model import AnyModel, DiffusionModel
from carrara.objective.elbo import active_units, bound, elbo
from carrara.recipe import build
from carrara.recipe.folder import open_model
from carrara.recipe.loading import load
from carrara.seeds import Draws
from carrara.task import generate, reconstruct
from carrara.types import Batch

BATCH = 32
IMPORTANCE = 64
"""K of the importance-weighted bound."""
RETRIEVED = 100
"""Pictures among which the right one is looked for."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one metric found.

    Attributes:
        lines: for a terminal.
        data: the same as JSON.
        picture: for those who would rather look.
    """

    lines: list[str]
    data: dict[str, Any]
    picture: Image.Image | None = None


def measure_run(folder: Path, metrics: str, device: torch.device) -> Iterator[tuple[Measured, list[Path]]]:
    """Measures a run, and writes each metric to its ``evaluation/``.

    Args:
        metrics: names, with commas between.

    Raises:
        UserError: an unknown metric, or one that the run does not have; its data are gone.
    """
    names = metrics.split(",")
    for name in names:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    model = open_model(folder).to(device)
    for name in names:
        measured = METRICS[name](folder, model)
        yield measured, _written(folder / "evaluation" / name, measured)


def reconstruction(folder: Path, model: AnyModel) -> Measured:
    """How well the first stage gives held-out pictures back."""
    if isinstance(model.first_stage, Identity):
        raise UserError(f"'{folder}' diffuses in pixels, so there is no reconstruction to measure")
    batches, perceptual = list(_held_out(folder, model)), PerceptualConfig().build().to(model.device)
    report = evaluate.reconstruction(model.first_stage, batches, perceptual)
    lines, data = report.lines(), dict(report.data())
    if model.fast is not None:
        data["tiny_psnr"] = _mean([psnr(batch.x.cpu(), reconstruct(model, batch.x, fast=True)) for batch in batches])
        lines.append(f"tiny decoder  {data['tiny_psnr']:.2f} dB")
    return Measured(lines=lines, data=data, picture=report.picture)


@torch.no_grad()
def likelihood(folder: Path, model: AnyModel) -> Measured:
    """What a variational autoencoder knows about held-out data, in nats per example."""
    vae = model.first_stage
    if not isinstance(vae, LayeredVae):
        raise UserError(f"'{folder}' is no variational autoencoder: its likelihood cannot be measured yet")
    batches = list(_held_out(folder, model))
    terms = [elbo(vae, batch.x, Draws(0, batch.position)) for batch in batches]
    bounds = [bound(vae, batch.x, Draws(0, batch.position), samples=IMPORTANCE) for batch in batches]
    layers = range(len(vae.widths))
    data: dict[str, Any] = {
        "n": sum(map(len, batches)),
        "elbo": _mean([term.total for term in terms]),
        "iwae": _mean(bounds),
        "log_likelihood": _mean([term.log_likelihood for term in terms]),
        "layer_kl": [_mean([term.kl[k] for term in terms]) for k in layers],
        "active_units": active_units(vae, (batch.x for batch in batches)),
    }
    lines = [
        f"ELBO          {data['elbo']:.2f} nats    mean over {data['n']} held-out examples",
        f"IWAE-{IMPORTANCE}       {data['iwae']:.2f} nats",
        f"likelihood    {data['log_likelihood']:.2f} nats    of the data given z_1",
        f"KL by layer   {' + '.join(f'{nats:.2f}' for nats in data['layer_kl'])} nats",
        f"active units  {', '.join(f'{a} of {d}' for a, d in zip(data['active_units'], vae.widths, strict=True))}",
    ]
    return Measured(lines=lines, data=data)


@torch.no_grad()
def found(folder: Path, model: AnyModel) -> Measured:
    """Whether what the model draws for held-out captions is nearer to the right picture than to the others."""
    if not isinstance(model, DiffusionModel) or not isinstance(model.conditioner, TextConditioner):
        raise UserError(f"'{folder}' does not read captions, so there is nothing to find again")
    data, transform = _held_out_data(folder)
    known = [alike[0] for alike in contents(data) if data.captions(alike[0])]  # variants could be taken for each other
    chosen = [known[k] for k in spread(RETRIEVED, len(known))]
    if len(chosen) < 2:
        raise UserError(f"'{folder}' has fewer than two held-out pictures with captions: train with data.held_out=0.1")
    wishes = [data.captions(k)[0] for k in chosen]
    right = batch_of(data, transform, chosen).x
    settings, seeds = model.settings(), range(len(chosen))
    made = torch.cat([p.pixels.cpu() for p in generate(model, wishes, seeds, settings) if p.pixels is not None])
    features = evaluate.extractor()
    vectors = [torch.cat(list(evaluate.extract(features, x.split(BATCH)))) for x in (made, right)]
    score = evaluate.retrieval(*vectors)
    lines = [
        f"found first   {score.first:.0%}, {score.times_chance:.1f} times chance    of {score.count} held-out captions",
        f"among five    {score.fifth:.0%}",
        f"mean rank     {score.rank:.1f}    chance is {(score.count + 1) / 2:.1f}",
        f"features      {features.name}",
    ]
    shown = spread(12, len(chosen))
    picture = plots.sheet(
        [[pixels.to_image(pixels.to_uint8(x)[k]).resize((96, 96)) for k in shown] for x in (right, made)],
        [wishes[k][:14] for k in shown],
        ["right", "made"],
    )
    looked = {"times_chance": score.times_chance, "features": features.name, "sample": repr(settings)}
    return Measured(lines=lines, data={**asdict(score), **looked}, picture=picture)


METRICS = {"reconstruction": reconstruction, "nll": likelihood, "retrieval": found}


def _held_out(folder: Path, model: AnyModel) -> Iterator[Batch]:
    """The held-out data, or what was trained on where nothing was held out."""
    data, transform = _held_out_data(folder)
    for first in range(0, len(data), BATCH):
        part = range(first, min(first + BATCH, len(data)))
        yield batch_of(data, transform, part).to(model.device)


def _held_out_data(folder: Path) -> tuple[Dataset, Transform | None]:
    if not (folder / "recipe.yaml").is_file():
        raise UserError(f"'{folder}' has no recipe.yaml, which says what its data are: name a run's folder")
    recipe = load(folder / "recipe.yaml")
    training, held_out = build.parts(recipe, build.dataset(recipe))
    return held_out if len(held_out) else training, build.transform(recipe)


def _mean(parts: list[torch.Tensor]) -> float:
    return torch.cat(parts).double().mean().item()


def _written(target: Path, measured: Measured) -> list[Path]:
    """Writes numbers and picture; a later measurement takes an earlier one's place."""
    numbers = target.with_suffix(".json")
    with pixels.replacing(numbers) as file:
        file.write(json.dumps(measured.data, indent=2).encode())
    if measured.picture is None:
        return [numbers]
    return [numbers, pixels.save_png(measured.picture, target.with_suffix(".png"), overwrite=True)]
