r"""Something more is known about the data: the denoiser of a tilted law.

If c has the likelihood p(c | x0), the data that go with it have the density p(x0 | c), and noised they have the score

.. math:: \nabla \log p(x_t | c) = \nabla \log p(x_t) + \nabla \log p(c | x_t).                                  (1)

By Tweedie's formula, :math:`\hat x_0 = (x_t + \sigma^2 \nabla \log p(x_t)) / \alpha`, its denoiser is the old one and

.. math:: \hat x_0^c = \hat x_0 + \frac{\sigma^2}{\alpha} \nabla_{x_t} \log p(c | x_t).                           (2)

**Classifier guidance** (Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021, section 4) asks a
classifier that has learned from noised data, and weighs its answer by a scale w. At w = 1 equation (2) is Bayes' rule;
a larger w asks for data about which the classifier is more certain, of a law that has no exact denoiser in general.
``sample.inverse`` takes for c a measurement of the data.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from carrara.noise import Schedule
from carrara.shapes import Samples, expand
from carrara.types import DenoiseFn

LogProb = Callable[[Tensor, Tensor], Tensor]
"""``(x_t (B, *S), t () or (B,)) -> log p(c | x_t)`` in nats, (B,), differentiable."""
FAINTEST = 0.01
"""Alpha / sigma below which the state says next to nothing about the data. There the gradient is nearly 0, and divided
by alpha it would be its own rounding errors."""


def tweedie(x0: Samples, gradient: Samples, t: Tensor, schedule: Schedule) -> Samples:
    """Equation (2), with alpha at least ``FAINTEST`` sigma.

    Args:
        gradient: of log p(c | x_t), like ``x0``.
        t: () or (B,).
    """
    alpha, sigma = schedule(t)
    scale = sigma**2 / torch.maximum(alpha, FAINTEST * sigma)
    return x0 + expand(scale, x0).to(x0) * gradient


def classifier_guided(denoise: DenoiseFn, log_prob: LogProb, schedule: Schedule, scale: float = 1.0) -> DenoiseFn:
    """Equation (2) with w log p(c | x_t): guides any model, also one that was never told a class.

    Args:
        denoise: any model's.
        log_prob: of what is asked for, by a classifier of the same states x_t.
        scale: w; 0 is off.
    """
    if scale == 0:
        return denoise

    def guided(x_t: Samples, t: Tensor) -> Samples:
        with torch.enable_grad():
            x = x_t.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(log_prob(x, t).sum(), x)
        return tweedie(denoise(x_t, t), scale * gradient, t, schedule)

    return guided
