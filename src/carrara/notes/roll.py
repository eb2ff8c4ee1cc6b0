r"""A grid as a picture of steps by pitches: a piano roll.

Each voice has two channels: where notes begin, and where they go on. A roll is (T, P, 2V) uint8, 255 where something
is and 0 elsewhere, of the pitches ``lowest`` + 0..P-1; channel 2v has the beginnings of voice v, and 2v + 1 its holds.

A roll that a model has made has values between. If x is one of the clean columns with independent Gaussian noise of any
size, then the most likely state s of a voice at a step is the one whose column c_s is nearest,

.. math:: \arg\min_s \| x - 255 c_s \|^2 = \arg\max_s (2 x_s - 255),                                            (1)

where a rest, whose column is empty, has the value 0. So it is the largest entry, if that is above the half. A hold that
does not go on with the pitch of the step before is read as a beginning.

With the single voice ``EVERY`` all notes share one pair of channels, and any number sounds at once: each pitch is then
read for itself, and notes are dealt out to as many voices as sound at most.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from carrara.notes.grid import REST, Grid, painted
from carrara.notes.tokens import check_range, made
from carrara.notes.voices import dealt

Roll = NDArray[np.uint8]
EVERY = "all notes"
"""The name of the voice that any number of notes is in at once."""
_FULL, _HALF = 255, 127.5


def to_roll(grid: Grid, lowest: int, highest: int, *, together: bool = False) -> Roll:
    """(T, P, 2V).

    Args:
        together: all voices share one pair of channels.

    Raises:
        ValueError: a pitch is not in ``lowest`` to ``highest``.
    """
    check_range(grid.pitches, lowest, highest)
    roll = np.zeros((grid.steps, highest - lowest + 1, 2 * len(grid.pitches)), np.uint8)
    voices, steps = np.nonzero(grid.pitches != REST)
    held = (~grid.onsets[voices, steps]).astype(np.int64)
    roll[steps, grid.pitches[voices, steps] - lowest, 2 * voices + held] = _FULL
    if not together:
        return roll
    begun, goes_on = roll[..., ::2].max(-1), roll[..., 1::2].max(-1)
    return np.stack([begun, np.where(begun > 0, 0, goes_on)], -1)


def from_roll(roll: NDArray[np.number], lowest: int, like: Grid | None = None, voices: Sequence[str] = ()) -> Grid:
    """The most likely grid of a roll (T, P, 2V) of values 0 to 255; equation (1).

    Args:
        like: what else the grid says, such as its metre.
        voices: their names; ``(EVERY,)`` has any number of notes at once.
    """
    values = roll.astype(np.float64)
    if tuple(voices) == (EVERY,):
        return _together(values, lowest, like)
    steps, pitches, channels = values.shape
    states = values.reshape(steps, pitches, channels // 2, 2).transpose(2, 0, 3, 1).reshape(channels // 2, steps, -1)
    best = states.argmax(-1)
    sounds = np.take_along_axis(states, best[..., None], -1)[..., 0] > _HALF
    found = np.where(sounds, lowest + best % pitches, REST).astype(np.int16)
    before = np.concatenate([np.full_like(found[:, :1], REST), found[:, :-1]], 1)
    return made(found, sounds & ((best < pitches) | (found != before)), like)


def _together(values: NDArray[np.float64], lowest: int, like: Grid | None) -> Grid:
    """Each pitch for itself: it sounds where one of its two values is above the half, and the larger one says how."""
    sounds = values.max(-1) > _HALF
    before = np.concatenate([np.zeros_like(sounds[:1]), sounds[:-1]])
    begins = sounds & ((values[..., 0] >= values[..., 1]) | ~before)
    notes = list[tuple[int, int, int]]()
    for step, place in np.argwhere(begins).tolist():
        ends = np.flatnonzero(~sounds[step + 1 :, place] | begins[step + 1 :, place])
        notes.append((step, int(ends[0]) + 1 if len(ends) else len(values) - step, lowest + place))
    given, voices, _ = dealt(notes)
    return made(*painted(given, max(1, voices), len(values)), like)
