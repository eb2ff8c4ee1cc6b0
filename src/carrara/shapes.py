"""Shape annotations, executed under the tests, and the one way to broadcast a number per sample and to
fill up a picture.

Letters: ``B`` batch, ``S`` everything else of a sample (``C H W`` for pictures and latents, ``D`` for points).
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Samples = Float[Tensor, "B *S"]
"""One array per sample: pictures ``(B, C, H, W)``, latents, or points ``(B, D)``."""
PerSample = Float[Tensor, "B"]
"""One number per sample."""
Scalars = Float[Tensor, "*N"]
"""Numbers of any shape; the result has the same."""
Indices = Int[Tensor, "B"]
"""One whole number per sample."""
Keep = Bool[Tensor, "B"]
"""One decision per sample."""


def expand(per_sample: Float[Tensor, "..."], like: Tensor) -> Tensor:
    """Reshapes ``()`` or ``(B,)`` so that it multiplies ``(B, *S)`` sample by sample.

    A plain product would broadcast ``(B,)`` along the *last* axis, silently so when the width happens to be ``B``.

    Raises:
        ValueError: ``per_sample`` is neither a scalar nor one number per sample of ``like``.
    """
    if per_sample.ndim == 0:
        return per_sample.to(like.device)
    if per_sample.shape != like.shape[:1]:
        raise ValueError(f"expected () or ({like.shape[0]},) numbers, got {tuple(per_sample.shape)}")
    return per_sample.to(like.device).reshape(-1, *[1] * (like.ndim - 1))


def padded(x: Tensor, factor: int) -> Tensor:
    """Repeats the last row and column of (B, C, H, W) until the factor divides height and width."""
    down, right = -x.shape[-2] % factor, -x.shape[-1] % factor
    return F.pad(x, (0, right, 0, down), mode="replicate") if down or right else x
