"""Weights, gradients, moments and averages that are parted among the ranks, by torch's FSDP2.

What learns is parted along its first axis; what is frozen, and numbers without an axis, are whole everywhere. A block
is put together when it computes and taken apart after it, the rest of the objective stays together for a step.

Zhao et al., "PyTorch FSDP: Experiences on scaling fully sharded data parallel", 2023.
"""

import os
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from carrara.errors import UserError, command
from carrara.objective.base import Objective
from carrara.ranks import average, world
from carrara.train.settings import Shard

if TYPE_CHECKING:  # importing it takes two seconds, and hardly any process shards
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor


def shard(objective: Objective, how: Shard | None) -> None:
    """Parts what learns of an objective, in place; nothing where no process was launched with others.

    Raises:
        UserError: the hosts have not as many processes each.
    """
    if how is None or not dist.is_initialized():
        return
    from torch.distributed.fsdp import fully_shard

    mesh, whole = _mesh(how, next(objective.parameters()).device), set(_whole(objective))
    for block in reversed(objective.blocks()):  # those within others first
        if any(p.requires_grad and p.ndim for p in block.parameters()):
            fully_shard(block, mesh=mesh, ignored_params=whole)
    fully_shard(objective, mesh=mesh, ignored_params=whole)


def unused(how: Shard | None) -> str | None:
    """A sentence, if parting is wanted and there is nobody to part with."""
    if how is None or dist.is_initialized():
        return None
    return f"train.shard={how} parts nothing in one process: '{command('train DATA', launch=2)}' starts two"


def is_sharded(module: nn.Module) -> bool:
    """Whether ``shard`` has parted it."""
    return isinstance(module, _loaded("torch.distributed.fsdp", "FSDPModule"))


@contextmanager
def together(objective: nn.Module) -> Generator[None, None, None]:
    """In this context every rank has the whole weights, and may compute with them, and save them, alone. All ranks
    enter it."""
    modules = list(objective.modules()) if is_sharded(objective) else []
    parts = [(m, name, p) for m in modules for name, p in m.named_parameters(recurse=False) if is_part(p.data)]
    hooks = [(one, one.copy()) for module in modules for one in _hooks(module)]
    found = {p: nn.Parameter(whole(p.detach()), p.requires_grad) for _, _, p in parts}
    try:
        for module, name, p in parts:
            module.register_parameter(name, found[p])
        for one, _ in hooks:  # FSDP's, which would send messages
            one.clear()
        yield
    finally:
        for module, name, p in parts:
            module.register_parameter(name, p)
        for one, before in hooks:
            one.update(before)


def synchronise(objective: nn.Module, when: bool) -> None:
    """Decides whether the next backward pass averages gradients over the ranks."""
    if is_sharded(objective):
        root: Any = objective
        root.set_requires_gradient_sync(when)


def averaged(objective: nn.Module) -> None:
    """Makes the gradients that FSDP does not see, those of numbers without an axis, their means over the ranks."""
    if is_sharded(objective):
        for p in _whole(objective):
            if p.grad is not None:
                average(p.grad)


def is_part(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether this rank may have only a part of a tensor."""
    return isinstance(tensor, _loaded("torch.distributed.tensor", "DTensor"))


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, on every rank; each of them asks."""
    return tensor.full_tensor() if is_part(tensor) else tensor


def own(tensor: Tensor) -> Tensor:
    """What this rank has of a tensor, sharing its memory."""
    return tensor.to_local() if is_part(tensor) else tensor


def as_sharded(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, parted as another one is; no message is sent."""
    if not is_part(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, of parts what this rank has."""
    from torch.distributed.checkpoint.staging import BlockingAsyncStager

    return BlockingAsyncStager().stage({name: tensor.detach() for name, tensor in tensors.items()})


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """The Euclidean norm of all together, (), the same on every rank."""
    tensors = list(tensors)
    parts = [t for t in tensors if is_part(t)]
    if not parts:
        return get_total_norm(tensors)
    here = get_total_norm([t for t in tensors if not is_part(t)])
    return torch.hypot(whole(get_total_norm(parts)), here.to(parts[0].device))


def _whole(objective: nn.Module) -> list[nn.Parameter]:
    return [p for p in objective.parameters() if not (p.requires_grad and p.ndim)]


def _hooks(module: nn.Module) -> list[dict[int, Any]]:
    """What is done before and after a module computes, and before it is saved."""
    return [getattr(module, name) for name in ("_forward_pre_hooks", "_forward_hooks", "_state_dict_pre_hooks")]


def _loaded(module: str, name: str) -> Any:
    """A class, or none where its module is not loaded: then nothing is of it."""
    return getattr(sys.modules.get(module), name, ())


def _mesh(how: Shard, device: torch.device) -> "DeviceMesh":
    from torch.distributed.device_mesh import init_device_mesh

    count = world()
    if how == "full":
        return init_device_mesh(device.type, (count,))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    if count % local:
        raise UserError(
            f"train.shard=hybrid keeps a copy on each host, and {count} processes do not lie on hosts of {local} each: "
            "start as many on every host, or set train.shard=full"
        )
    return init_device_mesh(device.type, (count // local, local), mesh_dim_names=("hosts", "processes"))
