r"""From a data set to endless batches.

Sample p of the whole training is decided by the seed alone. With N examples, batch B and R ranks, rank r's j-th sample
at step s is

.. math:: p = (s R + r) B + j, \qquad \text{example} = \pi_e(p \bmod N), \quad e = \lfloor p / N \rfloor         (1)

where pi_e is the shuffle of epoch e. If examples of one content take turns, N counts the contents instead, and sample p
shows one example of its content, drawn by p. Nothing is remembered from one batch to the next, so a loader starts at
any step, and threads that prepare batches in advance change nothing. Batches run over the end of an epoch.
"""

import logging
import os
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import count
from threading import Lock
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carrara.data.base import Dataset, Row, Texts, Unreadable, contents
from carrara.data.latents import LatentTransform
from carrara.data.transforms import Transform
from carrara.errors import UserError
from carrara.seeds import Draws, permutation
from carrara.types import Batch

GIBIBYTE = 1 << 30
_WORKERS = min(4, os.cpu_count() or 1)
_log = logging.getLogger(__name__)


@final
class Loader:
    """Endless batches of one rank.

    Args:
        transform: what brings pictures to one shape, or ``CachedLatents.transform``; None for points.
        batch: samples a step on each rank.
        seed: of the order, and of random crops and mirroring.
        turns: whether of examples with one key (copies of a picture, or a drawing and its variants) only one is shown
            in an epoch.
        memory: how many bytes of prepared pictures are kept; the first that fit stay, others are read again.

    Raises:
        UserError: the data set is empty.
    """

    def __init__(
        self,
        dataset: Dataset,
        transform: Transform | LatentTransform | None,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        turns: bool = False,
        memory: int = GIBIBYTE,
    ) -> None:
        if not len(dataset):
            raise UserError(f"nothing to train on: the training part of '{dataset.info.name}' is empty")
        assert batch >= 1 and 0 <= rank < world
        self._examples = _Examples(dataset, transform, memory, drawn=True)
        self._contents = contents(dataset) if turns else None
        self.count = len(self._contents or dataset)
        self.batch, self.seed, self.rank, self.world = batch, seed, rank, world

    def at(self, step: int) -> Batch:
        """The batch of a step: equation (1)."""
        first = (step * self.world + self.rank) * self.batch
        positions = torch.arange(first, first + self.batch)
        epochs = range(first // self.count, (first + self.batch - 1) // self.count + 1)
        order = torch.cat([_order(self.count, self.seed, epoch) for epoch in epochs])
        indices, draws = order[positions - epochs[0] * self.count].tolist(), Draws(self.seed, positions)
        if self._contents is not None:
            chosen = zip(indices, draws.uniform("which of a content").tolist(), strict=True)
            indices = [(alike := self._contents[k])[int(u * len(alike))] for k, u in chosen]
        return self._examples.batch(indices, draws)

    def batches(self, start_step: int = 0) -> Generator[Batch]:
        """The batches of ``start_step`` and all later ones, prepared in advance by threads until it is closed."""
        pool = ThreadPoolExecutor(_WORKERS, "carrara-loader")
        try:
            ahead = deque(pool.submit(self.at, start_step + k) for k in range(_WORKERS + 1))
            for step in count(start_step + len(ahead)):
                batch = ahead.popleft().result()
                ahead.append(pool.submit(self.at, step))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)


def batch_of(dataset: Dataset, transform: Transform | LatentTransform | None, indices: Sequence[int]) -> Batch:
    """The given examples as one batch, for evaluation.

    Positions are the indices; nothing is cropped or mirrored at random.
    """
    plain = None if transform is None else transform.plain()
    return _Examples(dataset, plain, 0, drawn=False).batch(indices, Draws(0, torch.tensor(list(indices))))


def spread(count: int, total: int) -> list[int]:
    """At most ``count`` of ``total`` indices, evenly spaced: examples that lie side by side are often alike."""
    return [k * total // min(count, total) for k in range(min(count, total))]


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> Tensor:
    return permutation(count, seed, "epoch", epoch)


_Prepared = tuple[NDArray[Any], Mapping[str, Row | Texts]]


class _Examples:
    """Prepared examples by index, kept in memory up to a budget.

    Args:
        drawn: of several captions, one is drawn for each sample; else it is the first one.
    """

    def __init__(
        self, dataset: Dataset, transform: Transform | LatentTransform | None, memory: int, *, drawn: bool
    ) -> None:
        self._drawn = drawn
        self._dataset, self._transform, self._memory = dataset, transform, memory
        self._kept: dict[int, _Prepared] = {}
        self._replaced = set[int]()
        self._lock = Lock()

    def batch(self, indices: Sequence[int], draws: Draws) -> Batch:
        arrays, columns = zip(*map(self._get, indices), strict=True)
        x = torch.from_numpy(np.stack(arrays)) if self._transform is None else self._transform.finish(arrays, draws)
        stacked: dict[str, Tensor] = {}
        for name, first in columns[0].items():
            rows = [row[name] for row in columns]
            stacked |= self._texts(name, rows, draws) if isinstance(first, Texts) else {name: _stacked(rows)}
        return Batch(x=x, position=draws.samples, columns=stacked)

    def _texts(self, name: str, rows: Sequence[Any], draws: Draws) -> dict[str, Tensor]:
        """One caption of each sample as (B, L, ...), and ``..._mask`` (B, L) for its tokens."""
        where = draws.uniform(f"which {name}").tolist() if self._drawn else [0.0] * len(rows)
        chosen = [row.variants[int(u * len(row.variants))] for row, u in zip(rows, where, strict=True)]
        lengths = torch.tensor([len(tokens) for tokens in chosen])
        column = np.zeros((len(chosen), int(lengths.max()), *chosen[0].shape[1:]), chosen[0].dtype)
        for k, tokens in enumerate(chosen):
            column[k, : len(tokens)] = tokens
        return {name: torch.from_numpy(column), f"{name}_mask": torch.arange(column.shape[1]) < lengths[:, None]}

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
        """The example, or the next one that can be read: the same one each time."""
        problem = ""
        for k in (*range(index, len(self._dataset)), *range(index)):
            try:
                example = self._prepared(k)
            except Unreadable as error:
                problem = problem or f"'{self._dataset.name(index)}' cannot be used ({error})"
                continue
            if problem and index not in self._replaced:
                self._replaced.add(index)
                _log.warning("%s: '%s' takes its place", problem, self._dataset.name(k))
            return example
        raise UserError(f"none of the {len(self._dataset)} examples can be used: {problem}")

    def _prepared(self, index: int) -> _Prepared:
        pixels = self._dataset.pixels(index)
        prepared = pixels if self._transform is None else self._transform.prepare(pixels)
        return np.ascontiguousarray(prepared), self._dataset.columns(index)


def _stacked(rows: Sequence[Any]) -> Tensor:
    return torch.from_numpy(np.stack(rows))
