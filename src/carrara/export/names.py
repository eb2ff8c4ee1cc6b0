"""Weights under other names: each of our tensors is one of theirs, or several of theirs, one below the other."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from carrara.naming import Names
from carrara.nn.layers import modules_of


def written(state: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    """Our tensors under their names."""
    found: dict[str, Tensor] = {}
    for name, parts in names.items():
        found |= dict(zip(parts, (one.contiguous().clone() for one in state[name].chunk(len(parts))), strict=True))
    return found


def shapes(state: Mapping[str, Tensor], names: Names) -> dict[str, tuple[int, ...]]:
    """Those of ``written``, without their numbers."""
    return {
        one: (state[name].shape[0] // len(parts), *state[name].shape[1:])
        for name, parts in names.items()
        for one in parts
    }


def read(found: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    """Their tensors under our names."""
    return {
        name: found[parts[0]] if len(parts) == 1 else torch.cat([found[part] for part in parts])
        for name, parts in names.items()
    }


def number_of_groups(network: nn.Module) -> int:
    """In how many groups all group norms of a network are.

    Raises:
        ValueError: not in as many; as it follows after "with".
    """
    found = sorted({norm.num_groups for norm in modules_of(network, nn.GroupNorm)})
    if len(found) > 1:
        raise ValueError(f"group norms of {' and '.join(map(str, found))} groups")
    return found[0]
