"""The metrics of ``carrara evaluate``: each takes a run that is measured and says what it found."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from carrara import evaluate, pixels, plots
from carrara.autoencoder import Identity, Kl, LayeredVae, PerceptualConfig
from carrara.autoencoder.hierarchical import GaussianNoise
from carrara.conditioning import TextConditioner
from carrara.data import batch_of, contents, spread
from carrara.errors import UserError
from carrara.evaluate import SAMPLE_METRICS, ClipFeatures, check_metrics, clip_score, psnr, sample_metrics
from carrara.model import DiffusionModel
from carrara.noise import bits_per_dim
from carrara.objective.elbo import active_units, bound, elbo
from carrara.recipe import build
from carrara.recipe.schema import DiffusionSettings, FewStepSettings
from carrara.recipe.subject import BATCH, Measured, Subject
from carrara.seeds import Draws
from carrara.task import CodeLength, decoder_scale, diffusion_bound, flow_bound, of_levels, reconstruct
from carrara.train import held_out

IMPORTANCE = 64
"""K of the importance-weighted bound of a VAE."""
RETRIEVED = 100
"""Pictures among which the right one is looked for."""
EVALUATIONS = 64
"""Terms of the variational bound that are drawn for each example."""
FEW = 16
"""Dimensions up to which the trace of the probability flow is computed exactly."""
COMPARED = 512
"""Examples of each part, whose losses are compared."""


def reconstruction(subject: Subject) -> Measured:
    """How well the first stage gives held-out pictures back."""
    model = subject.model
    if isinstance(model.first_stage, Identity):
        raise UserError(f"'{subject.folder}' diffuses in pixels, so there is no reconstruction to measure")
    batches, perceptual = list(subject.batches()), PerceptualConfig().build().to(model.device)
    report = evaluate.reconstruction(model.first_stage, batches, perceptual)
    lines, data = report.lines(), dict(report.data())
    if model.fast is not None:
        data["tiny_psnr"] = _mean(psnr(batch.x.cpu(), reconstruct(model, batch.x, fast=True)) for batch in batches)
        lines.append(f"tiny decoder  {data['tiny_psnr']:.2f} dB")
    return Measured(lines=lines, data=data, picture=report.picture)


def likelihood(subject: Subject) -> Measured:
    """What a model knows about held-out data: a bound of its log-likelihood."""
    _check_denoises(subject)
    stage = subject.model.first_stage
    if isinstance(subject.model, DiffusionModel):
        return _variational(subject, subject.model)
    if not isinstance(stage, LayeredVae):
        raise UserError(
            f"'{subject.folder}' is an autoencoder without a prior: only what diffuses in it has a likelihood"
        )
    return _elbo(subject, stage)


@torch.no_grad()
def _elbo(subject: Subject, vae: LayeredVae) -> Measured:
    batches = list(subject.batches())
    terms = [elbo(vae, batch.x, Draws(0, batch.position)) for batch in batches]
    bounds = [bound(vae, batch.x, Draws(0, batch.position), samples=IMPORTANCE) for batch in batches]
    layers = range(len(vae.widths))
    data: dict[str, object] = {
        "n": sum(map(len, batches)),
        "elbo": (total := _mean(term.total for term in terms)),
        "iwae": (weighted := _mean(bounds)),
        "log_likelihood": (given := _mean(term.log_likelihood for term in terms)),
        "layer_kl": (kl := [_mean(term.kl[k] for term in terms) for k in layers]),
        "active_units": (active := active_units(vae, (batch.x for batch in batches))),
    }
    lines = [
        f"ELBO          {total:.2f} nats    mean over {data['n']} {subject.split} examples",
        f"IWAE-{IMPORTANCE}       {weighted:.2f} nats",
        f"likelihood    {given:.2f} nats    of the data given z_1",
        f"KL by layer   {' + '.join(f'{nats:.2f}' for nats in kl)} nats",
        f"active units  {', '.join(f'{a} of {d}' for a, d in zip(active, vae.widths, strict=True))}",
    ]
    if isinstance(vae.likelihood, GaussianNoise) and batches[0].x.ndim == 4:
        with of_levels(vae):
            again = [elbo(vae, batch.x, Draws(0, batch.position)).total for batch in batches]
            closer = [bound(vae, batch.x, Draws(0, batch.position), samples=IMPORTANCE) for batch in batches]
        bits = [bits_per_dim(torch.tensor(-_mean(nats)), batches[0].x[0].numel()).item() for nats in (again, closer)]
        data |= {"bits_per_dim": bits[0], "iwae_bits_per_dim": bits[1]}
        lines.append(f"bits/dim      {bits[0]:.3f}, IWAE {bits[1]:.3f}    of 256 levels")
    return Measured(lines=lines, data=data)


def _variational(subject: Subject, model: DiffusionModel) -> Measured:
    """The variational bound, of latents within the autoencoder's."""
    scale, evaluations = _scale(subject, model), None if subject.how.exact else EVALUATIONS
    costs = [
        diffusion_bound(model, batch, Draws(subject.how.seed, batch.position), scale=scale, evaluations=evaluations)
        for batch in subject.batches(what="variational bound")
    ]
    method = "all terms" if evaluations is None else f"{evaluations} of its terms, drawn for each example"
    return _code_length(f"variational bound, {method}", subject, costs)


