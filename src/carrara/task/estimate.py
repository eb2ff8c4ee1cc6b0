"""A network's estimate of the data under a condition: what guidance, windows and samplers are made around."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from carrara.denoiser import Denoiser
from carrara.types import Conditioning


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
