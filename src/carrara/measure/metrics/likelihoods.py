"""What a model knows about held-out data: a bound of its log-likelihood, or the probability flow's answer."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from carrara import plots
from carrara.autoencoder import LayeredVae
from carrara.errors import UserError, option
from carrara.measure.likelihood import (
    CodeLength,
    best_scale,
    by_scale,
    diffusion_bound,
    flow_bound,
    has_scale,
    levels_bound,
)
from carrara.measure.measurement import MetricResult
from carrara.measure.metrics.autoencoders import mean_of, measure_elbo
from carrara.measure.subject import Subject
from carrara.model import DiffusionModel
from carrara.noise import bits_per_dim
from carrara.seeds import Draws
from carrara.types import Batch

EVALUATIONS = 64
"""Terms of the variational bound that are drawn for each example."""
EXACT_UP_TO = 16
"""Dimensions up to which the trace of the probability flow is computed exactly."""


def measure_likelihood(subject: Subject) -> MetricResult:
    """What a model knows about held-out data: a bound of its log-likelihood."""
    _check_denoises(subject)
    stage = subject.model.first_stage
    if not subject.model.diffuses and isinstance(stage, LayeredVae):
        return measure_elbo(subject, stage)
    model = subject.diffusion("is an autoencoder without a prior: only what diffuses in it has a likelihood")
    if model.first_stage.levels is not None:
        return _measure_levels(subject, model)
    scale, evaluations = _scale(subject, model), None if subject.settings.exact else EVALUATIONS

    def cost(batch: Batch) -> CodeLength:
        draws = Draws(subject.settings.seed, batch.position)
        return diffusion_bound(model, batch, draws, scale=scale, evaluations=evaluations)

    costs = subject.data.measured(cost, what="variational bound")
    method = "all terms" if evaluations is None else f"{evaluations} of its terms, drawn for each example"
    return _describe(f"variational bound, {method}", subject, costs)


def _measure_levels(subject: Subject, model: DiffusionModel) -> MetricResult:
    """The bound of the levels' probability, in bits per dimension and in nats."""
    evaluations = None if subject.settings.exact else EVALUATIONS

    def cost(batch: Batch) -> CodeLength:
        return levels_bound(model, batch, Draws(subject.settings.seed, batch.position), evaluations=evaluations)

    costs = subject.data.measured(cost, what="bound")
    numbers = "each number" if evaluations is None else f"{evaluations} numbers"
    described = _describe(f"evidence bound of levels, {numbers} of masked values for each", subject, costs)
    nats, dimensions = torch.cat([cost.nats.cpu() for cost in costs]), costs[0].dimensions
    per_dimension, per_example = nats.mean().item() / dimensions, nats.mean().item()
    error = (nats.std() / len(nats) ** 0.5).item() if len(nats) > 1 else float("inf")
    line = f"nats/example  {per_example:.2f} ± {error:.2g}    {per_dimension:.4f} nats/dim"
    data = {**described.data, "nats": per_example, "nats_per_dimension": per_dimension}
    return replace(described, lines=[*described.lines, line], data=data)


def measure_flow(subject: Subject) -> MetricResult:
    """The likelihood that the probability flow gives to held-out data."""
    _check_denoises(subject)
    other = option("metrics", "nll")
    model = subject.diffusion(f"does not diffuse, so it has no probability flow: {other} measures it")
    if model.first_stage.levels is not None:
        raise UserError(f"'{subject.folder}' draws levels, which no flow leads to: {other} measures it")
    scale, probes = _scale(subject, model), None if math.prod(model.latent_shape) <= EXACT_UP_TO else 1

    def cost(batch: Batch) -> CodeLength:
        return flow_bound(model, batch, Draws(subject.settings.seed, batch.position), scale=scale, probes=probes)

    costs = subject.data.measured(cost, what="probability flow")
    return _describe(f"probability flow, trace {'exact' if probes is None else 'estimated'}", subject, costs)


def _check_denoises(subject: Subject) -> None:
    """Refuses a model that says where a step leads, which tells no likelihood."""
    if subject.model.few_steps is not None:
        raise UserError(
            f"'{subject.folder}' draws in {subject.model.few_steps} steps and knows no likelihood: measure its "
            f"samples, with {option('metrics', 'kid')}, or {subject.model.unhurried}"
        )


def _scale(subject: Subject, model: DiffusionModel) -> float | None:
    """One for all held-out pictures."""
    if not has_scale(model):
        return None
    return best_scale(subject.data.measured(lambda batch: by_scale(model, batch), what="decoder scale"))


def _describe(method: str, subject: Subject, costs: Sequence[CodeLength]) -> MetricResult:
    """The bits of all examples together, by parts, with what they depend on."""
    bits = {part: torch.cat([cost.bits[part].cpu() for cost in costs]).double() for part in costs[0].bits}
    count, unit = len(bits["total"]), "bits/dim" if subject.model.size else "bits/point"
    split = subject.data.adjective
    error = (bits["total"].std() / count**0.5).item() if count > 1 else float("inf")
    lines = [f"{unit:<13} {bits['total'].mean():.3f} ± {error:.2g}    {method}; {split} examples: {count}"]
    lines += [f"  {part:<15} {value.mean():.3f}" for part, value in bits.items() if part != "total"]
    data: dict[str, Any] = {
        "method": method,
        "split": split,
        "unit": unit,
        "n": count,
        "error": error if count > 1 else None,
        **{part: value.mean().item() for part, value in bits.items()},
    }
    bounds = [cost.bound for cost in costs if cost.bound is not None]
    exact = bool(bounds) and subject.settings.exact
    if bounds:
        data |= {"rate": data["prior"] + data["diffusion"], "distortion": data["decoder"]}
    if exact:
        data |= {"terms": _terms([one.terms for one in bounds], costs[0].dimensions)}
    if bounds and subject.model.medium.of_levels and not subject.model.first_stage.learned:
        rmse = mean_of(one.rmse for one in bounds)
        lines.append(f"distortion    {rmse:.2f} of 255    root mean square error at the last step")
        data["rmse"] = rmse
    for fact in subject.data.recipe.data.facts:
        lines.append(f"{fact.name:<13} {fact.value:g}    {fact.meaning}")
        data[fact.name] = fact.value
    return MetricResult(lines=lines, data=data, picture=_by_term(data["terms"], unit) if exact else None)


def _terms(each: Sequence[Tensor], dimensions: int) -> list[float]:
    """What each step of the chain costs, over all examples."""
    return bits_per_dim(torch.cat([terms.cpu() for terms in each]).double().mean(0), dimensions).tolist()


def _by_term(terms: Sequence[float], unit: str) -> Image.Image:
    """What each step of the chain costs, but for the last one, which says the data themselves."""
    steps = [float(k) for k in range(2, len(terms) + 1)]
    line = plots.Line(name="held-out data", x=steps, y=list(terms[1:]))
    return plots.Chart(title="What each step costs", lines=[line], x_label="step", y_label=unit).picture()