def flow(subject: Subject) -> Measured:
    """The likelihood that the probability flow gives to held-out data."""
    _check_denoises(subject)
    if not isinstance(subject.model, DiffusionModel):
        raise UserError(
            f"'{subject.folder}' does not diffuse, so it has no probability flow: --metrics nll measures it"
        )
    model = subject.model
    scale, probes = _scale(subject, model), None if math.prod(model.latent_shape) <= FEW else 1
    costs = [
        flow_bound(model, batch, Draws(subject.how.seed, batch.position), scale=scale, probes=probes)
        for batch in subject.batches(what="probability flow")
    ]
    return _code_length(f"probability flow, trace {'exact' if probes is None else 'estimated'}", subject, costs)


def _check_denoises(subject: Subject) -> None:
    """Refuses a model that says where a step leads, which tells no likelihood."""
    settings = subject.recipe.objective
    if isinstance(settings, FewStepSettings):
        raise UserError(
            f"'{subject.folder}' draws in {settings.steps} steps and knows no likelihood: measure its samples, with "
            "--metrics kid, or its teacher"
        )


def _scale(subject: Subject, model: DiffusionModel) -> float | None:
    """One for all held-out pictures."""
    return decoder_scale(model, subject.batches(what="decoder scale")) if isinstance(model.first_stage, Kl) else None


def _code_length(method: str, subject: Subject, costs: list[CodeLength]) -> Measured:
    bits = {part: torch.cat([cost.bits[part].cpu() for cost in costs]).double() for part in costs[0].bits}
    count, unit = len(bits["total"]), "bits/dim" if len(subject.model.shape) == 3 else "bits/point"
    error = (bits["total"].std() / count**0.5).item() if count > 1 else float("inf")
    lines = [f"{unit:<13} {bits['total'].mean():.3f} ± {error:.2g}    {method}; {subject.split} examples: {count}"]
    lines += [f"  {part:<15} {value.mean():.3f}" for part, value in bits.items() if part != "total"]
    data: dict[str, Any] = {
        "method": method,
        "split": subject.split,
        "unit": unit,
        "n": count,
        "error": error if count > 1 else None,
    }
    data |= {part: value.mean().item() for part, value in bits.items()}
    bounds = [cost.bound for cost in costs if cost.bound is not None]
    if bounds:
        terms = bits_per_dim(torch.cat([one.terms.cpu() for one in bounds]).double().mean(0), costs[0].dimensions)
        data |= {"rate": data["prior"] + data["diffusion"], "distortion": data["decoder"]}
        data |= {"terms": terms.tolist()} if subject.how.exact else {}
    if bounds and len(subject.model.shape) == 3 and isinstance(subject.model.first_stage, Identity):
        rmse = _mean(one.rmse for one in bounds)
        lines.append(f"distortion    {rmse:.2f} of 255    root mean square error at the last step")
        data["rmse"] = rmse
    if subject.recipe.data.source == "swissroll":
        lines.append(f"thickness     {subject.recipe.data.thickness:g}    of the roll, which decides what is possible")
        data["thickness"] = subject.recipe.data.thickness
    picture = _by_term(data["terms"], unit) if bounds and subject.how.exact else None
    return Measured(lines=lines, data=data, picture=picture)


