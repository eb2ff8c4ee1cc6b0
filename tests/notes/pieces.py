"""Pieces of which everything is known."""

import numpy as np

from carrara.notes import Grid, Key, painted


def random_grid(seed: int = 0, parts: int = 4, steps: int = 70, lowest: int = 40, highest: int = 79, **said) -> Grid:
    """Notes of 1 to 7 steps, some of the pitch before, and rests."""
    rng = np.random.default_rng(seed)
    notes = []
    for voice in range(parts):
        at, pitch = int(rng.integers(0, 3)), lowest
        while at < steps:
            length = int(rng.integers(1, 8))
            pitch = pitch if rng.random() < 0.2 else int(rng.integers(lowest, highest + 1))
            if rng.random() < 0.85:
                notes.append((voice, at, min(length, steps - at), pitch))
            at += length
    pitches, onsets = painted(notes, parts, steps)
    return Grid(pitches=pitches, onsets=onsets, **said)


def melody(*notes: tuple[int, int] | int, **said) -> Grid:
    """One voice of (pitch, steps), or of pitches of four steps; -1 is a rest."""
    return chords([[note] for note in notes], **said)


def chords(columns, **said) -> Grid:
    """Voices side by side: each column has a (pitch, steps), or a pitch of four steps, for each voice."""
    voices, rows = len(columns[0]), []
    steps = 0
    for voice in range(voices):
        at = 0
        for column in columns:
            pitch, length = column[voice] if isinstance(column[voice], tuple) else (column[voice], 4)
            if pitch >= 0:
                rows.append((voice, at, length, pitch))
            at += length
        steps = max(steps, at)
    pitches, onsets = painted(rows, voices, steps)
    return Grid(pitches=pitches, onsets=onsets, **said)


C_MAJOR = Key(tonic=0)
