r"""Denoisers that are known exactly, because the data are: points, or Gaussians around them.

If the data are a mixture of K Gaussians :math:`N(m_k, s_k^2 I)` with weights :math:`w_k`, then noised data are one,
too, of means :math:`\alpha m_k` and variances

.. math:: v_k = \alpha^2 s_k^2 + \sigma^2.                                                                       (1)

A state comes from part k with the probability

.. math:: \gamma_k(x_t) \propto w_k N(x_t; \alpha m_k, v_k I),                                                   (2)

and the mean of the data behind it is the mean of what each part would answer alone,

.. math:: E[x_0 | x_t] = \sum_k \gamma_k \frac{\alpha s_k^2 x_t + \sigma^2 m_k}{v_k}.                            (3)

With :math:`s_k = 0` and the training points for :math:`m_k` it is the ideal denoiser of a data set (Karras et al.,
"Elucidating the Design Space of Diffusion-Based Generative Models", 2022, appendix B.3): what a network would learn
that makes no error at all. It returns to the training points, and nowhere else. The score follows from any denoiser by
Tweedie's formula (Efron, "Tweedie's Formula and Selection Bias", 2011),

.. math:: \nabla \log p(x_t) = (\alpha E[x_0 | x_t] - x_t) / \sigma^2.                                           (4)
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.noise import Schedule
from carrara.seeds import Draws
from carrara.shapes import PerSample, Samples, expand
from carrara.types import DenoiseFn

Points = Float[Tensor, "B D"]
"""Samples that are vectors."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """A mixture of round Gaussians in D dimensions.

    Attributes:
        means: ``(K, D)``.
        stds: ``(K,)``, 0 or more.
        weights: ``(K,)``, positive; they are divided by their sum.

    Raises:
        ValueError: the numbers do not fit together.
    """

    means: Tensor
    stds: Tensor
    weights: Tensor

    def __post_init__(self) -> None:
        if self.means.ndim != 2 or not self.stds.shape == self.weights.shape == self.means.shape[:1]:
            raise ValueError("a mixture has means (K, D), and K standard deviations and weights")
        if not bool((self.stds >= 0).all() and (self.weights > 0).all()):
            raise ValueError("the parts of a mixture have standard deviations of 0 or more, and positive weights")

    @staticmethod
    def around(points: Tensor, std: float = 0.0) -> "Mixture":
        """Equal Gaussians around each of ``points`` (K, D): a data set, if ``std`` is 0."""
        ones = torch.ones_like(points[:, 0])
        return Mixture(means=points, stds=std * ones, weights=ones)

    def part(self, k: int) -> "Mixture":
        """Gaussian ``k`` alone: the data of one class."""
        return Mixture(means=self.means[k : k + 1], stds=self.stds[k : k + 1], weights=self.weights[k : k + 1])

    def denoiser(self, schedule: Schedule) -> DenoiseFn:
        """Equation (3), for times where sigma or every ``stds`` is above 0; in the type of the state."""

        def denoise(x: Points, t: Tensor) -> Points:
            alpha, sigma = (value.to(x).reshape(-1, 1) for value in schedule(t.double()))
            m, s = self.means.to(x), self.stds.to(x)
            v = alpha**2 * s**2 + sigma**2
            share = torch.softmax(self._logits(x, alpha, v), dim=1) / v
            return alpha * (share * s**2).sum(1, keepdim=True) * x + sigma**2 * (share @ m)

        return denoise

    def log_density(self, x: Points, alpha: float = 1.0, sigma: float = 0.0) -> PerSample:
        """ln p of noised data, in nats; of the data themselves by default, whose ``stds`` are then above 0."""
        v = alpha**2 * self.stds.to(x) ** 2 + sigma**2
        whole = torch.log(2 * math.pi * self.weights.to(x).sum() ** (2 / x.shape[1]))
        return torch.logsumexp(self._logits(x, torch.full_like(x[:1, :1], alpha), v), dim=1) - 0.5 * x.shape[1] * whole

    def _logits(self, x: Tensor, alpha: Tensor, v: Tensor) -> Tensor:
        """ln of equation (2), (B, K), up to a constant."""
        square = (x[:, None] - alpha[..., None] * self.means.to(x)).square().sum(-1)
        return torch.log(self.weights.to(x)) - 0.5 * x.shape[1] * torch.log(v) - 0.5 * square / v

    def draw(self, draws: Draws) -> Points:
        """One point of the data for each sample, (B, D) float32."""
        edges = torch.cumsum(self.weights / self.weights.sum(), 0)
        chosen = torch.searchsorted(edges, draws.uniform("part").to(edges)).clamp(max=len(edges) - 1)
        eps = draws.normal("place", self.means.shape[1])
        return self.means[chosen].float() + self.stds[chosen, None].float() * eps

    def quantiles(self, count: int) -> Tensor:
        """``(count,)`` equally likely values of a mixture in one dimension, in order; float64, by bisection.

        Raises:
            ValueError: it has more dimensions.
        """
        if self.means.shape[1] != 1:
            raise ValueError("only numbers have an order: take a mixture in one dimension")
        m, s, w = self.means[:, 0].double(), self.stds.double(), self.weights.double() / self.weights.double().sum()
        wanted = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        low, high = ((m + side * 10 * s).aminmax()[side > 0] * torch.ones_like(wanted) for side in (-1, 1))
        for _ in range(60):
            middle = (low + high) / 2
            below = (w * torch.special.ndtr((middle[:, None] - m) / s)).sum(1) < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


def score(x: Samples, x0: Samples, t: Tensor, schedule: Schedule) -> Samples:
    """Equation (4), from a denoiser's answer ``x0`` at ``x``; for times t, () or (B,), where sigma is above 0."""
    alpha, sigma = (value.to(x) for value in schedule(t.double()))
    return (expand(alpha, x) * x0 - x) / expand(sigma, x) ** 2
