r"""The variational autoencoder, with one layer of latents or many.

The model is a chain from the deepest latents z_L down to the data x,

.. math:: p(x, z) = p(x | z_1) \, p(z_1 | z_2) \cdots p(z_{L-1} | z_L) \, N(z_L; 0, I)                             (1)

where each p(z_l | z_{l+1}) is a Gaussian whose mean and diagonal variance are a network's. What z was, given x, is
guessed by a q of diagonal Gaussians too, in one of two ways. Bottom-up, each layer from the one below (Rezende et al.,
"Stochastic backpropagation and approximate inference in deep generative models", 2014),

.. math:: q(z | x) = q(z_1 | x) \, q(z_2 | z_1) \cdots q(z_L | z_{L-1})                                            (2)

or as a ladder (Sonderby et al., "Ladder variational autoencoders", 2016; without batch normalization, so that samples
do not depend on each other): features d_1 ... d_L of x are computed bottom-up, and latents are drawn top-down,

.. math:: q(z | x) = q(z_L | d_L) \prod_{l<L} q(z_l | z_{l+1}, d_l), \quad
          q(z_l | z_{l+1}, d_l) \propto N(z_l; \hat\mu(d_l), \hat\sigma^2(d_l)) \, p(z_l | z_{l+1})                (3)

so the data correct what the model expects, each counting as much as it is certain:

.. math:: \sigma^{-2} = \hat\sigma^{-2} + \sigma_p^{-2}, \quad
          \mu = \sigma^2 (\hat\sigma^{-2} \hat\mu + \sigma_p^{-2} \mu_p).                                          (4)

With L = 1 both are the autoencoder of Kingma and Welling ("Auto-encoding variational Bayes", 2014). Per layer,

.. math:: D_{KL}(q \| p) = \tfrac12 \sum_i \left[ \ln \frac{\sigma_p^2}{\sigma_q^2}
          + \frac{\sigma_q^2 + (\mu_q - \mu_p)^2}{\sigma_p^2} - 1 \right]                                          (5)

holds wherever p does not depend on the layer's own z: in every layer of a ladder, and in the last one bottom-up. Below
the last, bottom-up, z_{l+1} comes from z_l itself, and the one-sample estimate ln q(z_l) - ln p(z_l) stands for it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from carrara.autoencoder.base import LearnedStage
from carrara.nn import DEEPEST, WIDEST
from carrara.seeds import Draws
from carrara.shapes import PerSample, Samples

LatentVectors = Float[Tensor, "B D"]
"""One vector per sample: a layer's latents, or flattened pixels."""

LOG_2PI = math.log(2 * math.pi)
LOG_VARIANCES = -20.0, 20.0
"""The bounds of a network's log-variance: its exponential stays finite in float32."""


@dataclass(frozen=True)
class Gaussian:
    """N(mean, diag exp(log_variance)), one for each sample."""

    mean: LatentVectors
    log_variance: LatentVectors

    def at(self, eps: Tensor) -> LatentVectors:
        """The point that standard normal ``eps`` (B, D) leads to."""
        return self.mean + torch.exp(0.5 * self.log_variance) * eps.to(self.mean)

    def log_density(self, z: LatentVectors) -> PerSample:
        """ln N(z), in nats."""
        squares = (z - self.mean).square() * torch.exp(-self.log_variance)
        return -0.5 * (squares + self.log_variance + LOG_2PI).sum(1)

    def kl(self, p: "Gaussian") -> PerSample:
        """D_KL(self || p) by equation (5), in nats."""
        log_ratio = self.log_variance - p.log_variance
        squares = (self.mean - p.mean).square() * torch.exp(-p.log_variance)
        return 0.5 * (log_ratio.exp() + squares - 1 - log_ratio).sum(1)

    def times(self, other: "Gaussian") -> "Gaussian":
        """The normalised product of the two densities: equation (4)."""
        share = torch.sigmoid(other.log_variance - self.log_variance)
        precision = torch.logaddexp(-self.log_variance, -other.log_variance)
        return Gaussian(torch.lerp(other.mean, self.mean, share), -precision)


