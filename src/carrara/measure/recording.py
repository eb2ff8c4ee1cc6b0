"""Watches a step of a training: every message to other processes, and the memory of every tensor.

It sees the same whether there are other processes or torch's fake process group, and whether tensors have numbers or
only shapes. Numbers that only tensors would know are 1 then: a loss is finite, and nothing is clipped away.
"""

import weakref
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, UntypedStorage, nn
from torch._subclasses.fake_tensor import FakeTensor  # pyright: ignore[reportPrivateUsage]
from torch.utils._python_dispatch import TorchDispatchMode  # pyright: ignore[reportPrivateUsage]

from carrara.measure.messages import Collective, Message
from carrara.train import TrainState, optim, sharding

GRADIENTS, REST = "gradients", "the rest"
"""Parts of the memory, besides those of the state."""
_CALLS: Mapping[str, tuple[Collective, int, int]] = {
    "c10d::allreduce_": ("all-reduce", 0, 1),
    "c10d::allreduce_coalesced_": ("all-reduce", 0, 1),
    "c10d::broadcast_": ("broadcast", 0, 1),
    "c10d::allgather_": ("all-gather", 0, 2),
    "c10d::_allgather_base_": ("all-gather", 0, 2),
    "c10d::allgather_into_tensor_coalesced_": ("all-gather", 0, 2),
    "c10d::reduce_scatter_": ("reduce-scatter", 1, 2),
    "c10d::_reduce_scatter_base_": ("reduce-scatter", 1, 2),
    "c10d::reduce_scatter_tensor_coalesced_": ("reduce-scatter", 1, 2),
    "_c10d_functional::all_reduce": ("all-reduce", 0, 2),
    "_c10d_functional::all_reduce_": ("all-reduce", 0, 2),
    "_c10d_functional::broadcast": ("broadcast", 0, 2),
    "_c10d_functional::all_gather_into_tensor": ("all-gather", 0, 2),
    "_c10d_functional::reduce_scatter_tensor": ("reduce-scatter", 0, 3),
}
"""Of torch's operators, which of the arguments is the message, and which the group."""
_PARTED = "_c10d_functional::all_gather_into_tensor"
"""The one whose argument is a rank's part of the message."""
_WRAPPERS = {"DTensor", "AsyncCollectiveTensor"}
"""Classes of tensors that hold other tensors."""
_SILENT = {
    "c10d::barrier",
    "c10d::monitored_barrier_",
    "_c10d_functional::wait_tensor",
    "_c10d_functional::_wrap_tensor_autograd",
}


class Recorder(TorchDispatchMode):
    """A context in which messages and memory of a rank are recorded.

    Attributes:
        messages: until now; whoever wants those of a step alone clears it before.
        peak: the most bytes of tensors at a time.
        parts: what these bytes were, by part.
    """

    def __init__(self) -> None:
        super().__init__()
        self.messages = list[Message]()
        self.peak, self.parts = 0, dict[str, int]()
        self._live = dict[int, _Live]()
        self._bytes, self._looks = 0, True
        self._learn, self._without = list[nn.Parameter](), list[nn.Parameter]()

    def watch(self, state: TrainState) -> None:
        """Tells the tensors of a training from others, and forgets the peak."""
        for part, tensors in state_of(state).items():
            for tensor in tensors:
                self._note(sharding.own(tensor).untyped_storage(), part)
        self.peak, self.parts = 0, {}
        self._learn = [p for p in state.objective.parameters() if p.requires_grad]
        self._without = list(self._learn)

    def __enter__(self) -> "Recorder":
        from torch.distributed.tensor._sharding_prop import ShardingPropagator  # pyright: ignore

        self._changes = ExitStack()
        self._changes.enter_context(_followed(UntypedStorage, "resize_", self._resized))
        self._changes.enter_context(_surrounded(ShardingPropagator, "_propagate_tensor_meta_non_cached", self._away))
        return super().__enter__()

    def __exit__(self, *why: Any) -> None:
        self._changes.close()
        super().__exit__(*why)

    @contextmanager
    def _away(self) -> Generator[None]:
        """A block whose tensors do not exist: of parted tensors torch computes what the whole ones would look like."""
        before, self._looks = self._looks, False
        try:
            yield
        finally:
            self._looks = before

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if any(kind.__name__ in _WRAPPERS for kind in types):
            return NotImplemented  # it is unpacked first, and what is in it comes here
        if func is torch.ops.aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            return 1.0 if args[0].is_floating_point() else args[0].dtype is torch.bool or 1
        result = func(*args, **(kwargs or {}))
        name = str(func.name()).partition(".")[0]
        if name.startswith(("c10d::", "_c10d_functional::")) and name not in _SILENT:
            self.messages.append(_message(name, args))
            if name == "c10d::allreduce_" and isinstance(args[0][0], FakeTensor):
                result = args[0], _done(args[0])
        self._look(result)
        return result

    def _look(self, result: Any) -> None:
        """Takes note of tensors that are new, and of the memory, which is largest after one is made."""
        if not self._looks:
            return
        new = [self._note(tensor.untyped_storage()) for tensor in _tensors(result)]
        if any(new) and self._bytes > self.peak:
            self._name_gradients()
            self.peak, self.parts = self._bytes, dict[str, int]()
            for live in self._live.values():
                self.parts[live.part] = self.parts.get(live.part, 0) + live.size

    def _note(self, storage: UntypedStorage, part: str | None = None) -> bool:
        """Whether some memory was not known before; it is forgotten when it is freed."""
        key = id(storage)
        if (known := self._live.get(key)) is not None:
            known.part = part or known.part
            return False
        gone = weakref.ref(storage, lambda _: self._forget(key))
        self._live[key] = _Live(gone, storage.nbytes(), part or REST)
        self._bytes += storage.nbytes()
        return True

    def _forget(self, key: int) -> None:
        self._bytes -= self._live.pop(key).size

    def _resized(self, storage: UntypedStorage) -> None:
        """Parted weights are put together in memory that grows, and shrinks."""
        if (known := self._live.get(id(storage))) is not None:
            self._bytes += storage.nbytes() - known.size
            known.size = storage.nbytes()

    def _name_gradients(self) -> None:
        if any(p.grad is not None for p in self._without):
            for p in self._without:
                if p.grad is not None:
                    self._note(sharding.own(p.grad).untyped_storage(), GRADIENTS)
            self._without = [p for p in self._learn if p.grad is None]


