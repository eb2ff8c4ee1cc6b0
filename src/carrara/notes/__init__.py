"""Music on a grid: what a piece is, and what it can be turned into and made from.

``grid`` is the value, ``keys`` what it may be in, ``voices`` how notes are dealt out. ``tokens`` and ``roll`` are what
models see; ``midi``, ``musicxml``, ``sounding`` and ``picture`` what people do.
"""

from carrara.notes.grid import REST, Grid, bar_steps, painted, pitch_classes
from carrara.notes.keys import ALL_KEYS, MODES, TONICS, Key, Mode, best_key, spelled_pitch
from carrara.notes.midi import Quantised, at_once, from_midi, record_of, to_midi
from carrara.notes.musicxml import to_musicxml
from carrara.notes.picture import COLOURS, picture
from carrara.notes.roll import EVERY, from_roll, to_roll
from carrara.notes.sounding import fluidsynth, samples, wav_bytes
from carrara.notes.tokens import count, from_tokens, from_unit, to_tokens, to_unit
from carrara.notes.voices import dealt, most_at_once

__all__ = [
    "ALL_KEYS",
    "COLOURS",
    "EVERY",
    "MODES",
    "REST",
    "TONICS",
    "Grid",
    "Key",
    "Mode",
    "Quantised",
    "at_once",
    "bar_steps",
    "best_key",
    "count",
    "dealt",
    "fluidsynth",
    "from_midi",
    "from_roll",
    "from_tokens",
    "from_unit",
    "most_at_once",
    "painted",
    "picture",
    "pitch_classes",
    "record_of",
    "samples",
    "spelled_pitch",
    "to_midi",
    "to_musicxml",
    "to_roll",
    "to_tokens",
    "to_unit",
    "wav_bytes",
]