def _by_term(terms: Sequence[float], unit: str) -> Image.Image:
    """What each step of the chain costs, but for the last one, which says the data themselves."""
    steps = [float(k) for k in range(2, len(terms) + 1)]
    line = plots.Line(name="held-out data", x=steps, y=list(terms[1:]))
    return plots.Chart(title="What each step costs", lines=[line], x_label="step", y_label=unit).picture()


@torch.no_grad()
def found(subject: Subject) -> Measured:
    """Whether what the model draws for held-out captions is nearer to the right picture than to the others."""
    model, data = subject.model, subject.held_out
    if not isinstance(model, DiffusionModel) or not isinstance(model.conditioner, TextConditioner):
        raise UserError(f"'{subject.folder}' does not read captions, so there is nothing to find again")
    if subject.sees:
        raise UserError(f"'{subject.folder}' sees parts of pictures, so finding these again says nothing of captions")
    single = [alike[0] for alike in contents(data) if data.captions(alike[0])]  # variants could be taken for each other
    known = [k for k in single if subject.as_prompt(data.captions(k)[0]) is not None]
    chosen = [known[k] for k in spread(RETRIEVED, len(known))]
    if len(chosen) < 2:
        raise UserError(
            f"'{subject.folder}' has fewer than two held-out pictures with captions: train with data.held_out=0.1"
        )
    wishes = [subject.as_prompt(data.captions(k)[0]) for k in chosen]
    right = batch_of(data, subject.transform, chosen).x
    made = torch.cat(list(subject.pictures(wishes, list(range(len(chosen))))))
    vectors = [torch.cat(list(evaluate.extract(subject.features, x.split(BATCH)))) for x in (made, right)]
    score = evaluate.retrieval(*vectors)
    lines = [
        f"found first   {score.first:.0%}, {score.times_chance:.1f} times chance",
        f"captions      {score.count} {subject.split} ones",
        f"among five    {score.fifth:.0%}",
        f"mean rank     {score.rank:.1f}    chance is {(score.count + 1) / 2:.1f}",
        f"features      {subject.features.name}",
    ]
    shown = spread(12, len(chosen))
    picture = plots.sheet(
        [[pixels.to_image(pixels.to_uint8(x)[k]).resize((96, 96)) for k in shown] for x in (right, made)],
        [(wishes[k] or "")[:14] for k in shown],
        ["right", "made"],
    )
    looked = {"times_chance": score.times_chance, "features": subject.features.name, "sample": repr(model.settings())}
    return Measured(lines=lines, data={**asdict(score), **looked}, picture=picture)


def of_samples(name: str) -> Callable[[Subject], Measured]:
    """A metric of samples against held-out pictures."""

    def measured(subject: Subject) -> Measured:
        split = f"{subject.split} pictures"
        check_metrics([name], subject.how.samples, len(subject.held_out), features=subject.features, split=split)
        real, fake = subject.vectors("held out"), subject.drawn()
        scores = sample_metrics(fake, real, [name], features=subject.features, split=split)
        settings = {"sample": repr(subject.model.settings())} if isinstance(subject.model, DiffusionModel) else {}
        return Measured(lines=scores.lines(), data={**scores.data(), **settings})

    return measured


