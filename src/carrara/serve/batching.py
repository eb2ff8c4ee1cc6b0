"""Requests that are drawn together, and each of which gets what it would have got alone.

A sample is a function of its own wish and seed, and of settings that all samples of a request share; a network's sums
may differ in their last digits with the size of a batch. So requests whose
settings, size and rivals are equal are one request of all their wishes and seeds, and the k-th of them owns the samples
[a_k, a_k + n_k) of it. What each picture says of itself is its own request.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from carrara.draw import Progress, Request

MOST = 64
"""Samples that are drawn together; a request of more is drawn alone."""


def key_of(request: Request) -> Hashable:
    """Equal for requests that can be drawn together."""
    return repr(replace(request, wishes=(), seeds=(), columns=None, labels=()))


def joined(requests: Sequence[Request]) -> Request:
    """One request of all samples."""
    return replace(
        requests[0],
        wishes=tuple(wish for one in requests for wish in one.wishes),
        seeds=tuple(seed for one in requests for seed in one.seeds),
        columns=None,
        labels=(),
    )


@final
class Share:
    """The part of a drawing that belongs to one request.

    Args:
        first: its first sample's number among all.
        count: how many it has.
    """

    def __init__(self, first: int, count: int) -> None:
        self.first, self.count = first, count
        self._finished: list[Tensor] = []

    def rows(self, at: Progress) -> slice | None:
        """Which of a batch's samples are its own; None if none is."""
        batch = len(at.step.x)
        begin, end = max(self.first - at.first, 0), min(self.first + self.count - at.first, batch)
        return slice(begin, end) if begin < end else None

    def take(self, at: Progress) -> None:
        """Keeps its samples of a batch that is done, on the CPU."""
        if at.pixels is not None and (rows := self.rows(at)) is not None:
            self._finished.append(at.pixels[rows].cpu())

    @property
    def done(self) -> int:
        """How many of its samples are finished."""
        return sum(map(len, self._finished))

    @property
    def values(self) -> Tensor:
        """All its samples, (N, *S)."""
        return torch.cat(self._finished)


def shares(requests: Sequence[Request]) -> list[Share]:
    """The shares of requests in their ``joined`` one."""
    made, first = list[Share](), 0
    for one in requests:
        made.append(Share(first, len(one.seeds)))
        first += len(one.seeds)
    return made
