"""The form in which a network answers only, where training would have every weight in float32.

Under autocast, matrix products and convolutions convert their weights at each call. In the inference form they are
converted once, and so is what is derived from weights; the numbers are the same to the bit.
"""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from carrara.nn.layers import RANKS, Upsample, modules_of

_M = TypeVar("_M", bound=nn.Module)
_LOWERED = (nn.Linear, *(rank.convolution for rank in RANKS.values()))


def lowered(module: _M, dtype: torch.dtype) -> _M:
    """A copy of a network to be called under autocast to ``dtype``, for as long as the network's weights do not change.

    It shares every tensor with the network but the weights of its linear layers and convolutions, which it has in
    ``dtype``, without gradients.
    """
    known = {id(shared): shared for shared in (*module.parameters(), *module.buffers())}
    for layer in (layer for kind in _LOWERED for layer in modules_of(module, kind)):
        known |= {id(p): _converted(p, dtype) for p in layer.parameters(recurse=False)}
    made = copy.deepcopy(module, known)
    for ours, theirs in zip(modules_of(made, Upsample), modules_of(module, Upsample), strict=True):
        ours.kernel = theirs.doubling().detach().to(dtype)
    return made


def _converted(weights: nn.Parameter, dtype: torch.dtype) -> Tensor:
    return nn.Parameter(weights.detach().to(dtype), requires_grad=False)
