r"""How many bits a model needs for data: a bound, or the probability flow's answer, for pixels, points and latents.

For latents z with a posterior q(z | x), the first stage's own evidence lower bound takes in what diffusion says of z,

.. math:: -\ln p(x) \le -E_q[\ln p(x | z)] - H(q(z | x)) + E_q[-\ln p(z)]                                          (1)

where -ln p(z) is the variational bound, or minus the flow's log-density. As z is whitened by the standard deviations s
of the channels, the entropy is that of the encoder's Gaussian less ln s for each latent,

.. math:: H = \tfrac12 \sum (\ln 2 \pi e + \ln \sigma_q^2) - \sum \ln s.                                            (2)

A first stage of latent diffusion has no p(x | z) of its own. It is given the probability of a picture's levels under a
Laplace law around the decoder's picture, whose log-density is the L1 error such stages descend, and whose tails forgive
the few large errors at edges, which would cost a Gaussian their square. Its one scale is the one that suits the data
best: ``decoder_scale``. Vector quantization has no density of z, and so no bound.
"""

import math
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from carrara.autoencoder import Kl, LayeredVae
from carrara.autoencoder.hierarchical import GaussianNoise, Likelihood
from carrara.denoiser import AbsorbingDenoiser
from carrara.draw.image_input import seen
from carrara.errors import UserError
from carrara.medium import medium_of
from carrara.modality import Numbers
from carrara.model import DiffusionModel
from carrara.noise import (
    LEVELS,
    NATS_OF_LEVELS,
    Bound,
    Chain,
    ReverseVariance,
    bits_per_dim,
    chain_times,
    estimated_bound,
    level_log_probability,
    variational_bound,
)
from carrara.noise.absorbing import order_cost
from carrara.sample import clip, dequantized, log_density, rademacher
from carrara.seeds import Draws
from carrara.shapes import PerSample, Samples, cropped
from carrara.types import Batch, Conditioning, DenoiseFn

KL_LOG_VARIANCES = -30.0, 20.0
"""The bounds of the posterior's log-variance in ``autoencoder.Kl``."""
SCALES = 2.0 ** torch.linspace(-11, 2, 53, dtype=torch.float64)
"""Among these ``decoder_scale`` looks: from a sixteenth of a level to twice the range."""


@dataclass(frozen=True, kw_only=True)
class CodeLength:
    """What each sample costs, in nats: the sum is not less than -ln p(x), up to the noise of one draw.

    Attributes:
        parts: (B,) float64 each. Of latents: ``reconstruction`` and ``posterior``, which are -ln p(x | z) and -H. Of
            the variational bound: ``prior`` L_T, ``diffusion`` L_1 + ... + L_{T-1}, ``decoder`` L_0. Or ``flow``.
            Or ``levels``.
        dimensions: of a sample; a point counts as one.
        bound: each term of the variational bound.
    """

    parts: Mapping[str, PerSample]
    dimensions: int
    bound: Bound | None = None

    @property
    def nats(self) -> PerSample:
        """All parts together."""
        return torch.stack([*self.parts.values()]).sum(0)

    @property
    def bits(self) -> dict[str, PerSample]:
        """``total`` and the parts, in bits per dimension of a picture, in bits of a point."""
        nats = {"total": self.nats, **self.parts}
        return {name: bits_per_dim(cost, self.dimensions) for name, cost in nats.items()}


@torch.no_grad()
def diffusion_bound(
    model: DiffusionModel,
    batch: Batch,
    draws: Draws,
    *,
    steps: int | None = None,
    evaluations: int | None = 64,
    variance: ReverseVariance | None = None,
    scale: float | None = None,
) -> CodeLength:
    """The variational bound, with one draw of the noise; of latents equation (1).

    Pictures without a first stage are levels, and estimates of them are clipped to [-1, 1], where they can only become
    better. For points and latents, L_0 is a density.

    Args:
        batch: pixels, or points, on the model's device. Without the column that the model reads, nothing is said to it.
        draws: of the noise, one per sample of the batch.
        steps: of the chain, see ``noise.chain_times``.
        evaluations: K of the bound's equation (5), an unbiased estimate; None computes every term.
        variance: of the reverse steps; None is the one that the model has learned, else ``beta``.
        scale: of a KL stage's p(x | z), from ``decoder_scale``; None is the best for this batch alone.

    Raises:
        UserError: the first stage has no density; no such number of steps or evaluations.
    """
    if evaluations is not None and evaluations < 1:
        raise UserError(f"the bound is estimated from 1 step or more, not {evaluations}: raise the number, or take all")
    times, levels = chain_times(model.config.schedule, steps), LEVELS if _in_pixels(model) else None
    z, parts = _coded(model, batch, draws, scale)
    denoise = _denoiser(model, batch)
    if variance is None and model.denoiser.learned_variance:
        asked = model.denoiser.asked(_told(model, batch))
        denoise, variance = asked.denoise, asked.variance
    denoise = clip(denoise) if levels else denoise
    chain = Chain(schedule=model.config.schedule, times=times, variance=variance or "beta", levels=levels)

    def noise(k: int) -> Tensor:
        return draws.at(k).normal("bound", *z.shape[1:])

    if evaluations is None or evaluations >= len(times) - 1:
        bound = variational_bound(chain, denoise, z, noise)
    else:
        bound = estimated_bound(chain, denoise, z, noise, draws.uniform("steps of the bound", evaluations))
    costs = {"prior": bound.prior, "diffusion": bound.rate - bound.prior, "decoder": bound.distortion}
    return CodeLength(parts={**parts, **costs}, dimensions=_dimensions(model, batch), bound=bound)


