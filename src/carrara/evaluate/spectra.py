r"""How far the spectra of two sets of sounds are apart, and a vector for each sound that says what it is like.

The log-spectral distance of two power spectra (Gray and Markel, "Distance measures for speech processing", 1976) is the
root mean square of their difference in decibels. Here the spectra are the means of equation (1) of ``sounds.spectrum``
over all sounds of a set, and the mean over k is over the frequencies of a band:

.. math:: D_b = \sqrt{\frac{1}{|b|} \sum_{k \in b} (10 \log_{10} \bar P_k - 10 \log_{10} \bar Q_k)^2}.            (1)

Bands are equally wide in mel. Beside (1) stands the ratio of the bands' powers,

.. math:: r_b = \sum_{k \in b} \bar P_k / \sum_{k \in b} \bar Q_k, \quad
          s_b^2 = r_b^2 \left(\frac{\operatorname{Var} p_b}{m \bar p_b^2}
          + \frac{\operatorname{Var} q_b}{n \bar q_b^2}\right),                                                    (2)

whose error s_b (first order) is from how much the powers p_b, q_b of single sounds vary. A mean says nothing of single
sounds: noise with the right mean spectrum has r_b = 1. So there is a kernel distance, too, of vectors which tell sounds
apart. For frames of 32, 64 and 128 ms, with M the mel spectrum of 32 triangles, a vector has

.. math:: y = (60 + 10 \log_{10} \max(M, 10^{-10})) / 30                                                          (3)

of each triangle as a mean and as a deviation over time, and for the shortest frames the means over each quarter of the
sound. It is computed by fixed formulas: nothing in it was trained.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.evaluate.features import Features
from carrara.sounds import Sounds, band_edges, decibels, frame_of, frequencies, powers, spectrum_of, triangles

BANDS = 8
FRAME = 512
"""Samples of a frame of equations (1) and (2), or as many as suit shorter sounds."""
_FLOOR, _MIDDLE, _UNIT = 1e-10, 60.0, 30.0
_TRIANGLES, _QUARTERS = 32, 4
_SECONDS = (0.032, 0.064, 0.128)


@dataclass(frozen=True, kw_only=True)
class Band:
    """What a band of frequencies has in a set of sounds, beside another set.

    Attributes:
        low, high: in hertz.
        distance: equation (1), in dB.
        ratio: of the powers, equation (2).
        error: the standard error of the ratio.
        level: the power of the other set, in dB below full scale.
    """

    low: float
    high: float
    distance: float
    ratio: float
    error: float
    level: float


@dataclass(frozen=True, kw_only=True)
class SpectralReport:
    """Two sets of sounds by bands of frequencies.

    Attributes:
        distance: equation (1) over all frequencies, in dB.
        fake, real: how many sounds.
    """

    bands: tuple[Band, ...]
    distance: float
    fake: int
    real: int

    @property
    def worst(self) -> float:
        """How far the power of a band is from the data's at most, as a part of it."""
        return max(abs(band.ratio - 1) for band in self.bands)

    def lines(self) -> list[str]:
        """For a terminal."""
        rows = ["band in Hz        distance   power, of the data's"]
        for band in self.bands:
            where, level = f"{band.low:.0f} to {band.high:.0f}", f"data {band.level:.1f} dB"
            rows.append(f"  {where:<15} {band.distance:5.2f} dB   {band.ratio:.3f} ± {band.error:.1g}    {level}")
        return [*rows, f"log-spectral distance  {self.distance:.2f} dB    of the mean spectra, over all frequencies"]

    def data(self) -> dict[str, Any]:
        """The same as JSON."""
        bands = [vars(band) for band in self.bands]
        return {"lsd": self.distance, "worst": self.worst, "bands": bands, "fake": self.fake, "real": self.real}


def spectra_of(batches: Iterable[Float[Tensor, "_ C L"]], frame: int = FRAME) -> Float[Tensor, "N K"]:
    """The power spectra of sounds, float64: equation (1) of ``sounds.spectrum``, one of each sound.

    Args:
        batches: on any device.
        frame: samples of a frame.
    """
    return torch.cat([spectrum_of(x.float(), frame).cpu().double() for x in batches])


def spectral_report(
    fake: Float[Tensor, "M K"], real: Float[Tensor, "N K"], rate: int, bands: int = BANDS
) -> SpectralReport:
    """Equations (1) and (2).

    Args:
        fake, real: spectra of generated sounds and of data, as of ``spectra_of``.
        rate: samples a second.
        bands: how many; those without a frequency are left out.

    Raises:
        ValueError: a set is empty.
    """
    if not len(fake) or not len(real):
        raise ValueError("spectra are compared of one sound or more in each set")
    f, edges = frequencies(rate, 2 * (fake.shape[1] - 1)), band_edges(rate, bands)
    which = torch.searchsorted(edges[1:-1], f, right=True)
    square = (decibels(fake.mean(0)) - decibels(real.mean(0))).square()
    found: list[Band] = []
    for b in range(bands):
        inside = which == b
        if inside.any():
            p, q = fake[:, inside].sum(1), real[:, inside].sum(1)
            ratio = (p.mean() / q.mean()).item()
            found.append(
                Band(
                    low=edges[b].item(),
                    high=edges[b + 1].item(),
                    distance=square[inside].mean().sqrt().item(),
                    ratio=ratio,
                    error=ratio * (_spread(p) + _spread(q)) ** 0.5,
                    level=decibels(q.mean()).item(),
                )
            )
    return SpectralReport(bands=tuple(found), distance=square.mean().sqrt().item(), fake=len(fake), real=len(real))


def _spread(values: Tensor) -> float:
    """The square of a mean's relative error; infinite for one value."""
    return (values.var() / (len(values) * values.mean().square())).item() if len(values) > 1 else float("inf")


@final
class SpectralFeatures(Features):
    """Equation (3) of sounds (B, C, L); the powers of channels are taken together.

    Args:
        rate: samples a second.
        length: L, samples of a sound.
    """

    def __init__(self, rate: int, length: int) -> None:
        super().__init__()
        self.frames = tuple(dict.fromkeys(frame_of(rate, length, seconds) for seconds in _SECONDS))
        for n in self.frames:
            self.register_buffer(f"triangles_{n}", triangles(rate, n, _TRIANGLES))
        self.width = _TRIANGLES * (2 * len(self.frames) + _QUARTERS)
        frames = ", ".join(map(str, self.frames))
        self.name = (
            f"log-mel spectra of {_TRIANGLES} bands at {rate:g} Hz, frames of {frames}: mean, deviation, quarters"
        )

    def forward(self, pixels: Sounds) -> Float[Tensor, "B D"]:
        parts: list[Tensor] = []
        for n in self.frames:
            power = powers(pixels.float(), n).mean(1)
            y = (_MIDDLE + decibels(power @ self.get_buffer(f"triangles_{n}").T, _FLOOR)) / _UNIT
            parts += [y.mean(1), y.std(1, correction=0)]
            if n == self.frames[0]:
                parts += [part.mean(1) for part in _quarters(y)]
        return torch.cat(parts, dim=1)


def _quarters(y: Float[Tensor, "B T M"]) -> list[Tensor]:
    """Parts of a sound, of one frame at least."""
    ends = [round(k * y.shape[1] / _QUARTERS) for k in range(_QUARTERS + 1)]
    return [y[:, min(a, y.shape[1] - 1) : max(b, a + 1)] for a, b in pairwise(ends)]
