r"""How much a variational autoencoder knows about data, in nats, and its training.

For latents z drawn from q(z | x), the importance weight w = p(x, z) / q(z | x) has the mean p(x), so by Jensen

.. math:: \mathrm{ELBO} = E_q[\ln w] = E_q[\ln p(x | z_1)] - \sum_l D_{KL}^l \;\le\; \ln p(x)                     (1)

and, with K draws instead of one, a bound that is at least as tight (Burda et al., "Importance weighted autoencoders",
2016, equation 8),

.. math:: \mathrm{IWAE}_K = E_q\left[ \ln \tfrac{1}{K} \sum_{k=1}^K w_k \right] \;\le\; \ln p(x).                 (2)

The gap of (1) is the KL from q to the true posterior, and nothing is lost where q is it. Training descends

.. math:: L = -E_q[\ln p(x | z_1)] + \beta \sum_l \max(\lambda, D_{KL}^l)                                         (3)

where beta rises from 0 to 1 (Sonderby et al., 2016), and where lambda nats per layer are free, lest a layer fall silent
before it has learned to say something. The maximum is taken of the mean over a batch (Kingma et al., "Improved
variational inference with inverse autoregressive flow", 2016, equation 15), because a sample's own KL may be a noisy
estimate. So free bits are the one thing by which a sample's loss depends on the others of its (micro-)batch.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from carrara import seeds
from carrara.autoencoder.hierarchical import LayeredVae
from carrara.objective.base import LossReport, Objective, ObjectiveSettings
from carrara.seeds import Draws
from carrara.shapes import PerSample, Samples
from carrara.types import Batch, Role

SILENT = 0.01
"""Up to these nats a layer says nothing; nor does a latent whose posterior mean varies no more (Burda et al., 2016)."""


@dataclass(frozen=True)
class ElboTerms:
    """Equation (1), one draw of z, in nats.

    Attributes:
        log_likelihood: (B,) ln p(x | z_1).
        kl: (B,) of each layer, z_1 first; see ``autoencoder.hierarchical`` for which are in closed form.
    """

    log_likelihood: PerSample
    kl: tuple[PerSample, ...]

    @property
    def total(self) -> PerSample:
        """The bound."""
        return self.log_likelihood - sum(self.kl)

    def logs(self) -> dict[str, PerSample]:
        """``elbo``, ``log_likelihood``, ``kl_1`` to ``kl_L``."""
        kl = {f"kl_{layer}": nats for layer, nats in enumerate(self.kl, start=1)}
        return {"elbo": self.total, "log_likelihood": self.log_likelihood, **kl}


def elbo(vae: LayeredVae, x: Samples, draws: Draws) -> ElboTerms:
    """Equation (1) for pixels in [-1, 1], with one draw of z for each sample."""
    layers = vae.infer(x, draws)
    return ElboTerms(vae.log_likelihood(x, layers[0].z), tuple(layer.kl() for layer in layers))


def bound(vae: LayeredVae, x: Samples, draws: Draws, *, samples: int = 64) -> PerSample:
    """Equation (2) for pixels in [-1, 1], in nats, with K = ``samples`` draws of z for each.

    One draw after the other: without gradients, memory does not grow with K.
    """
    log_weights = [
        _log_weight(vae, x, replace(draws, seed=seeds.integer(draws.seed, "importance sample", k)))
        for k in range(samples)
    ]
    return torch.logsumexp(torch.stack(log_weights), dim=0) - math.log(samples)


def _log_weight(vae: LayeredVae, x: Samples, draws: Draws) -> PerSample:
    layers = vae.infer(x, draws)
    return vae.log_likelihood(x, layers[0].z) - sum(layer.log_ratio() for layer in layers)


@torch.no_grad()
def active_units(vae: LayeredVae, batches: Iterable[Tensor]) -> tuple[int, ...]:
    """How many latents of each layer, z_1 first, say something about the data: their posterior means have a variance
    over the data above ``SILENT``. The layers that a mean depends on are at their means.
    """
    means = (torch.cat(layer).double() for layer in zip(*map(vae.posterior_means, batches), strict=True))
    return tuple(int((layer.var(0, correction=0) > SILENT).sum()) for layer in means)


@dataclass(frozen=True, kw_only=True)
class ElboSettings(ObjectiveSettings):
    """A variational autoencoder learns.

    Attributes:
        warmup: the steps over which the KL's weight rises from 0 to 1.
        free_bits: nats that each layer may say without a cost.
    """

    kind: Literal["elbo"] = "elbo"
    warmup: int = 0
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.free_bits < 0:
            raise ValueError("warmup and free_bits must be 0 or more")


class ElboObjective(Objective):
    """Equation (3) for any VAE.

    Args:
        vae: trained.
        warmup: the steps over which beta rises from 0 to 1; 0 is 1 from the start.
        free_bits: lambda, in nats per layer.
    """

    def __init__(self, vae: LayeredVae, *, warmup: int = 0, free_bits: float = 0.0) -> None:
        super().__init__()
        if warmup < 0 or free_bits < 0:
            raise ValueError(f"warmup and free_bits must be 0 or more, not {warmup} and {free_bits}")
        self.first_stage = vae
        self.warmup, self.free_bits = warmup, free_bits

    def roles(self) -> Mapping[Role, Iterable[nn.Parameter]]:
        return {"main": self.first_stage.parameters()}

    def forward(self, batch: Batch, role: Role, draws: Draws) -> LossReport:
        terms = elbo(self.first_stage, batch.x, draws)
        beta = min(1.0, (draws.step + 1) / self.warmup) if self.warmup else 1.0
        loss = -terms.log_likelihood + beta * sum(map(self._beyond_free, terms.kl))
        logs = {name: nats.detach() for name, nats in terms.logs().items()}
        return LossReport(per_sample=loss, logs={**logs, "beta": torch.tensor(beta, device=loss.device)})

    @torch.no_grad()
    def validate(self, batch: Batch, draws: Draws) -> Mapping[str, PerSample]:
        """Equation (1) with all of the KL and nothing free: ``elbo``, ``log_likelihood``, ``kl_1`` to ``kl_L``."""
        return elbo(self.first_stage, batch.x, draws).logs()

    def diagnose(self, logs: Mapping[str, float]) -> list[str]:
        if logs.get("beta", 1.0) < 1:
            return []
        layers = range(1, len(self.first_stage.widths) + 1)
        return [self._collapsed(k, logs[f"kl_{k}"]) for k in layers if abs(logs[f"kl_{k}"]) <= SILENT]

    def _collapsed(self, layer: int, nats: float) -> str:
        return (
            f"layer {layer} of {len(self.first_stage.widths)} says nothing ({nats:.3f} nats): its posterior has "
            "collapsed onto the prior; raise objective.warmup or objective.free_bits (0.5, say), or take fewer layers"
        )

    def _beyond_free(self, kl: PerSample) -> PerSample:
        """A layer's KL; where the batch's mean is below lambda, lambda, which has no gradient."""
        return kl if not self.free_bits or kl.mean() > self.free_bits else torch.full_like(kl, self.free_bits)
