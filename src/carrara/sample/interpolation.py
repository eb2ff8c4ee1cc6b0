r"""Between two noises, and between and beyond several wishes.

In many dimensions noise lies near a sphere, which a straight line leaves and spherical interpolation follows (Shoemake,
"Animating Rotation with Quaternion Curves", 1985). With the angle :math:`\Omega` between a and b,

.. math:: x = \frac{\sin (1 - w) \Omega}{\sin \Omega} a + \frac{\sin w \Omega}{\sin \Omega} b.                    (1)

Independent noises stand nearly at right angles, so that their mixture is as likely as they are.

Several wishes are joined by composing their estimates (Liu et al., "Compositional Visual Generation with Composable
Diffusion Models", 2022, equation 11),

.. math:: \hat x_0 = \hat x_0^{null} + \sum_i w_i (\hat x_0^i - \hat x_0^{null}).                                 (2)

Weights of 1 each ask for all wishes at once, as the product of what each does to the unconditional density; weights
that add up to 1 mix them, and need no null; a weight below 0 avoids one. Between Gaussians of equal variance the result
is the Gaussian with mean :math:`\mu_{null} + \sum w_i (\mu_i - \mu_{null})`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.shapes import Samples, Scalars, expand
from carrara.types import DenoiseFn

PARALLEL = 1e-4
"""The sine of an angle below which (1) is a straight line."""


def slerp(a: Samples, b: Samples, w: Scalars) -> Samples:
    """Equation (1), with the angle of each sample: lengths go over into each other, too.

    Args:
        a, b: (B, *S).
        w: () or (B,), 0 is a and 1 is b.
    """
    u, v = (x.flatten(1).double() for x in (a, b))
    angle = torch.acos(torch.cosine_similarity(u, v).clamp(-1, 1))
    w = w.to(angle)
    straight = torch.sin(angle) < PARALLEL
    ours = torch.where(straight, 1 - w, torch.sin((1 - w) * angle) / torch.sin(angle))
    theirs = torch.where(straight, w, torch.sin(w * angle) / torch.sin(angle))
    return expand(ours, a).to(a) * a + expand(theirs, b).to(b) * b


def compose(wishes: Sequence[DenoiseFn], weights: Float[Tensor, "N B"], null: DenoiseFn) -> DenoiseFn:
    """Equation (2), with weights for each wish and sample.

    Args:
        wishes: one denoiser for each, at least one.
        weights: w, on any device.
        null: told nothing; never called where the weights add up to 1.
    """
    rest = 1 - weights.double().sum(0)
    needed = bool((rest.abs() > 1e-6).any())

    def composed(x: Samples, t: Tensor) -> Samples:
        parts = [expand(w.to(x), x) * wish(x, t) for wish, w in zip(wishes, weights, strict=True)]
        return torch.stack([*parts, expand(rest.to(x), x) * null(x, t)] if needed else parts).sum(0)

    return composed


def blend(first: DenoiseFn, second: DenoiseFn, w: Float[Tensor, "B"]) -> DenoiseFn:
    """Equation (2) between two wishes, of which each sample is told its own share w of the second."""
    return compose([first, second], torch.stack([1 - w, w]), first)
