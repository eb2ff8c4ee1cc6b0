"""From a data set to endless batches.

Every batch is decided by the seed and its step alone; see ``order``. If examples of one content take turns, contents
are what is shuffled, and a sample shows one example of its content, drawn by its position. Nothing is remembered from
one batch to the next, so a loader starts at any step, and threads that prepare batches in advance change nothing.
What they do with whole batches is numpy's: torch would give each of them a team of threads, and slow the training down.
"""

import logging
import os
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from threading import Lock
from typing import Any, final
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carrara.data.base import Cell, Choices, Dataset, Preparation, Texts, Unreadable, contents
from carrara.data.order import Order
from carrara.errors import UserError
from carrara.seeds import Draws, integer
from carrara.types import MAP, Batch

GIBIBYTE = 1 << 30
_WORKERS = min(4, os.cpu_count() or 1)
_TOLD = WeakKeyDictionary[Dataset, set[int]]()
"""The examples of each data set that were found to be unusable, and named."""
_TELLING = Lock()
_ELSEWHERE = 100  # examples that are looked at in the place of one that is lost with many others
_log = logging.getLogger(__name__)


@final
class Loader:
    """Endless batches of one rank.

    Args:
        transform: what brings pictures to one shape; None for points.
        batch: samples a step on each rank.
        seed: of the order, and of random crops and mirroring.
        turns: whether of examples with one key (copies of a picture, or a drawing and its variants) only one is shown
            in an epoch.
        buckets: a number for each example: only examples of one number share a batch. None = all of them may.
        memory: how many bytes of prepared pictures are kept; the first that fit stay, others are read again.
        workers: threads that prepare batches in advance; 0 = they are prepared when they are asked for.

    Raises:
        UserError: the data set is empty.
    """

    def __init__(
        self,
        dataset: Dataset,
        transform: Preparation | None,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        turns: bool = False,
        buckets: Sequence[int] | None = None,
        memory: int = GIBIBYTE,
        workers: int = _WORKERS,
    ) -> None:
        if not len(dataset):
            raise UserError(f"nothing to train on: the training part of '{dataset.info.name}' is empty")
        assert batch >= 1 and 0 <= rank < world
        self._dataset = dataset
        self._examples = _Examples(dataset, dataset.preparation(transform), memory, buckets, drawn=True)
        self._contents = _within(contents(dataset), buckets or [0] * len(dataset)) if turns else None
        groups: list[Tensor | range] = [range(len(dataset) if self._contents is None else len(self._contents))]
        if buckets:
            whose = buckets if self._contents is None else [buckets[alike[0]] for alike in self._contents]
            numbers = torch.tensor(whose)
            groups = [torch.nonzero(numbers == bucket).flatten() for bucket in numbers.unique()]
        self._order, self._seed, self._workers = Order(groups, batch, seed, rank, world), seed, workers

    def at(self, step: int) -> Batch:
        """The batch of a step."""
        return self._examples.batch(*self._chosen(self._order, step))

    def names(self, positions: Sequence[int]) -> list[str]:
        """What to call the examples at some positions of the training, of whatever rank."""
        turns = (self._order.turn(position) for position in positions)
        return [self._dataset.name(self._chosen(order, step)[0][place]) for order, step, place in turns]

    def _chosen(self, order: Order, step: int) -> tuple[list[int], Draws]:
        """The examples of a rank's batch, and the batch's random numbers."""
        indices, draws = order.examples(step), Draws(self._seed, order.positions(step))
        if self._contents is not None:
            chosen = zip(indices, draws.uniform("which of a content").tolist(), strict=True)
            indices = [(alike := self._contents[k])[int(u * len(alike))] for k, u in chosen]
        return indices, draws

    def batches(self, start_step: int = 0) -> Generator[Batch]:
        """The batches of ``start_step`` and all later ones; the threads that prepare them end when it is closed."""
        if not self._workers:
            yield from map(self.at, count(start_step))
            return
        pool = ThreadPoolExecutor(self._workers, "carrara-loader")
        try:
            ahead = deque(pool.submit(self.at, start_step + k) for k in range(self._workers + 1))
            for step in count(start_step + len(ahead)):
                batch = ahead.popleft().result()
                ahead.append(pool.submit(self.at, step))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)


def batch_of(dataset: Dataset, transform: Preparation | None, indices: Sequence[int]) -> Batch:
    """The given examples as one batch, for evaluation.

    Positions are the indices; nothing is cropped or mirrored at random.
    """
    own = dataset.preparation(transform)
    plain = None if own is None else own.plain()
    examples = _Examples(dataset, plain, 0, None, drawn=False)
    return examples.batch(indices, Draws(0, torch.tensor(list(indices))))


