"""What the processes of one training know together. Where there is one, each function is the identity.

All ranks call them, in the same order; ``train.distributed`` starts the ranks and has what only a training needs.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def gathered(rows: Tensor) -> Tensor:
    """The rows of all ranks, in the order that one process alone would have them in; each rank has as many."""
    if world() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(world())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def average(values: Tensor) -> Tensor:
    """The mean over the ranks, in place."""
    if world() > 1:
        dist.all_reduce(values)
        values /= world()
    return values
