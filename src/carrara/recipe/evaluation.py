"""``carrara evaluate``: measures a run on the data that were held out of its training."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from carrara import evaluate, pixels
from carrara.autoencoder import Identity, LayeredVae, PerceptualConfig
from carrara.data import batch_of
from carrara.errors import UserError, unknown
from carrara.evaluate import psnr
from carrara.model import AnyModel
from carrara.objective.elbo import active_units, bound, elbo
from carrara.recipe import build
from carrara.recipe.folder import open_model
from carrara.recipe.loading import load
from carrara.seeds import Draws
from carrara.task import reconstruct
from carrara.types import Batch

BATCH = 32
IMPORTANCE = 64
"""K of the importance-weighted bound."""


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


METRICS = {"reconstruction": reconstruction, "nll": likelihood}


def _held_out(folder: Path, model: AnyModel) -> Iterator[Batch]:
    """The held-out data, or what was trained on where nothing was held out."""
    if not (folder / "recipe.yaml").is_file():
        raise UserError(f"'{folder}' has no recipe.yaml, which says what its data are: name a run's folder")
    recipe = load(folder / "recipe.yaml")
    training, held_out = build.parts(recipe, build.dataset(recipe))
    data = held_out if len(held_out) else training
    for first in range(0, len(data), BATCH):
        part = range(first, min(first + BATCH, len(data)))
        yield batch_of(data, build.transform(recipe), part).to(model.device)


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
