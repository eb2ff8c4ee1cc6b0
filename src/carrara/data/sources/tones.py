r"""Plucked strings, bells and drums, made by formulas: sounds to try things on, which need no files.

With r samples a second, and random numbers of each sound's own,

.. math:: y_n = x_n + \tfrac{\rho}{2} (y_{n - N} + y_{n - N - 1})                                                 (1)

is a plucked string: x is noise in the first N samples, and the loop, r / (N + 1/2) times a second, loses its high
frequencies first (Karplus and Strong, "Digital synthesis of plucked-string and drum timbres", 1983);

.. math:: y(t) = \sum_j a_j e^{-q_j t / \tau} \sin(2 \pi q_j f t + \varphi_j)                                    (2)

is a bell, whose partials q_j are near those of cast ones: hum, prime, minor third, fifth, octave and above (Fletcher
and Rossing, "The Physics of Musical Instruments", 1998, chapter 21);

.. math:: y(t) = e^{-t / \tau} \sin\big(2 \pi f (t + d s (1 - e^{-t / s}))\big) + w\, e^{-t / \nu} \epsilon(t)      (3)

is a drum: a tone that falls from (1 + d) f to f, and a burst of noise. Each sound has a peak of its own.
"""

import math
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from numpy.typing import NDArray

from carrara.data.arrays import Arrays
from carrara.data.base import DataInfo, Dataset
from carrara.data.sources.base import Source
from carrara.modality import AnyModality, Sound
from carrara.seeds import Draws

CLASSES = ("string", "bell", "drum")
_PARTIALS = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.5, 2.67, 3.0, 4.0])
_STRENGTHS = np.array([0.5, 0.9, 0.7, 0.35, 1.0, 0.25, 0.25, 0.4, 0.3])
_STEP = 32768.0
_LONGEST = 1 << 20


@final
@dataclass(frozen=True, kw_only=True)
class TonesSource(Source):
    """Sounds of three classes by equations (1) to (3); sound k is the same however many there are.

    Attributes:
        count: how many.
        rate: samples a second.
        length: samples of a sound; ``data.size`` goes before it.
    """

    spatial = 1
    preset = "sound"
    kind: Literal["tones"] = "tones"
    count: int = 1500
    rate: int = 8000
    length: int = 4096

    def __post_init__(self) -> None:
        if self.count < 3 or not 1000 <= self.rate <= 192_000 or not 16 <= self.length <= _LONGEST:
            raise ValueError(
                f"take 3 sounds or more, of 16 to {_LONGEST} samples at 1000 to 192000 a second, not {self.count} of "
                f"{self.length} at {self.rate}"
            )

    def open(self, size: int | None = None) -> Dataset:
        length = min(size or self.length, _LONGEST)
        made = (strings, bells, drums)
        samples = np.empty((self.count, length, 1), np.float32)
        for first, make in enumerate(made):
            draws = Draws(0, torch.arange(first, self.count, len(made)))
            samples[first :: len(made), :, 0] = _levelled(make(draws, self.rate, length), draws)
        info = DataInfo(name=self.kind, channels=1, native=(length,), classes=tuple(sorted(CLASSES)))
        numbers = [info.classes.index(CLASSES[k % len(made)]) for k in range(self.count)]
        names = [f"{CLASSES[k % len(made)]} {k}" for k in range(self.count)]
        return Arrays(info, samples, numbers, names=names, keys=[f"tone {k}" for k in range(self.count)])

    @property
    def modality(self) -> AnyModality:
        return Sound(rate=self.rate)


