r"""Inverse problems of latents: what was the picture of which y is a measurement, where a decoder D makes pictures?

.. math:: y = A D(z_0) + s \epsilon.                                                                              (1)

A gradient to x_t, as in ``sample.inverse``, goes back through a decoder that is far from linear where latents are far
from those of pictures, and is divided by alpha: the first estimates overshoot, and the rest cannot make up for it. But
Tweedie's formula says of what size the change of the estimate is to be: Cov[z_0 | x_t] times the gradient to z_0. Of
whitened latents the covariance is about that of Gaussian ones,

.. math:: z_0 \mid x_t \sim N(\hat z_0, r_t^2 I), \qquad r_t^2 = \frac{\sigma^2}{\alpha^2 + \sigma^2} \le 1,     (2)

and with it the most probable latents given x_t and y minimise

.. math:: F(z) = |y - A D(z)|^2 / s^2 + |z - \hat z_0|^2 / r_t^2.                                                (3)

Nothing is divided by alpha, and no gradient goes through the network. This is the data step of DiffPIR (Zhu et al.,
"Denoising Diffusion Models for Plug-and-Play Image Restoration", 2023) for latents, as ReSample (Song et al., "Solving
Inverse Problems with Latent Diffusion Models via Hard Data Consistency", 2024) has it; both then add fresh noise,
which a sampler such as ``Ddpm`` does. For Gaussian latents and a linear decoder the minimum is the exact denoiser.

A step of Gauss and Newton from :math:`\hat z_0`, where D has the Jacobian J, goes to

.. math:: z = \hat z_0 + r_t^2 J^\top A^\top w, \qquad S w = y - A D(\hat z_0), \qquad
          S = r_t^2 A J J^\top A^\top + s^2 I.                                                                    (4)

S is solved by conjugate gradients (Hestenes and Stiefel, 1952). Were J J^T equal to d^2 I, a measurement could solve it
itself, and so it is preconditioned; then one iteration is all. Of other decoders few iterations find what y says most
clearly, and leave alone what only a large change of z would explain. A step that makes (3) worse, which that of a
linear D never does, is shortened.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from carrara.noise import Schedule
from carrara.pixels import Pictures
from carrara.sample.operators import Measured, Measurement
from carrara.shapes import PerSample, Samples, expand
from carrara.types import DenoiseFn

ITERATIONS = 3
"""Of conjugate gradients at each estimate."""
LENGTHS = 1.0, 1 / 3, 1 / 9
"""Of a step, that are tried one after the other; where none makes (3) less, the estimate stays."""

Seen = Callable[[Tensor], Measured]
"""A D(z)."""


def reconciled(
    denoise: DenoiseFn,
    y: Measured,
    measure: Measurement,
    schedule: Schedule,
    *,
    decode: Callable[[Tensor], Pictures],
    spread: float,
    s2: float,
) -> DenoiseFn:
    """The denoiser of the whitened latents of whose pictures ``y`` is a measurement, by equation (3).

    Args:
        denoise: any model's of latents; it is called without gradients.
        y: (1 or B, C', H', W').
        measure: A.
        decode: D, twice differentiable: J v is the derivative of J^T w along w.
        spread: d, the standard deviation of the pictures' values.
        s2: s^2, above 0.
    """

    def seen(z: Tensor) -> Measured:
        return measure(decode(z))

    def given(x_t: Samples, t: Tensor) -> Samples:
        alpha, sigma = (value.item() for value in schedule(t))
        r2 = sigma**2 / (alpha**2 + sigma**2)
        with torch.no_grad():
            z0 = denoise(x_t, t)
        step = _step(seen, z0, y, r2, s2, lambda v: measure.solve(v, r2 * spread**2, s2))

        def f(z: Samples) -> PerSample:
            return _dot(y - seen(z), y - seen(z)) / s2 + _dot(z - z0, z - z0) / r2

        with torch.no_grad():
            return _lower(f, z0, step)

    return given


def _step(seen: Seen, z: Samples, y: Measured, r2: float, s2: float, inverse: Seen) -> Samples:
    """Equation (4): how far to go from z."""
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # other kernels have no second derivative
        x = z.detach().requires_grad_()
        made = seen(x)
        w0 = torch.zeros_like(made).requires_grad_()
        (linear,) = torch.autograd.grad(made, x, w0, create_graph=True)  # J^T A^T w0, whose derivative is A J

    def back(w: Measured) -> Samples:
        return torch.autograd.grad(made, x, w, retain_graph=True)[0]

    def s(w: Measured) -> Measured:
        return r2 * torch.autograd.grad(linear, w0, back(w), retain_graph=True)[0] + s2 * w

    return r2 * back(conjugate(s, (y - made).detach(), inverse, ITERATIONS))


def conjugate(matrix: Seen, b: Float[Tensor, "B ..."], inverse: Seen, iterations: int) -> Float[Tensor, "B ..."]:
    """Solves M x = b from x = 0, each sample by itself, by preconditioned conjugate gradients.

    Args:
        matrix: M, symmetric and positive definite.
        inverse: of about M, symmetric and positive definite, too.
    """
    x, rest = torch.zeros_like(b), b
    way = torch.zeros_like(b)
    before = torch.ones_like(_dot(b, b))
    for _ in range(iterations):
        near = inverse(rest)
        now = _dot(rest, near)
        way = near + expand(_ratio(now, before), b) * way
        ahead = matrix(way)
        length = expand(_ratio(now, _dot(way, ahead)), b)
        x, rest, before = x + length * way, rest - length * ahead, now
    return x


def _lower(f: Callable[[Samples], PerSample], z: Samples, step: Samples) -> Samples:
    """z moved along a step, as far as it lowers f."""
    start = f(z)
    chosen = torch.zeros_like(start)
    for length in LENGTHS:
        lower = f(z + length * step) <= start
        chosen = torch.where((chosen == 0) & lower, length, chosen)
        if chosen.all():
            break
    return z + expand(chosen, z) * step


def _dot(a: Tensor, b: Tensor) -> PerSample:
    return (a * b).flatten(1).sum(1)


def _ratio(a: PerSample, b: PerSample) -> PerSample:
    """a / b, and 0 where all is solved."""
    return torch.where(b > 0, a / b, torch.zeros_like(b))
