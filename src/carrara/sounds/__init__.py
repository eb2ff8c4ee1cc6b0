"""Sounds: their spectra, pictures of them, and WAV files that know how they were made."""

from carrara.sounds.picture import sheet, spectrograms, table
from carrara.sounds.spectrum import (
    Sounds,
    band_edges,
    decibels,
    frame_of,
    frequencies,
    hertz,
    mel,
    powers,
    spectrum_of,
    triangles,
)
from carrara.sounds.wav import read_record, save_wav, wav_bytes

__all__ = [
    "Sounds",
    "band_edges",
    "decibels",
    "frame_of",
    "frequencies",
    "hertz",
    "mel",
    "powers",
    "read_record",
    "save_wav",
    "sheet",
    "spectrograms",
    "spectrum_of",
    "table",
    "triangles",
    "wav_bytes",
]
