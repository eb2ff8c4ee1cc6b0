"""How much a first stage keeps, and what a variational autoencoder knows about data."""

from collections.abc import Iterable

import torch
from torch import Tensor

from carrara import evaluate
from carrara.autoencoder import LayeredVae, PerceptualConfig
from carrara.draw.reconstruct import reconstruct
from carrara.errors import UserError
from carrara.evaluate import psnr
from carrara.measure.likelihood import of_levels
from carrara.measure.measurement import MetricResult
from carrara.measure.subject import Subject
from carrara.noise import bits_per_dim
from carrara.objective.elbo import ElboTerms, active_units, bound, elbo
from carrara.seeds import Draws
from carrara.types import Batch

IMPORTANCE = 64
"""K of the importance-weighted bound of a VAE."""


def measure_reconstruction(subject: Subject) -> MetricResult:
    """How well the first stage gives held-out pictures back."""
    model = subject.model
    if not model.first_stage.learned:
        raise UserError(f"'{subject.folder}' diffuses in pixels, so there is no reconstruction to measure")
    batches, perceptual = list(subject.data.batches()), PerceptualConfig().build().to(model.device)
    report = evaluate.reconstruction(model.first_stage, batches, perceptual)
    lines, data = report.lines(), dict(report.data())
    if model.fast is not None:
        data["tiny_psnr"] = mean_of(psnr(batch.x.cpu(), reconstruct(model, batch.x, fast=True)) for batch in batches)
        lines.append(f"tiny decoder  {data['tiny_psnr']:.2f} dB")
    return MetricResult(lines=lines, data=data, picture=report.picture)


@torch.no_grad()
def measure_elbo(subject: Subject, vae: LayeredVae) -> MetricResult:
    """The evidence lower bound of held-out data, as it is and weighed by importance."""

    def nats(batch: Batch) -> tuple[ElboTerms, Tensor]:
        draws = Draws(0, batch.position)
        return elbo(vae, batch.x, draws), bound(vae, batch.x, draws, samples=IMPORTANCE)

    batches, found = list(subject.data.batches()), subject.data.measured(nats)
    terms, bounds = [term for term, _ in found], [weighted for _, weighted in found]
    layers = range(len(vae.widths))
    data: dict[str, object] = {
        "n": sum(map(len, batches)),
        "elbo": (total := mean_of(term.total for term in terms)),
        "iwae": (weighted := mean_of(bounds)),
        "log_likelihood": (given := mean_of(term.log_likelihood for term in terms)),
        "layer_kl": (kl := [mean_of(term.kl[k] for term in terms) for k in layers]),
        "active_units": (active := active_units(vae, (batch.x for batch in batches))),
    }
    lines = [
        f"ELBO          {total:.2f} nats    mean over {data['n']} {subject.data.adjective} examples",
        f"IWAE-{IMPORTANCE}       {weighted:.2f} nats",
        f"likelihood    {given:.2f} nats    of the data given z_1",
        f"KL by layer   {' + '.join(f'{nats:.2f}' for nats in kl)} nats",
        f"active units  {', '.join(f'{a} of {d}' for a, d in zip(active, vae.widths, strict=True))}",
    ]
    if vae.likelihood.is_density and subject.model.medium.of_levels:
        with of_levels(vae):
            found = subject.data.measured(nats)
        each = [term.total for term, _ in found], [weighted for _, weighted in found]
        bits = [bits_per_dim(torch.tensor(-mean_of(parts)), batches[0].x[0].numel()).item() for parts in each]
        data |= {"bits_per_dim": bits[0], "iwae_bits_per_dim": bits[1]}
        lines.append(f"bits/dim      {bits[0]:.3f}, IWAE {bits[1]:.3f}    of 256 levels")
    return MetricResult(lines=lines, data=data)


def mean_of(parts: Iterable[Tensor]) -> float:
    """Over all numbers of all parts, in float64."""
    return torch.cat([part.cpu() for part in parts]).double().mean().item()
