r"""Wrappers of a denoiser: each takes ``DenoiseFn`` and returns ``DenoiseFn``, so that they compose.

Classifier-free guidance (Ho and Salimans, 2022) extrapolates from the estimate without a condition to the one with it,

.. math:: \hat x_0 = \hat x_0^{null} + w (\hat x_0^{cond} - \hat x_0^{null}).                                     (1)

Here w = 1 is off; the paper's own w is ours minus 1. The result is no density's denoiser in general: between Gaussians
of equal variance it is that of N(mu_null + w (mu_cond - mu_null), s^2), but with unequal ones the flow ends with the
standard deviation s_cond^w s_null^(1 - w). A large w makes estimates larger than any picture, which the other wrappers
repair.
"""

import math

import torch
from torch import Tensor

from carrara.shapes import Samples, expand
from carrara.types import DenoiseFn


def guide(
    cond: DenoiseFn,
    null: DenoiseFn,
    scale: float,
    *,
    interval: tuple[float, float] = (0.0, 1.0),
    rescale: float = 0.0,
) -> DenoiseFn:
    """Equation (1), for any two denoisers.

    Args:
        cond: with the condition.
        null: without it, or with one to be avoided; never called at ``scale`` 1.
        scale: w.
        interval: the times [low, high] of guidance; outside only ``cond`` counts (Kynkäänniemi et al., "Applying
            Guidance in a Limited Interval", 2024).
        rescale: how far, from 0 to 1, to bring each sample's standard deviation back to the conditional estimate's (Lin
            et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", 2024, equations 15 and 16).

    Raises:
        ValueError: ``interval`` or ``rescale`` is out of range.
    """
    low, high = interval
    if not 0 <= low <= high <= 1:
        raise ValueError(f"the guidance interval lies in [0, 1], low before high, got {interval}")
    if not 0 <= rescale <= 1:
        raise ValueError(f"rescale goes from 0 to 1, got {rescale}")
    if scale == 1:
        return cond

    def guided(x: Samples, t: Tensor) -> Samples:
        with_condition = cond(x, t)
        inside = (low <= t) & (t <= high)
        if not inside.any():
            return with_condition
        without = null(x, t)
        w = torch.ones_like(t).masked_fill(inside, scale)
        x0 = without + expand(w, x) * (with_condition - without)
        return torch.lerp(x0, x0 * _std_ratio(with_condition, x0), rescale) if rescale else x0

    return guided


def _std_ratio(wanted: Tensor, found: Tensor) -> Tensor:
    """std(wanted) / std(found) of each sample, to multiply ``found``; 1 where ``found`` is constant."""
    above, below = (v.flatten(1).std(dim=1, correction=0) for v in (wanted, found))
    return expand(torch.where(below > 0, above / below, 1.0), found)


def dynamic_threshold(denoise: DenoiseFn, percentile: float = 0.995) -> DenoiseFn:
    """Shrinks each sample whose values leave [-1, 1] until only the share above ``percentile`` is clipped (Saharia et
    al., "Imagen", 2022, section 2.3).

    Args:
        percentile: in (0, 1], of the absolute values, by nearest rank.

    Raises:
        ValueError: ``percentile`` is out of range.
    """
    if not 0 < percentile <= 1:
        raise ValueError(f"percentile lies in (0, 1], got {percentile}")

    def thresholded(x: Samples, t: Tensor) -> Samples:
        x0 = denoise(x, t)
        size = x0.abs().flatten(1)
        limit = size.kthvalue(math.ceil(percentile * size.shape[1]), dim=1).values.clamp(min=1)
        limit = expand(limit, x0)
        return torch.clamp(x0, -limit, limit) / limit

    return thresholded


def clip(denoise: DenoiseFn) -> DenoiseFn:
    """Clips estimates to [-1, 1], where pixels lie; not for latents (Ho et al., 2020)."""
    return lambda x, t: denoise(x, t).clamp(-1, 1)
