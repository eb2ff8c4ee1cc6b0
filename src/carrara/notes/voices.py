"""Notes that sound at once are dealt out to voices, each of which has one at a time.

Whenever notes begin together, the highest chooses first, and takes the voice that keeps the order of pitches: of the
voices that are free, the one with the fewest sounding notes on its wrong side; of these, the highest.
"""

from collections.abc import Sequence
from itertools import groupby

Timed = tuple[int, int, int]
"""First step, steps, pitch."""


def most_at_once(notes: Sequence[Timed]) -> int:
    """How many of the notes sound together at most."""
    changes = sorted(
        (when, change) for start, length, _ in notes for when, change in ((start, 1), (start + length, -1))
    )
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def dealt(notes: Sequence[Timed], voices: int | None = None) -> tuple[list[tuple[int, int, int, int]], int, int]:
    """(voice, first step, steps, pitch) of each note, how many voices there are, and how many notes found none free.

    Args:
        voices: how many there are; None = as many as sound at once.
    """
    count = most_at_once(notes) if voices is None else voices
    sounding: list[tuple[int, int] | None] = [None] * count  # (end, pitch) of each voice
    given, lost = list[tuple[int, int, int, int]](), 0
    for start, together in groupby(sorted(notes), key=lambda note: note[0]):
        sounding = [now if now and now[0] > start else None for now in sounding]
        new = sorted(together, key=lambda note: -note[2])
        for place, (_, length, pitch) in enumerate(new):
            free = [v for v in range(count) if sounding[v] is None]
            if not free:
                lost += 1
                continue
            later = len(new) - place - 1  # room is kept below for those that are lower
            room = free[: max(1, len(free) - later)]
            voice = min(room, key=lambda v: (_wrong(sounding, v, pitch), v))
            sounding[voice] = (start + length, pitch)
            given.append((voice, start, length, pitch))
    return given, count, lost


def _wrong(sounding: Sequence[tuple[int, int] | None], voice: int, pitch: int) -> int:
    """How many sounding notes would be on the wrong side of a pitch in this voice."""
    above = sum(now is not None and now[1] < pitch for now in sounding[:voice])
    return above + sum(now is not None and now[1] > pitch for now in sounding[voice:])