def strings(draws: Draws, rate: int, length: int) -> NDArray[np.float64]:
    """Equation (1): pitches from 110 to 440 Hz, whose rho alone takes 60 dB in 0.4 to 2 seconds; (B, length)."""
    pitch, fading = _between(draws, "string pitch", 110, 440), _between(draws, "string fading", 0.4, 2)
    sounds = np.zeros((len(pitch), length))
    for sound, f, seconds, noise in zip(sounds, pitch, fading, _noise(draws, "string", rate // 100), strict=True):
        period = round(rate / f - 0.5)
        factor = 10 ** (-3 * (period + 0.5) / rate / seconds) / 2
        burst = min(period, length)
        sound[:burst] = noise[:burst] - noise[:period].mean()
        for start in range(period, length, period):
            end = min(start + period, length)
            before = sound[start - period : end - period]
            earlier = np.concatenate([sound[max(0, start - period - 1) : start - period], before])[: end - start]
            earlier = earlier if start > period else np.concatenate([[0.0], before])[: end - start]
            sound[start:end] = factor * (before + earlier)
    return sounds


def bells(draws: Draws, rate: int, length: int) -> NDArray[np.float64]:
    """Equation (2): f from 250 to 900 Hz, tau of 0.3 to 1 second, each q_j within 1 %; (B, length)."""
    count = len(_PARTIALS)
    f, tau = _between(draws, "bell pitch", 250, 900)[:, None, None], _between(draws, "bell fading", 0.3, 1)
    partials = (_PARTIALS * (1 + 0.01 * _uniform(draws, "bell partials", count, -1, 1)))[..., None]
    strengths = (_STRENGTHS * _uniform(draws, "bell strengths", count, 0.4, 1))[..., None]
    phases = _uniform(draws, "bell phases", count, 0, 2 * math.pi)[..., None]
    t = np.arange(length) / rate
    sounds = np.empty((len(tau), length))
    for k in range(len(sounds)):
        heard = partials[k] * f[k] < 0.45 * rate
        waves = np.sin(2 * math.pi * partials[k] * f[k] * t + phases[k])
        sounds[k] = (heard * strengths[k] * np.exp(-partials[k] * t / tau[k]) * waves).sum(0)
    return sounds


def drums(draws: Draws, rate: int, length: int) -> NDArray[np.float64]:
    """Equation (3): f from 50 to 180 Hz, and noise that is short or long, weak or strong; (B, length)."""
    f, tau = _between(draws, "drum pitch", 50, 180)[:, None], _between(draws, "drum fading", 0.06, 0.3)[:, None]
    depth, sweep = _between(draws, "drum depth", 0.5, 4)[:, None], _between(draws, "drum sweep", 0.01, 0.05)[:, None]
    weight, burst = _between(draws, "drum noise", 0.1, 1)[:, None], _between(draws, "drum burst", 0.01, 0.1)[:, None]
    t = np.arange(length) / rate
    tone = np.exp(-t / tau) * np.sin(2 * math.pi * f * (t + depth * sweep * (1 - np.exp(-t / sweep))))
    return tone + weight * np.exp(-t / burst) * _noise(draws, "drum", length)


def _levelled(sounds: NDArray[np.float64], draws: Draws) -> NDArray[np.float64]:
    """With peaks from 0.3 to 0.9, and as 16 bits hold them: what differs among processors is rounded off; in [0, 1]."""
    peaks = _between(draws, "tone level", 0.3, 0.9)[:, None]
    values = sounds * (peaks / np.abs(sounds).max(1, keepdims=True).clip(1e-9))
    return (np.rint(values * _STEP) / _STEP + 1) / 2


def _between(draws: Draws, purpose: str, low: float | int, high: float | int) -> NDArray[np.float64]:
    """(B,), evenly by their logarithms."""
    return low * (high / low) ** draws.uniform(purpose).double().numpy()


def _uniform(draws: Draws, purpose: str, count: int, low: float | int, high: float | int) -> NDArray[np.float64]:
    """(B, count)."""
    return low + (high - low) * draws.uniform(purpose, count).double().numpy()


def _noise(draws: Draws, purpose: str, length: int) -> NDArray[np.float64]:
    """(B, length) in [-1, 1]; its beginning is the same whatever the length."""
    return _uniform(draws, f"{purpose} noise", length, -1, 1)
