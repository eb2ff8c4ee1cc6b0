"""Many processes, one training: torchrun starts them, DDP averages their gradients, rank 0 writes to disk.

Every rank takes its share of each batch and makes every decision (the learning rate, skipping a step, stopping) from
numbers that all ranks agree on. Without torchrun the world is one process, and each function here is the identity.
"""

import os
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from carrara.errors import UserError
from carrara.objective.base import Objective
from carrara.ranks import average
from carrara.ranks import gathered as gathered
from carrara.ranks import rank as rank
from carrara.ranks import world as world
from carrara.train import heartbeat, sharding

MEETING = timedelta(minutes=10)
"""So long processes wait until all of them are there."""
ALONE = timedelta(hours=2)
"""So long the others wait for one that draws, measures or writes alone. ``heartbeat`` notices before who is lost."""
LOST = 75
"""The exit code of a process that has lost another one, and would do the same again later: EX_TEMPFAIL."""


@contextmanager
def launched() -> Generator[torch.device, None, None]:
    """Joins the other processes, if torchrun started this one; yields the device to train on."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if not is_launched():
        yield device
        return
    try:
        store, rank, world = next(rendezvous("env://", timeout=MEETING))
    except (RuntimeError, ValueError) as error:
        raise _unreachable(error) from error
    with heartbeat.heard(store, rank, world, _end_without):
        if device.type == "cuda":
            torch.cuda.set_device(device)
        one = device if device.type == "cuda" else None
        try:
            dist.init_process_group(
                "nccl" if one else "gloo", store=store, rank=rank, world_size=world, timeout=ALONE, device_id=one
            )
        except RuntimeError as error:
            raise _unreachable(error) from error
        try:
            yield device
        finally:
            dist.destroy_process_group()


def _unreachable(error: Exception) -> UserError:
    why = str(error).partition("\n")[0][:200]
    return UserError(f"the processes could not reach each other ({why}): start all of them again")


def _end_without(lost: Sequence[int]) -> NoReturn:
    """Ends this process, which cannot go on without the others."""
    who = f"process {lost[0]}" if len(lost) == 1 else f"processes {', '.join(map(str, lost))}"
    seconds = f"{heartbeat.lost_after():g} seconds"
    print(f"nothing was heard of {who} for {seconds}: this process ends, to begin again without", file=sys.stderr)
    leave(LOST)


def leave(code: int) -> NoReturn:
    """Ends a process of several at once: as Python tidies up, connections to one that has gone would abort it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def is_launched() -> bool:
    """Whether a launcher has started this process, which may begin it again when another one is lost."""
    return "WORLD_SIZE" in os.environ


def is_main() -> bool:
    """Whether this process writes and prints."""
    return rank() == 0


def replicated(objective: Objective) -> nn.Module:
    """The objective as it is called: its gradients are means over the ranks."""
    if world() == 1 or sharding.is_sharded(objective):
        return objective
    several, together = len(objective.roles()) > 1, dist.get_backend() != "fake"  # whose processes have no numbers
    return DistributedDataParallel(objective, find_unused_parameters=several, init_sync=together)


def synchronised(module: nn.Module, when: bool) -> AbstractContextManager[None]:
    """A context in which a backward pass averages gradients over the ranks only ``when`` it is the step's last."""
    if isinstance(module, DistributedDataParallel) and not when:
        return module.no_sync()
    sharding.synchronise(module, when)
    return nullcontext()


def wait() -> None:
    """Until every process is here: so that all of them find the file that one wrote."""
    if world() > 1:
        dist.barrier()


def mean(values: Mapping[str, Tensor]) -> dict[str, float]:
    """The mean over the ranks of some scalars, in one message."""
    together = average(torch.stack([value.float() for value in values.values()]))
    return dict(zip(values, together.tolist(), strict=True))


def agreed(value: float, device: torch.device) -> float:
    """Rank 0's value, on every rank: for the clock."""
    if world() == 1:
        return value
    return from_rank(0, torch.tensor(value, dtype=torch.float64, device=device)).item()


def anywhere(flag: bool, device: torch.device) -> bool:
    """Whether ``flag`` holds on some rank."""
    return bool(greatest(int(flag), device))


def greatest(value: int, device: torch.device) -> int:
    """The greatest value of any rank, in one message: for requests to save or to stop."""
    if world() == 1:
        return value
    shared = torch.tensor(value, device=device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return int(shared.item())


def from_rank(source: int, values: Tensor) -> Tensor:
    """What one rank has, on every rank, in place."""
    if world() > 1:
        dist.broadcast(values, src=source)
    return values


def total(values: Tensor) -> Tensor:
    """The sum over the ranks."""
    if world() > 1:
        dist.all_reduce(values)
    return values
