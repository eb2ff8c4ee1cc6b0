r"""The density that a denoiser's probability flow gives to data (Song et al., "Score-Based Generative Modeling", 2021).

The flow carries data to noise and back without loss, so it says not only what data look like but how likely they are.
Every schedule has the same flow in the coordinates

.. math:: z = x_t / \sqrt{\alpha^2 + \sigma^2}, \quad c = \alpha / \sqrt{\alpha^2 + \sigma^2}, \quad
          w = -\operatorname{arsinh}(\alpha / \sigma), \quad c = -\tanh w                                          (1)

where it neither is stiff near the data, w towards minus infinity, nor ends before pure noise, w = 0:

.. math:: \frac{dz}{dw} = c z - \hat x_0, \qquad
          \frac{d \ln p(z)}{dw} = -\operatorname{div} = -\Big( n c - \operatorname{tr}
          \frac{\partial \hat x_0}{\partial z} \Big)                                                               (2)

for n dimensions. What is noise at the end, N(0, I), gives the density of y = x_t / alpha at the beginning,

.. math:: \ln p(y) = \ln N(z_1; 0, I) + \int \operatorname{div} dw + n \ln c.                                      (3)

That is the law of data with noise of standard deviation ``sigma_min`` added, a density whatever the denoiser: it
integrates to 1. A network that predicts the noise says x_0 ever less certainly towards pure noise: its error there is
divided by alpha. So where a schedule ends before pure noise, the last part of the way is divided in equal parts of
u = ln -w, with dw/du = w, in which equation (2) stays bounded. The trace is estimated with random signs v (Hutchinson,
1990; Grathwohl et al., "FFJORD", 2019),

.. math:: \operatorname{tr} J = E[v^T J v],                                                                        (4)

the same v all along the way, or computed by n products with J in the place of a few. Whole numbers have no density: for
levels of the width 2 / 255, E ln p(x + u) over u uniform in the bin is a bound of their log-probability (Theis et al.,
"A note on the evaluation of generative models", 2016), if the width's logarithm is added for each dimension.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.noise import LEVELS, Schedule
from carrara.seeds import Draws
from carrara.shapes import PerSample, Samples
from carrara.types import DenoiseFn

SMALLEST = 0.002
"""The least noise-to-signal ratio that networks are asked about."""
TAIL = 0.1
"""-w where the last part of the way begins, on schedules that end before pure noise."""

Probes = Float[Tensor, "P B *S"]
"""Random signs, P for each sample."""


@dataclass(frozen=True)
class Flowed:
    """Where the probability flow carries samples, and what that says.

    Attributes:
        log_density: (B,) equation (3), in nats, float64.
        latent: (B, *S) z_1, standard normal if the denoiser is right; x_1 itself where variance is preserved.
    """

    log_density: PerSample
    latent: Samples


def log_density(
    denoise: DenoiseFn,
    x: Samples,
    schedule: Schedule,
    *,
    sigma_min: float | None = None,
    steps: int = 64,
    probes: Probes | None = None,
) -> Flowed:
    """Equation (3) for each sample, by ``steps`` steps of the classical Runge-Kutta method, 4 evaluations each.

    The last part of the way, where there is one, takes a quarter more.

    Args:
        x: (B, *S) data. Arithmetic is in its type.
        sigma_min: the noise-to-signal ratio to begin at; None is ``first_level``.
        probes: v of equation (4), from ``rademacher``; None computes the trace, which takes n products.

    Raises:
        ValueError: the schedule has no level as clean as ``sigma_min``, or there is no step.
    """
    way = _way(schedule, first_level(schedule) if sigma_min is None else sigma_min, steps)
    n, begin = x[0].numel(), way[0][0]
    z, integral = begin.c * x, x.new_zeros(len(x), dtype=torch.float64)
    for first, middle, last in way:
        h = last.u - first.u
        k1, d1 = _slope(denoise, z, first, probes)
        k2, d2 = _slope(denoise, z + h / 2 * k1, middle, probes)
        k3, d3 = _slope(denoise, z + h / 2 * k2, middle, probes)
        k4, d4 = _slope(denoise, z + h * k3, last, probes)
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        integral = integral + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
    normal = -0.5 * (z.double().square() + math.log(2 * math.pi)).flatten(1).sum(1)
    return Flowed(normal + integral + n * math.log(begin.c), z)


def first_level(schedule: Schedule) -> float:
    """The noise-to-signal ratio at which data begin: a network's own first step, or else ``SMALLEST``."""
    t = 1 / schedule.discrete_steps if schedule.discrete_steps else 0.0
    own = math.exp(-schedule.half_logsnr(torch.tensor(t, dtype=torch.float64)).item())
    return max(own, SMALLEST)


