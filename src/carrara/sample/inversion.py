r"""From data to the noise that deterministic sampling makes them of: DDIM backwards, refined until it truly is so.

With k and r of ``base``'s equations (1) and (2), a step of DDIM down from t to s < t is

.. math:: x_s = G(x_t) = k x_t + c \, \hat x_0(x_t, t), \qquad k = \sigma_s / \sigma_t, \quad
          c = \alpha_s - k \alpha_t.                                                                              (1)

To go up, it is solved for x_t. The inversion of Song et al. ("DDIM", 2021, section 4.3) takes the estimate at x_s for
that at x_t; each step errs by the square of its length, so the way there and back errs in proportion to the length.
From that guess on, x_t is refined by what is missing (Pan et al., "Effective Real Image Editing with Accelerated
Iterative Diffusion Inversion", 2023; Garibi et al., "ReNoise", 2024, iterate with gamma = 1 / k),

.. math:: x_t \leftarrow x_t + \gamma (x_s - G(x_t)).                                                             (2)

The error is multiplied by :math:`1 - \gamma G'`. An exact denoiser's Jacobian is :math:`\alpha \operatorname{Cov}[x_0 |
x_t] / \sigma^2`; its eigenvalues are at least 0, and for Gaussian data of n values whose squares add up to n, at most

.. math:: \frac{\alpha n}{\alpha^2 n + \sigma^2}, \qquad \text{so} \qquad
          k \le G' \le u = k + c \frac{\alpha_t n}{\alpha_t^2 n + \sigma_t^2}.                                    (3)

The best gamma for such a G' is :math:`2 / (k + u)`, which multiplies the error by :math:`(u - k) / (u + k)` or less,
always below 1, where 1 / k would diverge as soon as u > 2 k: at long steps, and near the data. If s is clean data, k
is 0, and gamma is 1 / u: what the denoiser can make at all is approached, and the rest stays a small error, for
:math:`\hat x_0` cannot leave what the data are like. If t is pure noise, an exact denoiser says the same to every x_t;
a network does nearly so, and u is k. Other data, networks and guidance may break (3). So for each sample alone a
refinement that leaves more missing than before is taken back, and gamma is halved.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from carrara.noise import Schedule
from carrara.sample.base import SampleStep, Step, Times, walk
from carrara.shapes import PerSample, Samples, expand
from carrara.types import DenoiseFn


def invert(
    denoise: DenoiseFn, x: Samples, times: Times, schedule: Schedule, *, refinements: int = 5
) -> Iterator[SampleStep]:
    """Goes up a grid from data to noise; ``Ddim()`` on the same grid, downwards, comes back.

    Each ``SampleStep`` holds the state at a time; the last one is what to begin from.

    Args:
        denoise: the one that will go down again, called ``refinements`` + 1 times a step.
        x: (B, *S) the state at ``times[0]``, usually data. Arithmetic is in its type and on its device.
        times: increasing, such as a ``TimeGrid``'s backwards.
        refinements: how often (2) is done in each step; 0 is plain DDIM inversion.

    Raises:
        ValueError: a negative number of refinements.
    """
    if refinements < 0:
        raise ValueError(f"an inversion has 0 refinements or more, got {refinements}")
    x0 = x
    for step in walk(times, schedule):
        if step.index == 0 and step.t.sigma > 0:
            x0 = denoise(x, step.now(x))
        down = Step(index=step.index, total=step.total, t=step.s, s=step.t)
        x, x0 = _solved(denoise, x, step.mean(x, x0), down, refinements)
        yield step.done(x, x0)


def _solved(denoise: DenoiseFn, below: Tensor, guess: Tensor, down: Step, refinements: int) -> tuple[Samples, Samples]:
    """The state from which the step ``down`` leads to ``below``, by equation (2), and its estimate."""
    x, x0 = guess, denoise(guess, down.now(guess))
    missing = below - down.mean(x, x0)
    gamma = x.new_full((len(x),), _gamma(down, x[0].numel()))
    for _ in range(refinements):
        tried = x + expand(gamma, x) * missing
        tried_x0 = denoise(tried, down.now(tried))
        still = below - down.mean(tried, tried_x0)
        better = _size(still) < _size(missing)
        kept = better.reshape(-1, *[1] * (x.ndim - 1))
        x, x0 = torch.where(kept, tried, x), torch.where(kept, tried_x0, x0)
        missing = torch.where(kept, still, missing)
        gamma = torch.where(better, gamma, gamma / 2)
    return x, x0


def _gamma(down: Step, n: int) -> float:
    """Equation (2)'s gamma for samples of n values."""
    t, k = down.t, down.s.sigma / down.t.sigma
    slope = t.alpha * n / (t.alpha**2 * n + t.sigma**2)
    u = k + (down.s.alpha - k * t.alpha) * slope
    if k > 0:
        return 2 / (k + u)
    return 1 / u if u > 0 else 1.0  # from pure noise to data in a single step, which says nothing of the noise


def _size(missing: Tensor) -> PerSample:
    """What is missing of each sample, squared."""
    return missing.flatten(1).square().sum(1)
