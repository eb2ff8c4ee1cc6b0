r"""A grid as sound: by a voice of our own, or by FluidSynth and a sound font where these are installed.

Our voice is a sum of harmonics, the higher of which are weaker and fade sooner. A note of frequency f that lasts d
seconds is

.. math:: y(t) = e(t) \sum_{h=1}^{H} h^{-3/2} e^{-0.6 (h - 1) t} \sin(2 \pi h f t), \quad h f < r / 2,           (1)

with the envelope e of an attack of 12 ms, a decay within 0.25 s to the level 0.7, and a release of 70 ms that begins
50 ms before the note's end, or in the middle of a shorter one, so that a repeated note is heard as two. Equal
temperament, a' = 440 Hz:

.. math:: f = 440 \cdot 2^{(p - 69) / 12} \text{ Hz}.                                                             (2)

The voices' sum is scaled so that its peak is 0.9. Nothing is random: the same grid gives the same bits.
"""

from pathlib import Path
from shutil import which

import numpy as np
from numpy.typing import NDArray

from carrara.files import converted, wave_bytes
from carrara.notes.grid import Grid
from carrara.notes.midi import to_midi

RATE = 44_100
_HARMONICS = 8
_ATTACK, _DECAY, _SUSTAIN, _RELEASE, _EARLY = 0.012, 0.25, 0.7, 0.07, 0.05
_PEAK = 0.9
_FONTS = Path("/usr/share/sounds/sf2")

Sound = NDArray[np.float32]
"""(L,) in [-1, 1]."""


def samples(grid: Grid, rate: int = RATE) -> Sound:
    """Our voice's sound of a grid, with the release of its last note; equation (1)."""
    step = 60 / grid.tempo / grid.per_quarter
    sound = np.zeros(int((grid.steps * step + _RELEASE) * rate) + 1)
    kept = dict[tuple[int, int], NDArray[np.float64]]()
    for _, start, length, pitch in grid.notes().tolist():
        if (pitch, length) not in kept:
            kept[pitch, length] = _note(pitch, length * step, rate)
        begin = round(start * step * rate)
        part = kept[pitch, length][: len(sound) - begin]
        sound[begin : begin + len(part)] += part
    return (sound * (_PEAK / max(float(np.abs(sound).max()), 1e-9) if sound.any() else 1)).astype(np.float32)


def wav_bytes(sound: Sound, rate: int = RATE) -> bytes:
    """A WAV file of 16 bits and one channel.

    Args:
        sound: (L,); what is beyond [-1, 1] is cut.
    """
    return wave_bytes(np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16), rate)


def fluidsynth(grid: Grid, rate: int = RATE, program: int = 0) -> bytes | None:
    """FluidSynth's WAV file of a grid; None where the program or a sound font is missing, or it fails."""
    fonts = sorted(_FONTS.glob("*.sf2")) if _FONTS.is_dir() else []
    command = which("fluidsynth")
    if command is None or not fonts:
        return None

    def words(source: str, target: str) -> list[str]:
        return [command, "-ni", "-q", "-F", target, "-T", "wav", "-r", str(rate), str(fonts[0]), source]

    return converted(to_midi(grid, program=program), ("notes.mid", "notes.wav"), words)


def _note(pitch: int, seconds: float, rate: int) -> NDArray[np.float64]:
    """Equation (1)."""
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    released = max(seconds - _EARLY, seconds / 2)
    t = np.arange(int((released + _RELEASE) * rate) + 1) / rate
    sound = np.zeros_like(t)
    for h in range(1, _HARMONICS + 1):
        if h * hertz < rate / 2:
            sound += h**-1.5 * np.exp(-0.6 * (h - 1) * t) * np.sin(2 * np.pi * h * hertz * t)
    held = np.interp(t, [0, _ATTACK, _DECAY], [0, 1, _SUSTAIN])
    return sound * held * np.clip(1 - (t - released) / _RELEASE, 0, 1)
