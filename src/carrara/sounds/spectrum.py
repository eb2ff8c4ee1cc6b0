r"""Spectra of sounds: which frequencies are how strong, and when.

The samples x of a sound are cut into frames of n, which overlap by half and are weighed by Hann's window w. With X the
discrete Fourier transform of a frame, the power at frequency f_k = k r / n (r samples a second) is

.. math:: P_k = c_k |X_k|^2 / (n \sum_j w_j^2), \quad c_0 = c_{n/2} = 1, \text{ else } c_k = 2,                  (1)

so that the sum over k is the mean square of the samples, on average over frames (Parseval; Welch, "The use of fast
Fourier transform for the estimation of power spectra", 1967). Pitch is heard on a scale that is nearly linear below
1000 Hz and nearly logarithmic above,

.. math:: m(f) = 2595 \log_{10}(1 + f / 700)                                                                      (2)

(O'Shaughnessy, "Speech Communication", 1987). A mel spectrum is the power in triangles that are equally wide in m, each
of which begins where its neighbour has its peak (Davis and Mermelstein, "Comparison of parametric representations for
monosyllabic word recognition", 1980):

.. math:: M_b = \sum_k T_{bk} P_k.                                                                                (3)

Powers are told in decibels below that of full scale, 10 log10(P).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Sounds = Float[Tensor, "B C L"]
"""Sounds inside: float32 samples in [-1, 1], C channels."""

SILENCE = 1e-12
"""The least power that is told from none: -120 dB."""


def mel(frequency: Float[Tensor, "*K"]) -> Float[Tensor, "*K"]:
    """Equation (2), of hertz."""
    return 2595 * torch.log10(1 + frequency / 700)


def hertz(mels: Float[Tensor, "*K"]) -> Float[Tensor, "*K"]:
    """The inverse of equation (2)."""
    return 700 * (10 ** (mels / 2595) - 1)


def frequencies(rate: int, n: int) -> Float[Tensor, "K"]:
    """f_k of equation (1), in hertz, float64."""
    return torch.arange(n // 2 + 1, dtype=torch.float64) * rate / n


def band_edges(rate: int, bands: int) -> Float[Tensor, "E"]:
    """Where ``bands`` bands begin and end that are equally wide in mel, from 0 to half of the rate; in hertz."""
    top = mel(torch.tensor(rate / 2, dtype=torch.float64))
    return hertz(torch.linspace(0, 1, bands + 1, dtype=torch.float64) * top)


def powers(x: Sounds, n: int) -> Float[Tensor, "B C T K"]:
    """Equation (1), of every frame; a sound that is shorter than a frame is followed by silence.

    Args:
        n: samples of a frame, an even number.
    """
    assert n >= 2 and n % 2 == 0
    hop = n // 2
    x = F.pad(x, (0, max(n - x.shape[-1], -(x.shape[-1] - n) % hop)))
    window = torch.hann_window(n, dtype=x.dtype, device=x.device)
    spectrum = torch.fft.rfft(x.unfold(-1, n, hop) * window)
    power = spectrum.real.square() + spectrum.imag.square()
    power[..., 1:-1] *= 2
    return power / (n * window.square().sum())


def spectrum_of(x: Sounds, n: int) -> Float[Tensor, "B K"]:
    """Equation (1), as a mean over frames and channels."""
    return powers(x, n).mean((1, 2))


def triangles(rate: int, n: int, bands: int) -> Float[Tensor, "M K"]:
    """T of equation (3), float32; triangles that are narrower than the distance of two f_k take the nearest one."""
    f = frequencies(rate, n)
    corners = band_edges(rate, bands + 1)
    low, peak, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    weights = torch.minimum((f - low) / (peak - low), (high - f) / (high - peak)).clamp(min=0)
    nearest = (f - peak).abs().argmin(1)
    empty = weights.sum(1) == 0
    weights[empty, nearest[empty]] = 1
    return weights.float()


def decibels(power: Float[Tensor, "*K"], least: float = SILENCE) -> Float[Tensor, "*K"]:
    """10 log10 of powers; those below ``least`` are taken as this."""
    return 10 * torch.log10(power.clamp(min=least))


def frame_of(rate: int, length: int, seconds: float = 0.032) -> int:
    """A power of two, of about so many seconds: samples of a frame that suit sounds of a length."""
    wanted = min(max(16.0, rate * seconds), max(16, length // 2))
    return 1 << max(4, round(float(torch.log2(torch.tensor(wanted)))))