@torch.no_grad()
def levels_bound(model: DiffusionModel, batch: Batch, draws: Draws, *, evaluations: int | None = 64) -> CodeLength:
    """The bound of a model of levels, ``noise.absorbing``, equation (4): of their probability, not of a density.

    Args:
        batch: pixels on the model's device. Without the column that the model reads, nothing is said to it.
        draws: of what is masked, one per sample of the batch.
        evaluations: numbers of masked values that are drawn, evenly spread; None takes each number once.

    Raises:
        UserError: no such number of evaluations.
    """
    denoiser, cond = model.denoiser, _told(model, batch)
    assert isinstance(denoiser, AbsorbingDenoiser)
    if evaluations is not None and evaluations < 1:
        raise UserError(f"the bound is estimated from 1 evaluation or more, not {evaluations}: raise the number")
    z, values = _coded(model, batch, draws, None)[0], tuple(batch.x.shape[1:])
    count = min(evaluations or batch.x[0].numel(), batch.x[0].numel())
    nats = torch.zeros(len(batch), dtype=torch.float64, device=z.device)
    for k in range(count):
        at = draws.at(k)
        u, order = at.uniform("masked"), at.uniform("order", *values)
        u = (k + u) / count
        nats += order_cost(lambda x_t: denoiser.log_probabilities(x_t, cond), z, denoiser.channels, u, order) / count
    return CodeLength(parts={"levels": nats}, dimensions=_dimensions(model, batch))


def flow_bound(
    model: DiffusionModel,
    batch: Batch,
    draws: Draws,
    *,
    steps: int = 64,
    probes: int | None = 1,
    sigma_min: float | None = None,
    scale: float | None = None,
) -> CodeLength:
    """The probability flow's log-density, of pixels spread over their levels; of latents in equation (1).

    Args:
        batch: pixels, or points, on the model's device. Without the column that the model reads, nothing is said to it.
        draws: of the noise, one per sample of the batch.
        steps: of Runge and Kutta's method.
        probes: random signs per sample that estimate the trace; None computes it, for few dimensions.
        sigma_min: where the flow begins, see ``sample.likelihood``: what is measured are data with this noise.
        scale: of a KL stage's p(x | z), from ``decoder_scale``; None is the best for this batch alone.

    Raises:
        UserError: the first stage has no density.
    """
    with torch.no_grad():
        z, parts = _coded(model, batch, draws, scale)
        denoise = _denoiser(model, batch)
    levels = z[0].numel() * NATS_OF_LEVELS if _in_pixels(model) else 0.0
    flowed = log_density(
        denoise,
        dequantized(z, draws) if levels else z,
        model.config.schedule,
        sigma_min=sigma_min,
        steps=steps,
        probes=None if probes is None else rademacher(draws, tuple(z.shape[1:]), probes),
    )
    return CodeLength(parts={**parts, "flow": levels - flowed.log_density}, dimensions=_dimensions(model, batch))


def decoder_scale(model: DiffusionModel, batches: Iterable[Batch], seed: int = 0) -> float:
    """The scale of p(x | z) that makes data likeliest, given latents from the posterior: in memory for one batch.

    Args:
        batches: of pixels on the model's device. Those that will be measured, or others.

    Raises:
        UserError: the first stage has no scale to choose.
    """
    return best_scale(by_scale(model, batch, seed) for batch in batches)


@torch.no_grad()
def by_scale(model: DiffusionModel, batch: Batch, seed: int = 0) -> Tensor:
    """ln p(x | z) of a batch for each of ``SCALES``; see ``decoder_scale``."""
    if (stage := _scaled(model)) is None:
        raise UserError("only a KL autoencoder has a scale to choose: leave it out, other models bring their own")
    z = stage.latents(stage.encode_raw(batch.x), Draws(seed, batch.position))
    return _by_scale(batch.x, _decoded(stage, z, batch.x))


def best_scale(likelihoods: Iterable[Tensor]) -> float:
    """The scale at which the sum of some batches' likelihoods is greatest."""
    return _best_scale(sum(likelihoods, torch.zeros_like(SCALES)))


def has_scale(model: DiffusionModel) -> bool:
    """Whether ``decoder_scale`` has something to choose."""
    return _scaled(model) is not None