@dataclass(frozen=True)
class LayerPosterior:
    """What inference found in one layer.

    Attributes:
        z: (B, D) a draw from q, or its mean.
        q, p: the posterior and the prior that z has, given the other layers' z.
        closed: p does not depend on z, so that equation (5) holds.
    """

    z: LatentVectors
    q: Gaussian
    p: Gaussian
    closed: bool

    def log_ratio(self) -> PerSample:
        """ln q(z) - ln p(z), in nats."""
        return self.q.log_density(self.z) - self.p.log_density(self.z)

    def kl(self) -> PerSample:
        """What z costs, in nats: equation (5), or else its one-sample estimate, which may be negative."""
        return self.q.kl(self.p) if self.closed else self.log_ratio()


def mlp(inp: int, out: int, hidden: int, depth: int) -> nn.Sequential:
    """``depth`` hidden layers of ``hidden`` units; a linear map if there are none."""
    layers: list[nn.Module] = []
    for a, b in pairwise((inp, *[hidden] * depth)):
        layers += [nn.Linear(a, b), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(hidden if depth else inp, out))


class GaussianMap(nn.Module):
    """A network from vectors to a Gaussian: half of its outputs are the mean, half the log-variance."""

    def __init__(self, inp: int, out: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.net = mlp(inp, 2 * out, hidden, depth)

    def forward(self, x: LatentVectors) -> Gaussian:
        mean, log_variance = _precise(self.net(x)).chunk(2, dim=1)
        return Gaussian(mean, log_variance.clamp(*LOG_VARIANCES))


class Likelihood(nn.Module, ABC):
    """p(x | z_1) from the decoder's outputs.

    Attributes:
        is_density: whether it is the density of real numbers; else it is the probability of some values.
    """

    is_density: bool = False

    @abstractmethod
    def mean(self, out: LatentVectors) -> LatentVectors:
        """The mean of the pixels."""

    @abstractmethod
    def log_density(self, out: LatentVectors, x: LatentVectors) -> PerSample:
        """ln p(x), in nats."""


@final
class Bernoulli(Likelihood):
    """Pixels -1 and 1, whose log-odds are the outputs.

    A grey pixel x counts as one that is 1 with probability (1 + x) / 2: its log-likelihood is the mean over the coin.
    """

    def mean(self, out: LatentVectors) -> LatentVectors:
        return torch.tanh(0.5 * out)

    def log_density(self, out: LatentVectors, x: LatentVectors) -> PerSample:
        return -F.binary_cross_entropy_with_logits(out, 0.5 * (1 + x), reduction="none").sum(1)


@final
class GaussianNoise(Likelihood):
    """Pixels with one standard deviation around the outputs, both in units of pixels in [-1, 1].

    Args:
        sigma: the standard deviation; None learns it, from 1 on.
    """

    is_density = True
    log_sigma: Tensor

    def __init__(self, sigma: float | None) -> None:
        super().__init__()
        if sigma is None:
            self.log_sigma = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("log_sigma", torch.tensor(math.log(sigma)), persistent=False)

    def mean(self, out: LatentVectors) -> LatentVectors:
        return out

    def log_density(self, out: LatentVectors, x: LatentVectors) -> PerSample:
        return Gaussian(out, (2 * self.log_sigma).expand_as(out)).log_density(x)


@dataclass(frozen=True, kw_only=True)
class VaeConfig:
    """A variational autoencoder of one layer or many.

    Attributes:
        latents: the widths of z_1, next to the data, to z_L.
        hidden, depth: units of a hidden layer, and hidden layers of each network; depth 0 makes every map linear.
        inference: equation (2) or (3); they are the same for one layer.
        likelihood: Bernoulli for pictures in black and white or grey, Gaussian for all else.
        sigma: the Gaussian's standard deviation, for pixels in [-1, 1]; None learns it.
    """

    kind: Literal["vae"] = "vae"
    latents: tuple[int, ...] = (16,)
    hidden: int = 256
    depth: int = 2
    inference: Literal["bottom_up", "ladder"] = "bottom_up"
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"
    sigma: float | None = None

    def __post_init__(self) -> None:
        if not self.latents or min(self.latents) < 1:
            raise ValueError(f"a VAE has one layer or more, of one latent or more each, not {self.latents}")
        if self.hidden < 1 or not 0 <= self.depth <= DEEPEST:
            raise ValueError(f"hidden must be 1 or more and depth 0 to {DEEPEST}, not {self.hidden} and {self.depth}")
        if max(self.latents) > WIDEST or len(self.latents) > DEEPEST:
            raise ValueError(f"a VAE has at most {DEEPEST} layers, of at most {WIDEST} latents each")
        if self.sigma is not None and (self.likelihood == "bernoulli" or self.sigma <= 0):
            raise ValueError("sigma is above 0, and belongs to likelihood gaussian: leave it out of a bernoulli")

    @property
    def factor(self) -> int | None:
        """As ``FirstStage.factor``."""
        return None

    def build(self, shape: tuple[int, ...]) -> "LayeredVae":
        """Makes the stage for pixels, or points, of ``shape``."""
        return LayeredVae(self, shape)


class Prior(nn.Module):
    """Equation (1) without the data."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.widths = config.latents
        self.maps = nn.ModuleList(
            GaussianMap(above, width, config.hidden, config.depth) for width, above in pairwise(config.latents)
        )

    def forward(self, layer: int, above: LatentVectors) -> Gaussian:
        """p(z | z above) of a layer, counted from 0; nothing, (B, 0), is above the last one."""
        if layer < len(self.maps):
            return self.maps[layer](above)
        zeros = above.new_zeros(len(above), self.widths[layer])
        return Gaussian(zeros, zeros)


Choose = Callable[[int, Gaussian], Tensor]
"""``(layer, q) -> z``: a draw from a layer's Gaussian, or its mean. Layers count from 0."""


def chosen(draws: Draws | None) -> Choose:
    """Draws with a purpose for each layer, ``z_1`` to ``z_L``; or the mean without ``draws``."""
    if draws is None:
        return lambda _, q: q.mean
    return lambda layer, q: q.at(draws.normal(f"z_{layer + 1}", q.mean.shape[1]))


class Inference(nn.Module, ABC):
    """q(z | x)."""

    @abstractmethod
    def forward(self, x: LatentVectors, prior: Prior, choose: Choose) -> tuple[LayerPosterior, ...]:
        """Finds the latents of flattened pixels, z_1 first."""


@final
class BottomUp(Inference):
    """Equation (2)."""

    def __init__(self, config: VaeConfig, pixels: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(
            GaussianMap(below, width, config.hidden, config.depth)
            for below, width in pairwise((pixels, *config.latents))
        )

    def forward(self, x: LatentVectors, prior: Prior, choose: Choose) -> tuple[LayerPosterior, ...]:
        zs: list[Tensor] = []
        qs: list[Gaussian] = []
        for k, network in enumerate(self.maps):
            qs.append(network(zs[-1] if zs else x))
            zs.append(choose(k, qs[k]))
        above, last = [*zs[1:], x[:, :0]], len(zs) - 1
        return tuple(
            LayerPosterior(z, q, prior(k, above[k]), k == last) for k, (z, q) in enumerate(zip(zs, qs, strict=True))
        )


@final
class Ladder(Inference):
    """Equation (3)."""

    def __init__(self, config: VaeConfig, pixels: int) -> None:
        super().__init__()
        hidden, depth, count = config.hidden, config.depth, len(config.latents)
        self.features = nn.ModuleList(mlp(below, hidden, hidden, depth) for below in (pixels, *[hidden] * (count - 1)))
        self.heads = nn.ModuleList(GaussianMap(hidden, width, hidden, 0) for width in config.latents)

    def forward(self, x: LatentVectors, prior: Prior, choose: Choose) -> tuple[LayerPosterior, ...]:
        guesses: list[Gaussian] = []
        d = x
        for features, head in zip(self.features, self.heads, strict=True):
            d = features(d)
            guesses.append(head(d))
        layers: list[LayerPosterior] = []
        above, last = x[:, :0], len(guesses) - 1
        for k in range(last, -1, -1):
            p = prior(k, above)
            q = guesses[k] if k == last else guesses[k].times(p)
            above = choose(k, q)
            layers.append(LayerPosterior(above, q, p, closed=True))
        return tuple(reversed(layers))


@final
class LayeredVae(LearnedStage):
    """See the module's head. Pixels (B, *S) of any shape are flattened inside.

    As a first stage its latents are z_1, (B, D_1); raw latents are the mean and log-variance of q(z_1 | x), (B, 2 D_1),
    of a ladder that of q(z_1 | x, z_2) at the means of the layers above.

    Attributes:
        shape: of a sample.
        widths: of z_1 to z_L. Arguments count layers from 0: layer 0 is z_1.
    """

    has_prior = True

    def __init__(self, config: VaeConfig, shape: tuple[int, ...]) -> None:
        super().__init__(config.latents[0])
        self.shape, self.widths = shape, config.latents
        pixels = math.prod(shape)
        self.inference = (BottomUp if config.inference == "bottom_up" else Ladder)(config, pixels)
        self.prior = Prior(config)
        self.decoder = mlp(config.latents[0], pixels, config.hidden, config.depth)
        self.likelihood: Likelihood = Bernoulli() if config.likelihood == "bernoulli" else GaussianNoise(config.sigma)

    def infer(self, x: Samples, draws: Draws | None) -> tuple[LayerPosterior, ...]:
        """The latents of pixels, z_1 first: a draw from q(z | x), or the mean of each layer given the others' means."""
        return self.inference(x.flatten(1), self.prior, chosen(draws))

    def log_likelihood(self, x: Samples, z: LatentVectors) -> PerSample:
        """ln p(x | z_1) of pixels in [-1, 1] and z_1 (B, D_1), in nats."""
        return self.likelihood.log_density(_precise(self.decoder(z)), x.flatten(1))

    def posterior_means(self, x: Samples) -> tuple[Tensor, ...]:
        """The mean of each layer, (B, D_l), where the layers that it depends on are at their means."""
        return tuple(layer.q.mean for layer in self.infer(x, None))

    def layer_kl(self, pixels: Samples, draws: Draws) -> Tensor:
        return torch.stack([layer.kl() for layer in self.infer(pixels, draws)], dim=1)

    def reconstruct(self, x: Samples, draws: Draws | None) -> Samples:
        """The mean of the pixels for a draw of q(z_1 | x), or for its mean without ``draws``."""
        return self.render(self.infer(x, draws)[0].z)

    def generate(self, draws: Draws) -> Samples:
        """The mean of the pixels for a draw of z from the prior, layer by layer: equation (1)."""
        last = len(self.widths) - 1
        nothing = self.mean.new_zeros(len(draws.samples), 0)
        return self._descend(last, chosen(draws)(last, self.prior(last, nothing)), chosen(draws))

    def from_layer(self, layer: int, z: LatentVectors) -> Samples:
        """The mean of the pixels for latents (B, D_l) of a layer, counted from 0; those below it are at their means."""
        return self._descend(layer, z, chosen(None))

    def _descend(self, layer: int, z: Tensor, choose: Choose) -> Tensor:
        for k in reversed(range(layer)):
            z = choose(k, self.prior(k, z))
        return self.render(z)

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if shape != self.shape:
            raise ValueError(f"this VAE is made for samples of shape {self.shape}, and these have {shape}")
        return self.widths[:1]

    def encode_raw(self, pixels: Samples) -> Tensor:
        q = self.infer(pixels, None)[0].q
        return torch.cat([q.mean, q.log_variance], dim=1)

    def sample(self, raw: Tensor, draws: Draws | None) -> Tensor:
        return chosen(draws)(0, Gaussian(*raw.chunk(2, dim=1)))

    def render(self, z: Tensor) -> Samples:
        return self.likelihood.mean(_precise(self.decoder(z))).unflatten(1, self.shape)


def _precise(x: Tensor) -> Tensor:
    """Float32 at least: probabilities are not computed in what matrices are multiplied in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