def heard(subject: Subject) -> Measured:
    """Whether samples show what held-out captions say, in the eyes of CLIP."""
    features = subject.features
    if not isinstance(features, ClipFeatures):
        raise UserError("a CLIP score is of CLIP's features alone: give --features clip:FOLDER")
    if not subject.reads:
        raise UserError(f"'{subject.folder}' does not read captions, so there is nothing to compare its samples with")
    wishes = [wish or "" for wish in subject.wishes("held out")]
    score = clip_score(subject.drawn(), features.texts(wishes))
    return Measured(
        lines=[
            f"CLIP score    {score.value:.2f} ± {score.error:.2g}    {len(wishes)} samples of {subject.split} captions",
            f"features      {features.name}",
        ],
        data={"clip_score": asdict(score), "fake": len(wishes), "features": features.name},
    )


def memorised(subject: Subject) -> Measured:
    """Whether samples repeat training pictures, and how much lower the loss is on these than on held-out ones."""
    model = subject.model
    if not isinstance(model, DiffusionModel):
        raise UserError(
            f"'{subject.folder}' draws nothing, so it repeats nothing: this metric is for models that diffuse"
        )
    if subject.held_out is subject.parts["train"]:
        raise UserError(
            "memorisation is told from held-out pictures, and this run held none out: train with data.held_out=0.1"
        )
    wishes = subject.wishes("train")
    training = subject.vectors("train")

    def drawn_again(numbers: Sequence[int]) -> Tensor:
        chosen = [wishes[k] for k in numbers], [subject.how.seed + k for k in numbers]
        return torch.cat(list(subject.pictures(*chosen)))

    def shown(indices: Sequence[int]) -> Tensor:
        return batch_of(subject.parts["train"], subject.transform, indices).x

    verdict = evaluate.memorisation(subject.drawn("train"), training, subject.vectors("held out"))
    gap, levels = _gap(subject, model)
    return Measured(
        lines=[*verdict.lines(), *levels, f"features      {subject.features.name}"],
        data={**verdict.data(), "loss": gap, "features": subject.features.name},
        picture=evaluate.closest_pairs(verdict, drawn_again, shown),
    )


def _gap(subject: Subject, model: DiffusionModel) -> tuple[Mapping[str, Mapping[str, float]], list[str]]:
    """The loss at each noise level on either part of the data, and the same for a terminal."""
    if isinstance(subject.recipe.objective, FewStepSettings):
        return {}, []  # it learned from no picture
    objective = build.objective(subject.recipe, model).to(model.device).eval()
    assert isinstance(subject.recipe.objective, DiffusionSettings)
    losses = {
        part: held_out(objective, subject.batches(part, f"loss on the {part} data", COMPARED), subject.how.seed)
        for part in ("train", "held out")
    }
    lines = ["noise level   loss on training, on held-out data"]
    for name, value in losses["train"].items():
        other = losses["held out"][name]
        lines.append(f"  {name.removeprefix('loss@'):<11} {value:.4f}  {other:.4f}  {other / value - 1:+.0%}")
    return losses, lines


METRICS: Mapping[str, Callable[[Subject], Measured]] = {
    "reconstruction": reconstruction,
    "nll": likelihood,
    "flow": flow,
    "retrieval": found,
    "clip_score": heard,
    "memorisation": memorised,
    **{name: of_samples(name) for name in SAMPLE_METRICS},
}


def usual(subject: Subject) -> str:
    """The metric of a run when none is named."""
    if isinstance(subject.recipe.objective, FewStepSettings):
        return "kid"
    diffuses = isinstance(subject.model.first_stage, Identity | LayeredVae)
    return "nll" if diffuses else "reconstruction"


def _mean(parts: Iterable[Tensor]) -> float:
    return torch.cat([part.cpu() for part in parts]).double().mean().item()
