r"""A Markov chain of columns: what a grid does at a step, given the two steps before.

A column has for each voice its pitch and whether a note begins. With N(h) the times that a history h of two columns was
followed by something, and T(h) by how many different columns, the next one has Witten and Bell's probability ("The
zero-frequency problem", 1991, method C)

.. math:: P(c \mid h) = \frac{N(h c) + T(h) P(c \mid h')}{N(h) + T(h)},                                         (1)

where h' is h without its oldest column. The empty history falls back to columns whose voices are independent, each cell
with its frequency, all possible ones counted once more than they were seen. So every column has a probability above 0,
and they sum to one. It is the least that a model of music has to be better than.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar, final

import numpy as np
from torch import arange

from carrara.notes import REST, Grid
from carrara.notes.tokens import made
from carrara.seeds import Draws

ORDER = 2
Column = tuple[int, ...]
"""For each voice twice the pitch, and one more where a note begins; -1 for a rest."""
_One = TypeVar("_One")
_START: tuple[Column, ...] = ((),) * ORDER


@final
class MarkovChain:
    """Equation (1), fitted to pieces of as many voices.

    Raises:
        ValueError: there are none, or their voices are not as many.
    """

    def __init__(self, pieces: Sequence[Grid], lowest: int, highest: int) -> None:
        voices = {len(piece.pitches) for piece in pieces}
        if len(voices) != 1:
            raise ValueError(f"a chain is fitted to pieces of as many voices, not of {sorted(voices) or 'none'}")
        self._like, self._voices = pieces[0], voices.pop()
        self._states = [REST, *range(2 * lowest, 2 * highest + 2)]
        self._counts = dict[tuple[Column, ...], Counter[Column]]()
        self._cells = [Counter[int](self._states) for _ in range(self._voices)]
        for piece in pieces:
            row = columns(piece)
            for before, column in zip(_histories(row), row, strict=True):
                for length in range(ORDER + 1):
                    self._counts.setdefault(before[ORDER - length :], Counter())[column] += 1
                for cell, counted in zip(column, self._cells, strict=True):
                    counted[cell] += 1

    def probability(self, column: Column, history: tuple[Column, ...]) -> float:
        """Of a column after others, by equation (1)."""
        if (found := self._counts.get(history)) is None:
            return self.probability(column, history[1:]) if history else self._independent(column)
        fallback = self.probability(column, history[1:]) if history else self._independent(column)
        return (found[column] + len(found) * fallback) / (found.total() + len(found))

    def nats(self, piece: Grid) -> float:
        """Minus the logarithm of a piece's probability, in nats, over all of its cells: divide by V T for one."""
        row = columns(piece)
        chances = [self.probability(column, before) for before, column in zip(_histories(row), row, strict=True)]
        return -float(np.log(chances).sum())

    def sample(self, seeds: Sequence[int], steps: int) -> list[Grid]:
        """A piece for each seed, as long as is said; what they say beside their notes is that of the first one."""
        return [self._sample(seed, steps) for seed in seeds]

    def _sample(self, seed: int, steps: int) -> Grid:
        draws = Draws(seed, arange(steps))
        chances = draws.uniform("markov chain", ORDER + 2).double().numpy()
        cells = draws.uniform("markov chain, cells", self._voices).double().numpy()
        row = list[Column]()
        for step in range(steps):
            history = (*_START, *row)[-ORDER:]
            row.append(self._next(history, chances[step].tolist(), cells[step].tolist()))
        found = np.array(row, np.int64).reshape(steps, self._voices).T
        pitches = np.where(found == REST, REST, found // 2).astype(np.int16)
        before = np.concatenate([np.full_like(pitches[:, :1], REST), pitches[:, :-1]], 1)
        onsets = (pitches != REST) & ((found % 2 == 1) | (pitches != before))
        return made(pitches, onsets, self._like)

    def _next(self, history: tuple[Column, ...], chances: Sequence[float], cells: Sequence[float]) -> Column:
        """A column, drawn by equation (1): each history either decides, or leaves it to the shorter one."""
        for length in range(ORDER, -1, -1):
            found = self._counts.get(history[ORDER - length :])
            if found is not None and (place := chances[length] * (found.total() + len(found))) < found.total():
                return _chosen(found, place)
        return tuple(_chosen(own, u * own.total()) for own, u in zip(self._cells, cells, strict=True))

    def _independent(self, column: Column) -> float:
        chances = [counted[cell] / counted.total() for cell, counted in zip(column, self._cells, strict=True)]
        return float(np.prod(chances))


def columns(piece: Grid) -> list[Column]:
    """What a piece does at each step."""
    cells = np.where(piece.pitches == REST, REST, 2 * piece.pitches + piece.onsets)
    return [tuple(column) for column in cells.T.tolist()]


def _histories(row: Sequence[Column]) -> list[tuple[Column, ...]]:
    whole = (*_START, *row)
    return [whole[k : k + ORDER] for k in range(len(row))]


def _chosen(counted: Counter[_One], place: float) -> _One:
    for one, count in counted.items():
        place -= count
        if place < 0:
            return one
    return next(reversed(counted))
