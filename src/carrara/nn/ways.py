"""Layers that can be computed in several ways, whose results differ by rounding alone.

Which way is the fastest depends on the machine and on the size: ``measure/ways.py`` measures it. Where nothing was
measured, a layer takes the first of its ways.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Size:
    """What the speed of a layer's ways depends on, besides the machine.

    Attributes:
        kind: the layer's class.
        weight: the shape of its weight.
        places: (H, W) of the maps that it is given.
    """

    kind: str
    weight: tuple[int, ...]
    places: tuple[int, ...]


class Choosing(nn.Module):
    """A layer with several ways.

    Attributes:
        chosen: the way by the places of what it is given, where it is not the first one.
    """

    chosen: Mapping[tuple[int, ...], str] = {}

    @property
    def ways(self) -> tuple[str, ...]:
        """Their names; the first one can always be taken."""
        raise NotImplementedError

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        """Of the weight."""
        raise NotImplementedError

    def way(self, x: Tensor) -> str:
        """How to compute maps (B, C, *N)."""
        return self.chosen.get(tuple(x.shape[2:]), self.ways[0]) if self.chosen else self.ways[0]

    def size(self, x: Tensor) -> Size:
        """Of a call with maps (B, C, *N)."""
        return Size(kind=type(self).__name__, weight=self.kernel_shape, places=tuple(x.shape[2:]))


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Of layers of one size.

    Attributes:
        layer, inputs: the first one, and what it was given.
        count: how many there were.
    """

    layer: Choosing
    inputs: Sequence[Any]
    count: int


@contextmanager
def calls(network: nn.Module) -> Generator[dict[Size, Calls]]:
    """Watches a network; knows at the end how often each size was met."""
    seen: dict[Size, Calls] = {}

    def remember(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(layer, Choosing)
        size = layer.size(inputs[0])
        known = seen.get(size, Calls(layer=layer, inputs=inputs, count=0))
        seen[size] = replace(known, count=known.count + 1)

    with ExitStack() as hooks:
        for layer in network.modules():
            if isinstance(layer, Choosing):
                hooks.callback(layer.register_forward_pre_hook(remember).remove)
        yield seen


def choose(network: nn.Module, fastest: Mapping[Size, str]) -> None:
    """Has each layer of a network take the way that is the fastest for its size."""
    for layer in network.modules():
        if isinstance(layer, Choosing):
            own = {size.places: way for size, way in fastest.items() if _is_of(layer, size) and way in layer.ways}
            layer.chosen = {places: way for places, way in own.items() if way != layer.ways[0]}


def _is_of(layer: Choosing, size: Size) -> bool:
    return (type(layer).__name__, layer.kernel_shape) == (size.kind, size.weight)