def _scaled(model: DiffusionModel) -> Kl | None:
    """The first stage, if its p(x | z) needs a scale."""
    return model.first_stage if isinstance(model.first_stage, Kl) else None


def _denoiser(model: DiffusionModel, batch: Batch) -> DenoiseFn:
    return model.denoiser.bind(_told(model, batch))


def _told(model: DiffusionModel, batch: Batch) -> Conditioning:
    """What the batch says, or nothing, if it lacks the model's column; and what is seen of its pictures."""
    conditioner = model.conditioner
    silent = conditioner.column is not None and conditioner.column not in batch.columns
    said = conditioner.null(len(batch)) if silent else conditioner(batch.columns)
    return replace(said, image=seen(model, batch))


def _in_pixels(model: DiffusionModel) -> bool:
    return not model.first_stage.learned and model.medium.of_levels


def _dimensions(model: DiffusionModel, batch: Batch) -> int:
    return batch.x[0].numel() if model.size else 1


def _coded(model: DiffusionModel, batch: Batch, draws: Draws, scale: float | None) -> tuple[Samples, dict[str, Tensor]]:
    """What diffuses, a draw from q(z | x), and the first two parts of equation (1)."""
    stage, modality = model.first_stage, model.config.modality
    if isinstance(modality, Numbers) and modality.missing:
        raise UserError("some values of these data are missing, and a likelihood is of whole examples: fill them in")
    if not stage.learned:
        return stage.latents(stage.encode_raw(batch.x), None), {}
    if not isinstance(stage, Kl | LayeredVae):
        raise UserError(
            "the latents of vector quantization have no density, so there is no likelihood to bound: take a KL "
            "autoencoder (model.first_stage.kind=kl), or measure samples instead"
        )
    raw = stage.encode_raw(batch.x)
    z = stage.latents(raw, draws)
    if isinstance(stage, LayeredVae):
        likelihood = _vae_likelihood(stage, batch.x, stage.sample(raw, draws))
    else:
        likelihood = _picture_likelihood(batch.x, _decoded(stage, z, batch.x), scale)
    return z, {"reconstruction": -likelihood, "posterior": -_entropy(stage, raw)}


def _entropy(stage: Kl | LayeredVae, raw: Tensor) -> PerSample:
    """Equation (2)."""
    log_variance = raw.double().chunk(2, dim=1)[1].clamp(*KL_LOG_VARIANCES)
    whitening = stage.std.double().log().sum() * log_variance[0, 0].numel()
    return 0.5 * (math.log(2 * math.pi * math.e) + log_variance).flatten(1).sum(1) - whitening


def _vae_likelihood(vae: LayeredVae, x: Samples, z: Tensor) -> PerSample:
    """ln p(x | z) for z that is not whitened: of levels, if x are pictures and the law is a density."""
    if not medium_of(vae.shape).of_levels:
        return vae.log_likelihood(x, z).double()
    with of_levels(vae):
        return vae.log_likelihood(x, z).double()


@final
class _Levels(Likelihood):
    """The probability of 256 levels in [-1, 1] under a Gaussian law."""

    def __init__(self, law: GaussianNoise) -> None:
        super().__init__()
        self.law = law

    def mean(self, out: Tensor) -> Tensor:
        return self.law.mean(out)

    def log_density(self, out: Tensor, x: Tensor) -> PerSample:
        return level_log_probability(x, out, self.law.log_sigma.exp()).sum(1)


@contextmanager
def of_levels(vae: LayeredVae) -> Generator[None]:
    """Within it, a Gaussian likelihood is the probability of pixels' levels, and not a density."""
    law = vae.likelihood
    if isinstance(law, GaussianNoise):
        vae.likelihood = _Levels(law)
    try:
        yield
    finally:
        vae.likelihood = law


def _picture_likelihood(x: Samples, mean: Samples, scale: float | None) -> PerSample:
    """ln p(x | z) under the Laplace law."""
    chosen = _best_scale(_by_scale(x, mean)) if scale is None else scale
    return level_log_probability(x, mean, torch.tensor(chosen), law="laplace").flatten(1).sum(1)


def _decoded(stage: Kl, z: Tensor, like: Tensor) -> Samples:
    """The decoder's picture, cut to the size of ``like``."""
    return cropped(stage.decode(z), like.shape[2:])


def _by_scale(x: Samples, mean: Samples) -> Tensor:
    """ln p(x | z) of all pictures together for each of ``SCALES``, on the CPU."""
    return torch.stack([level_log_probability(x, mean, scale, law="laplace").sum().cpu() for scale in SCALES])


def _best_scale(likelihood: Tensor) -> float:
    """The peak of the parabola in ln(scale) through the best of ``SCALES`` and its neighbours."""
    best = int(likelihood.argmax().clamp(1, len(SCALES) - 2))
    before, here, after = likelihood[best - 1 : best + 2].tolist()
    offset = 0.5 * (before - after) / (before - 2 * here + after)
    return (SCALES[best] * (SCALES[1] / SCALES[0]) ** min(max(offset, -1.0), 1.0)).item()
