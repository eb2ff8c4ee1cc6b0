"""A grid as rows of numbers, one for each voice: rest, hold, or the beginning of a pitch.

Number 0 is a rest, 1 goes on with the note before, and 2 + k begins the pitch ``lowest`` + k. So there are
K = highest - lowest + 3 numbers, and a row says of a voice what a grid does. A hold at the beginning or after a rest
holds nothing, and is read as a rest.

As numbers in [0, 1], number k is k / (K - 1), which are the levels that ``model.first_stage.kind=levels`` takes for
states. K is even where the pitches are even in number; then no number is in the middle, which means that a state is
masked, and is read as a rest.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from carrara.notes.grid import REST, Grid, Pitches

SILENT, HOLD, FIRST = 0, 1, 2
_MASKED = 1e-6
Tokens = NDArray[np.uint8]


def count(lowest: int, highest: int) -> int:
    """K, how many numbers there are."""
    return highest - lowest + 1 + FIRST


def to_tokens(grid: Grid, lowest: int, highest: int) -> Tokens:
    """(V, T).

    Raises:
        ValueError: a pitch is not in ``lowest`` to ``highest``.
    """
    check_range(grid.pitches, lowest, highest)
    begun = np.where(grid.onsets, grid.pitches - lowest + FIRST, HOLD)
    return np.where(grid.pitches == REST, SILENT, begun).astype(np.uint8)


def from_tokens(tokens: NDArray[np.integer], lowest: int, highest: int, like: Grid | None = None) -> Grid:
    """The grid of numbers (V, T).

    Args:
        like: what else the grid says, such as its metre.

    Raises:
        ValueError: a number is not below K.
    """
    if tokens.size and (tokens.min() < 0 or tokens.max() >= count(lowest, highest)):
        raise ValueError(f"tokens are 0 to {count(lowest, highest) - 1}, not {tokens.min()} to {tokens.max()}")
    places = np.arange(tokens.shape[1])
    last = np.maximum.accumulate(np.where(tokens == HOLD, 0, places), axis=1)  # the step that a hold goes on from
    source = np.take_along_axis(tokens, last, axis=1).astype(np.int64)
    pitches = np.where(source >= FIRST, source - FIRST + lowest, REST).astype(np.int16)
    return made(pitches, tokens >= FIRST, like)


def made(pitches: Pitches, onsets: NDArray[np.bool_], like: Grid | None) -> Grid:
    """A grid of these pitches and onsets that says else what another one says."""
    if like is None:
        return Grid(pitches=pitches, onsets=onsets)
    return replace(like, pitches=pitches, onsets=onsets)


def to_unit(tokens: NDArray[np.integer], lowest: int, highest: int) -> NDArray[np.float32]:
    """Numbers as float32 in [0, 1]."""
    return (tokens / np.float32(count(lowest, highest) - 1)).astype(np.float32)


def from_unit(values: NDArray[np.floating], lowest: int, highest: int) -> NDArray[np.int64]:
    """The nearest numbers to values in [0, 1]; rests where a state is masked."""
    last = count(lowest, highest) - 1
    numbers = np.rint(np.clip(values, 0, 1) * last).astype(np.int64)
    masked = (np.abs(values - 0.5) < _MASKED) if last % 2 else np.zeros(values.shape, np.bool_)
    return np.where(masked, SILENT, numbers)


def check_range(pitches: Pitches, lowest: int, highest: int) -> None:
    """Refuses pitches that have no number.

    Raises:
        ValueError: there are some.
    """
    sounding = pitches[pitches != REST]
    if sounding.size and (sounding.min() < lowest or sounding.max() > highest):
        raise ValueError(f"pitches {sounding.min()} to {sounding.max()} are not all in {lowest} to {highest}")
