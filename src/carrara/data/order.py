r"""Which examples each step of a training shows: decided by the seed and the step alone.

Sample p of the whole training stands at place p of an endless row of shuffles. With N examples, batch B and R ranks,
rank r's j-th sample at step s is

.. math:: p = (s R + r) B + j, \qquad \text{example} = \pi_e(p \bmod N), \quad e = \lfloor p / N \rfloor         (1)

where pi_e is the shuffle of epoch e; batches run over the end of an epoch.

If only examples of one group may share a batch, because pictures of one bucket have one size, an epoch has
K = max(1, [N / R B]) batches in a shuffled order. Point k of a row of K, equally spaced with a random beginning,

.. math:: y_k = \frac{k + u_e}{K} N                                                                              (2)

lies among the N examples, sorted by their groups, in the group of batch k. So a group of n examples has n K / N
batches on average over the epochs, and one more or less in none: each example is shown equally often, however small
its group is. The batches of a group divide its own shuffle, from the beginning again where that ends.

A shuffle sorts the examples by keys that are evenly spread hashes of their numbers. Of millions, it is sorted in
windows, each of the keys of one part of their range,

.. math:: W_j = \{ i : l_j \le k_i < l_{j+1} \}, \quad \text{at the places from } |\{ i : k_i < l_j \}| \text{ on,}  (3)

so that one pass over the numbers finds what any step shows, and only a window is held in memory.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from threading import Lock
from typing import final

import torch
from torch import Tensor

from carrara.seeds import Draws, permutation, permutation_part

WINDOW = 1 << 20
"""Examples of an epoch that are sorted together, about; more, where that would be more than ``WINDOWS`` of them."""
WINDOWS = 256
_SORTING = Lock()


@final
class Order:
    """Whose turn it is.

    Args:
        groups: the numbers of the examples that may share a batch; together, 0 to N - 1. A range is all of them.
        batch: samples a step on each rank.
        seed: of the shuffles.
    """

    def __init__(self, groups: Sequence[Tensor | range], batch: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self._groups, self._batch, self._seed, self._rank, self._world = groups, batch, seed, rank, world
        self._count = sum(map(len, groups))

    def positions(self, step: int) -> Tensor:
        """(B,) p of this rank's samples, by equation (1)."""
        first = (step * self._world + self._rank) * self._batch
        return torch.arange(first, first + self._batch)

    def turn(self, position: int) -> tuple["Order", int, int]:
        """Whose turn a position is: that rank's order, the step, and the place in its batch."""
        batches, place = divmod(position, self._batch)
        step, rank = divmod(batches, self._world)
        return Order(self._groups, self._batch, self._seed, rank, self._world), step, place

    def examples(self, step: int) -> list[int]:
        """The B examples of this rank's batch."""
        return (self._endless(step) if len(self._groups) == 1 else self._grouped(step)).tolist()

    def _endless(self, step: int) -> Tensor:
        positions = self.positions(step)
        epochs, places = positions // self._count, positions % self._count
        shown = [_shown(self._count, self._seed, epoch, places[epochs == epoch]) for epoch in epochs.unique().tolist()]
        return _at(self._groups[0], torch.cat(shown))

    def _grouped(self, step: int) -> Tensor:
        together = self._world * self._batch
        batches = max(1, round(self._count / together))
        epoch, k = divmod(step, batches)
        drawn = int(_shuffle(batches, self._seed, "buckets", epoch)[k])
        begun = Draws(self._seed, torch.tensor([epoch])).uniform("buckets").item()
        ends = list(accumulate(map(len, self._groups)))

        def whose(place: int) -> int:
            return bisect_right(ends, (place + begun) / batches * self._count)

        owner = whose(drawn)
        earlier = drawn - bisect_left(range(batches), owner, key=whose)
        group = self._groups[owner]
        first = earlier * together + self._rank * self._batch
        places = torch.arange(first, first + self._batch) % len(group)
        return _at(group, _shuffle(len(group), self._seed, "bucket", owner, epoch)[places])


def _at(group: Tensor | range, places: Tensor) -> Tensor:
    return places if isinstance(group, range) else group[places]


def _shown(count: int, seed: int, epoch: int, places: Tensor) -> Tensor:
    """What stands at some places of an epoch's shuffle, which follow each other, by equation (3)."""
    parts, found, first = min(WINDOWS, -(-count // WINDOW)), list[Tensor](), int(places[0])
    part, last = first * parts // count, int(places[-1])  # about: keys are spread evenly, and not exactly so
    while first <= last:
        with _SORTING:  # threads that read ahead need the same one
            begin, window = _window(count, seed, epoch, part, parts)
        if first < begin:
            part -= 1
        else:
            found.append(window[first - begin : last + 1 - begin])
            first, part = max(first, min(last + 1, begin + len(window))), part + 1
    return torch.cat(found)


@lru_cache(maxsize=4)
def _window(count: int, seed: int, epoch: int, part: int, parts: int) -> tuple[int, Tensor]:
    return permutation_part(count, part, parts, seed, "epoch", epoch)


@lru_cache(maxsize=16)
def _shuffle(count: int, *parts: int | str) -> Tensor:
    return permutation(count, *parts)
