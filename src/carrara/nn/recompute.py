"""Less memory in training: of a block only the inputs are kept, and the rest is computed again for its gradient (Chen
et al., "Training Deep Nets with Sublinear Memory Cost", 2016), dropout and precision included."""

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from carrara.nn.layers import modules_of


class Recomputed(nn.Module):
    """A block that may do so.

    Attributes:
        recompute: whether it does, in training.
    """

    recompute: bool = False

    def __call__(self, *inputs: Any) -> Any:
        if self.recompute and self.training and torch.is_grad_enabled():
            return checkpoint(super().__call__, *inputs, use_reentrant=False)
        return super().__call__(*inputs)


def recompute(network: nn.Module, wanted: bool = True) -> int:
    """Sets it for all blocks of a network; returns how many there are."""
    blocks = modules_of(network, Recomputed)
    for block in blocks:
        block.recompute = wanted
    return len(blocks)