@dataclass
class _Live:
    """Memory that is in use: who says when it no longer is, bytes, and which part of all it is."""

    gone: "weakref.ref[UntypedStorage]"
    size: int
    part: str


def state_of(state: TrainState) -> dict[str, list[Tensor]]:
    """What a rank keeps from step to step, by part."""
    moments = [
        tensor
        for optimizers in state.optimizers.values()
        for optimizer in optimizers
        for p in optim.parameters_of((optimizer,))
        for tensor in optimizer.state[p].values()
    ]
    return {
        "weights": [*(p.data for p in state.objective.parameters()), *state.objective.buffers()],
        "moments": moments,
        "averages": list(state.ema.tensors.values()),
    }


@contextmanager
def _followed(owner: Any, name: str, then: Callable[[Any], None]) -> Generator[None]:
    """A block in which each call of a method is told of after it."""
    before = getattr(owner, name)

    def both(own: Any, *arguments: Any) -> Any:
        made = before(own, *arguments)
        then(own)
        return made

    setattr(owner, name, both)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _surrounded(owner: Any, name: str, context: Callable[[], AbstractContextManager[None]]) -> Generator[None]:
    """A block in which each call of a method is inside of a context."""
    before = getattr(owner, name)

    def inside(*arguments: Any) -> Any:
        with context():
            return before(*arguments)

    setattr(owner, name, inside)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _message(name: str, args: Sequence[Any]) -> Message:
    collective, place, group = _CALLS[name]
    ranks = tuple(dist.get_process_group_ranks(_group(args[group])))
    size = sum(tensor.nbytes for tensor in _tensors(args[place]))
    return Message(collective, size * len(ranks) if name == _PARTED else size, ranks)


def _group(said: Any) -> dist.ProcessGroup:
    if isinstance(said, str):
        return torch._C._distributed_c10d._resolve_process_group(said)  # pyright: ignore
    return said if isinstance(said, dist.ProcessGroup) else dist.ProcessGroup.unbox(said)


def _done(tensors: Sequence[Tensor]) -> Any:
    """What waits for a message that is there already; the fake group's has no answer."""
    future: Any = torch.futures.Future()
    future.set_result(list(tensors))
    make: Callable[[Any], Any] = torch._C._distributed_c10d._create_work_from_future  # pyright: ignore
    return make(future).boxed()


def _tensors(values: Any) -> Iterable[Tensor]:
    if isinstance(values, Tensor):
        if type(values).__name__ not in _WRAPPERS:
            yield values
    elif isinstance(values, list | tuple):
        for value in cast(Sequence[Any], values):
            yield from _tensors(value)