def spread(count: int, total: int) -> list[int]:
    """At most ``count`` of ``total`` indices, evenly spaced: examples that lie side by side are often alike."""
    return [k * total // min(count, total) for k in range(min(count, total))]


def _within(contents: Iterable[Sequence[int]], buckets: Sequence[int]) -> list[list[int]]:
    """Contents, parted where their examples are in several buckets."""
    parted: list[list[int]] = []
    for alike in contents:
        for bucket in sorted({buckets[k] for k in alike}):
            parted.append([k for k in alike if buckets[k] == bucket])
    return parted


def _is_news(dataset: Dataset, index: int) -> bool:
    """Whether an example of a data set is told of for the first time, by this loader or any other."""
    with _TELLING:
        told = _TOLD.setdefault(dataset, set())
        new = index not in told
        told.add(index)
    return new


_Prepared = tuple[NDArray[Any], Mapping[str, Cell]]


class _Examples:
    """Prepared examples by index, kept in memory up to a budget.

    Args:
        buckets: see ``Loader``.
        drawn: of several captions, one is drawn for each sample; else it is the first one.
    """

    def __init__(
        self,
        dataset: Dataset,
        transform: Preparation | None,
        memory: int,
        buckets: Sequence[int] | None,
        *,
        drawn: bool,
    ) -> None:
        self._buckets, self._drawn = buckets, drawn
        self._dataset, self._transform, self._memory = dataset, transform, memory
        self._kept: dict[int, _Prepared] = {}
        self._lock = Lock()

    def batch(self, indices: Sequence[int], draws: Draws) -> Batch:
        arrays, columns = zip(*map(self._get, indices), strict=True)
        transform = self._suited(indices[0])
        x = torch.from_numpy(np.stack(arrays)) if transform is None else transform.finish(arrays, draws)
        stacked: dict[str, Tensor] = {}
        for name, first in columns[0].items():
            rows = [row[name] for row in columns]
            if isinstance(first, Texts):
                stacked |= self._texts(name, rows, draws)
            elif isinstance(first, Choices):
                stacked[name] = _stacked(self._variants(name, rows, draws))
            elif name == MAP and transform is not None:
                stacked[name] = transform.finish_maps(rows, draws)
            else:
                stacked[name] = _stacked(rows)
        return Batch(x=x, position=draws.samples, columns=stacked)

    def _texts(self, name: str, rows: Sequence[Any], draws: Draws) -> dict[str, Tensor]:
        """One caption of each sample as (B, L, ...), and ``..._mask`` (B, L) for its tokens."""
        chosen = self._variants(name, rows, draws)
        lengths = torch.tensor([len(tokens) for tokens in chosen])
        column = np.zeros((len(chosen), int(lengths.max()), *chosen[0].shape[1:]), chosen[0].dtype)
        for k, tokens in enumerate(chosen):
            column[k, : len(tokens)] = tokens
        return {name: torch.from_numpy(column), f"{name}_mask": torch.arange(column.shape[1]) < lengths[:, None]}

    def _variants(self, name: str, rows: Sequence[Any], draws: Draws) -> list[Any]:
        """One of each sample's variants, by its position; the first one, where nothing is drawn."""
        where = draws.uniform(f"which {name}").tolist() if self._drawn else [0.0] * len(rows)
        return [row.variants[int(u * len(row.variants))] for row, u in zip(rows, where, strict=True)]

    def _get(self, index: int) -> _Prepared:
        if index in self._kept:
            return self._kept[index]
        example = self._readable(index)
        with self._lock:
            self._memory -= sum(part.nbytes for part in (example[0], *example[1].values()))
            if self._memory >= 0:
                self._kept[index] = example
        return example

    def _readable(self, index: int) -> _Prepared:
        """The example, or the next one of its bucket that can be read: the same one each time.

        In the place of one that is lost with many others, some from all over the data are looked at first: so not one
        example alone takes the places of all of these.
        """
        problem, lost, total = "", False, len(self._dataset)
        tried = chain(range(index, total), range(index))
        while (k := next(tried, None)) is not None:
            if self._buckets is not None and self._buckets[k] != self._buckets[index]:
                continue
            try:
                example = self._prepared(k)
            except Unreadable as error:
                if error.fault == "lost" and not lost:
                    lost, tried = True, chain(self._elsewhere(index), tried)
                problem = problem or ("" if lost else f"'{self._dataset.name(index)}' cannot be used ({error})")
                continue
            if problem and _is_news(*self._dataset.origin(index)):
                _log.warning("%s: '%s' takes its place", problem, self._dataset.name(k))
            return example
        raise UserError(f"none of the {total} examples can be used: {problem or 'their files cannot be read'}")

    def _elsewhere(self, index: int) -> list[int]:
        """What is looked at in the place of an example that is lost with many others."""
        return [integer("in the place of", index, k) % len(self._dataset) for k in range(_ELSEWHERE)]

    def _prepared(self, index: int) -> _Prepared:
        pixels, transform = self._dataset.pixels(index), self._suited(index)
        prepared = pixels if transform is None else transform.prepare(pixels)
        columns = self._dataset.columns(index)
        if transform is not None and MAP in columns:
            columns = {**columns, MAP: transform.prepare_map(np.asarray(columns[MAP], np.uint8))}
        return np.ascontiguousarray(prepared), columns

    def _suited(self, index: int) -> Preparation | None:
        return None if self._transform is None else self._transform.suited(self._dataset, index)


def _stacked(rows: Sequence[Any]) -> Tensor:
    return torch.from_numpy(np.stack(rows))