def rademacher(draws: Draws, shape: tuple[int, ...], count: int = 1) -> Probes:
    """Random signs (count, B, *shape), float32, for equation (4)."""
    u = draws.uniform("probes", count, *shape)
    return torch.where(u < 0.5, -1.0, 1.0).transpose(0, 1)


def dequantized(x: Samples, draws: Draws) -> Samples:
    """Data (B, *S) of 256 levels in [-1, 1], each spread uniformly over its bin."""
    return x + (draws.uniform("dequantization", *x.shape[1:]).to(x) - 0.5) * (2 / (LEVELS - 1))


@dataclass(frozen=True, kw_only=True)
class _Node:
    """Equation (1) at one time.

    Attributes:
        t: (), float64.
        u: w, or ln -w in the last part of the way.
        speed: dw/du.
        scale: of x_t in units of z.
    """

    t: Tensor
    u: float
    speed: float
    c: float
    scale: float


def _way(schedule: Schedule, sigma_min: float, steps: int) -> list[tuple[_Node, _Node, _Node]]:
    """Beginning, middle and end of each step, from ``sigma_min`` to t = 1."""
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    clean = torch.exp(-schedule.half_logsnr(ends))[0].item()
    if steps < 1 or sigma_min <= 0 or sigma_min < clean * (1 - 1e-9):
        raise ValueError(
            f"a flow takes 1 step or more, from a level above 0 that the schedule has, {clean:g} at least: got "
            f"steps={steps} and sigma_min={sigma_min:g}"
        )
    alpha, sigma = schedule(ends)
    first, last = -math.asinh(1 / sigma_min), -torch.asinh(alpha / sigma)[1].item()
    tail = steps // 4 if first < -TAIL < last < 0 else 0
    w = torch.linspace(first, -TAIL if tail else last, 2 * steps + 1, dtype=torch.float64)
    way = _steps(schedule, w, w, torch.ones_like(w))
    if tail:
        u = torch.linspace(math.log(TAIL), math.log(-last), 2 * tail + 1, dtype=torch.float64)
        way += _steps(schedule, -u.exp(), u, -u.exp())
    return way


def _steps(schedule: Schedule, w: Tensor, u: Tensor, speed: Tensor) -> list[tuple[_Node, _Node, _Node]]:
    t = schedule.time_of(torch.log(torch.sinh(-w)))
    rows = zip(u.tolist(), speed.tolist(), torch.tanh(-w).tolist(), torch.hypot(*schedule(t)).tolist(), strict=True)
    nodes = [_Node(t=at, u=u, speed=v, c=c, scale=scale) for at, (u, v, c, scale) in zip(t, rows, strict=True)]
    return list(zip(nodes[:-1:2], nodes[1::2], nodes[2::2], strict=True))


def _slope(denoise: DenoiseFn, z: Tensor, node: _Node, probes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Equation (2), times dw/du: dz/du, and div (B,)."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        x0 = denoise(node.scale * z, node.t.to(z.device))
        trace = _trace(x0, z, probes)
    return node.speed * (node.c * z - x0).detach(), node.speed * (z[0].numel() * node.c - trace)


def _trace(x0: Tensor, z: Tensor, probes: Tensor | None) -> Tensor:
    """The trace of the Jacobian of x0 by z, (B,) float64: exact, or equation (4)."""
    directions = _axes(z) if probes is None else iter(probes)
    total = x0.new_zeros(len(z), dtype=torch.float64)
    for v in (direction.to(x0) for direction in directions):
        (product,) = torch.autograd.grad(x0, z, v, retain_graph=True)
        total = total + (product * v).double().flatten(1).sum(1)
    return total.detach() / (1 if probes is None else len(probes))


def _axes(z: Tensor) -> Iterator[Tensor]:
    """The unit vectors of a sample's space, each (B, *S)."""
    for axis in torch.eye(z[0].numel(), device=z.device):
        yield axis.reshape(z.shape[1:]).expand_as(z)
