"""A network's estimate of the data under a condition: what guidance, windows and samplers are made around."""

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from carrara.denoiser import Denoiser
from carrara.sample import Both
from carrara.types import Conditioning, DenoiseFn

TOGETHER = 16
"""Samples whose two sides of guidance are asked in one call; of more, two calls are as fast, in half the memory."""


@final
@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A ``DenoiseFn`` of a network that is told ``cond``.

    Attributes:
        network: as it is to be called in ``autocast``; see ``nn.lowered``.
        autocast: what it multiplies in. The context lasts one call, not from one step to the next.
    """

    network: Denoiser
    cond: Conditioning
    autocast: torch.dtype = torch.float32

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        with torch.autocast(x_t.device.type, self.autocast, enabled=self.autocast is not torch.float32):
            return self.network(x_t, t, self.cond)

    def with_null(self, null: DenoiseFn) -> Both | None:
        """This estimate and ``null``, of few samples by one call; None where no network answers both."""
        if not isinstance(null, Estimate) or null.network is not self.network:
            return None
        pair = replace(self, cond=self.cond.then(null.cond))

        def both(x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            if len(x_t) > TOGETHER:
                return self(x_t, t), null(x_t, t)
            ours, theirs = pair(torch.cat([x_t, x_t]), torch.cat([t, t]) if t.ndim else t).chunk(2)
            return ours, theirs

        return both
