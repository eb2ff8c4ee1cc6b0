r"""Keys: tonics, modes, signatures, and which of them a piece is in.

Krumhansl and Kessler asked listeners how well each of the twelve pitch classes fits a key ("Tracing the dynamic changes
in perceived tonal organization", 1982). Krumhansl and Schmuckler's estimate is the key whose profile, turned to its
tonic, correlates best with how long each pitch class sounds ("Cognitive Foundations of Musical Pitch", 1990):

.. math:: \hat k = \arg\max_k \operatorname{corr}(d, p_k).                                                      (1)
"""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

Mode = Literal["major", "minor"]
TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
"""By pitch class, as keys are called."""
MODES: tuple[Mode, ...] = ("major", "minor")
PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}
"""Krumhansl and Kessler's, from the tonic on."""
_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 9, 10, 11)}
_FIRST = -5  # flats of the signature from which on sharps are written
_LETTERS, _NATURAL = "FCGDAEB", (5, 0, 7, 2, 9, 4, 11)  # by fifths


@final
@dataclass(frozen=True, kw_only=True)
class Key:
    """A tonic, as a pitch class 0 to 11 from C on, and a mode."""

    tonic: int
    mode: Mode = "major"

    def __post_init__(self) -> None:
        if not 0 <= self.tonic < 12:
            raise ValueError(f"a tonic is one of the 12 pitch classes 0 to 11, not {self.tonic}")

    def __str__(self) -> str:
        return f"{TONICS[self.tonic]} {self.mode}"

    @staticmethod
    def of_signature(sharps: int, mode: Mode = "major") -> "Key":
        """The key with so many sharps, or flats below 0."""
        return Key(tonic=(7 * sharps + (0 if mode == "major" else 9)) % 12, mode=mode)

    @property
    def sharps(self) -> int:
        """Of its signature, -5 to 6; flats below 0."""
        major = self.tonic + (3 if self.mode == "minor" else 0)
        return (7 * major - _FIRST) % 12 + _FIRST

    @property
    def scale(self) -> frozenset[int]:
        """Its pitch classes; of a minor key those of the natural, harmonic and melodic scales."""
        return frozenset((self.tonic + step) % 12 for step in _SCALES[self.mode])

    def moved(self, semitones: int) -> "Key":
        """Transposed."""
        return Key(tonic=(self.tonic + semitones) % 12, mode=self.mode)


ALL_KEYS = tuple(Key(tonic=tonic, mode=mode) for mode in MODES for tonic in range(12))


def best_key(durations: NDArray[np.floating] | NDArray[np.integer]) -> Key:
    """Equation (1).

    Args:
        durations: (12,), how long each pitch class sounds.

    Raises:
        ValueError: nothing sounds, or all classes equally long, so that no key fits better than another.
    """
    if np.ptp(durations) == 0:
        raise ValueError("no key fits notes that are all of one length, or none")
    profiles = np.array([np.roll(PROFILES[key.mode], key.tonic) for key in ALL_KEYS])
    scores = np.array([np.corrcoef(durations, profile)[0, 1] for profile in profiles])
    return ALL_KEYS[int(scores.argmax())]


def spelled_pitch(pitch: int, sharps: int = 0) -> tuple[str, int, int]:
    """A MIDI pitch as (letter, semitones that raise it, octave), by what is usual in a key of so many sharps.

    The twelve names are neighbours in the row of fifths, from three below the major tonic to eight above it.
    """
    lowest = sharps - 3
    fifths = lowest + (7 * pitch - lowest) % 12  # F is at -1, C at 0: pitch class 7 k mod 12
    place, alter = (fifths + 1) % 7, (fifths + 1) // 7
    return _LETTERS[place], alter, (pitch - alter - _NATURAL[place]) // 12 - 1
