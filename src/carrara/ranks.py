"""What the processes of one training, drawing or measurement know together. Where there is one, each is the identity.

All ranks call these functions, in the same order; ``train.distributed`` starts the ranks and has what only a training
needs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from carrara.errors import UserError

_A = TypeVar("_A")
_T = TypeVar("_T")


def world() -> int:
    """How many processes work together."""
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


def from_all(part: Callable[[], _T]) -> list[_T]:
    """What a part of the work comes to on each rank, in the ranks' order, on all of them; tensors are on the CPU.

    A part sends no messages of its own. If it fails on some rank, it fails on all, so that nobody waits for ever.

    Raises:
        BaseException: what the first rank raised on which it failed; a ``UserError`` has the number of this rank.
    """
    if world() == 1:
        return [part()]
    failure: BaseException | None = None
    mine: Any = None
    try:
        mine = _on_cpu(part())
    except BaseException as error:  # a signal to one of them stops all of them, too
        failure = error
    every: list[Any] = [None] * world()
    dist.all_gather_object(every, (mine, None if failure is None else _sendable(failure)))
    for number, (_, error) in enumerate(every):
        if error is not None:
            error = failure if number == rank() and failure is not None else error
            if isinstance(error, UserError):
                error.rank = number
            raise error
    return [value for value, _ in every]


def in_all(part: Callable[[], _T]) -> _T:
    """What a part of the work comes to here, and nothing is sent of it; if it fails on some rank, it fails on all.

    Raises:
        BaseException: as ``from_all``.
    """
    found: list[_T] = []
    from_all(lambda: found.append(part()))
    return found[0]


def each(work: Callable[[_A], _T], items: Sequence[_A]) -> Iterator[_T]:
    """What becomes of each item, in their order, on all ranks: together these work on as many at a time as they are.

    Raises:
        BaseException: as ``from_all``.
    """
    for first in range(0, len(items), world()):
        mine = items[first : first + world()][rank() : rank() + 1]
        for found in from_all(lambda mine=mine: [work(item) for item in mine]):
            yield from found


def share(items: Sequence[_A], number: int, count: int) -> Sequence[_A]:
    """The part of so many that one of ``count`` ranks has: the parts are as even as can be, and follow each other."""
    first, end = (-(-len(items) * at // count) for at in (number, number + 1))
    return items[first:end]


def _on_cpu(value: Any) -> Any:
    """A value with its tensors on the CPU, whatever plain values and dataclasses they lie in."""
    match value:
        case Tensor():
            return value.cpu()
        case dict():
            return {key: _on_cpu(one) for key, one in value.items()}
        case list() | tuple():
            return type(value)(map(_on_cpu, value))
        case _ if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{one.name: _on_cpu(getattr(value, one.name)) for one in fields(value) if one.init})
        case _:
            return value


def _sendable(error: BaseException) -> BaseException:
    """An error that arrives as it is, or another one that says the same."""
    try:
        if all(isinstance(one, str | int | float | None) for one in error.args):
            type(error)(*error.args)
            return error
    except Exception:
        pass  # made of something else than what it keeps
    return UserError(error.message) if isinstance(error, UserError) else RuntimeError(repr(error))
