"""Deep features of a network reused between neighbouring steps of one sampling (Ma, Fang and Wang, "DeepCache:
Accelerating Diffusion Models for Free", 2024).

What the lower levels of a U-Net say changes little from one step to the next. So of N evaluations the first computes
everything, and the others compute the first levels alone, on top of what the lower ones said last. What is remembered
belongs to one sampling and to one side of its guidance, never to the network.
"""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from carrara.backbone.base import Layered
from carrara.types import Conditioning

LEVELS = 1
"""The levels that are computed at every step: the one of full size."""


@final
class Memory:
    """The deep features of one side of one sampling.

    Args:
        every: N; of as many evaluations one computes them.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.deep: Tensor | None = None
        self.uses = 0

    def stale(self, count: int) -> bool:
        """Whether these have been used often enough, or are none of ``count`` samples."""
        return self.deep is None or self.uses >= self.every or len(self.deep) != count

    def recall(self) -> Tensor:
        """The features, once more."""
        assert self.deep is not None
        self.uses += 1
        return self.deep

    def keep(self, deep: Tensor) -> None:
        """Remembers those of an evaluation, which was their first use."""
        self.deep, self.uses = deep, 1


def agree(memories: Sequence[Memory], count: int) -> bool:
    """Whether features of ``count`` samples each are there for all; if not, all forget theirs, and go on together."""
    known = not any(memory.stale(count) for memory in memories)
    if not known:
        for memory in memories:
            memory.deep = None
    return known


@final
class Reusing(nn.Module):
    """A network as one sampling asks it.

    Args:
        memories: one for each equal part of a batch.
    """

    def __init__(self, network: Layered, memories: Sequence[Memory]) -> None:
        super().__init__()
        self.network, self.memories = network, memories

    def forward(self, x: Tensor, noise_level: Tensor, cond: Conditioning) -> Tensor:
        """As the network's own."""
        if agree(self.memories, len(x) // len(self.memories)):
            deep = torch.cat([memory.recall() for memory in self.memories])
            return self.network.partly(x, noise_level, cond, deep, LEVELS)[0]
        answer, deep = self.network.partly(x, noise_level, cond, None, LEVELS)
        for memory, part in zip(self.memories, deep.detach().chunk(len(self.memories)), strict=True):
            memory.keep(part)
        return answer
