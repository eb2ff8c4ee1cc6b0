r"""How far two sounds are apart for the ear, which hears how strong frequencies are, and hardly their phases.

With S and R the magnitudes of the short-time spectra of a sound and of what became of it, at frames of n samples,

.. math:: p = \frac{1}{|N|} \sum_{n \in N} \frac{\|S - R\|}{\|S\| + \epsilon}
              + \operatorname{mean} |\ln (S + \epsilon) - \ln (R + \epsilon)|                                     (1)

is the multi-resolution distance of Yamamoto et al., "Parallel WaveGAN" (2020), equations 4 to 6: the first term looks
at what is loud, the second at what is quiet, and what one frame blurs in time another one blurs in frequency.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from carrara.shapes import PerSample
from carrara.sounds import Sounds, powers

_FRAMES = (128, 512, 1024)
_EPSILON = 1e-4  # -80 dB
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class SpectralConfig:
    """Equation (1), of sounds."""

    spatial: ClassVar[int] = 1
    """Axes of places of what it looks at."""

    kind: Literal["spectral"] = "spectral"

    def build(self) -> "SpectralDistance":
        """Makes the distance."""
        return SpectralDistance()


@final
class SpectralDistance(nn.Module):
    """Equation (1); frames that are longer than the sounds are left out."""

    name = "multi-resolution spectra"

    def forward(self, x: Sounds, y: Sounds) -> PerSample:
        """Of sounds (B, C, L) in [-1, 1]; y is the one that x became of."""
        frames = [n for n in _FRAMES if n <= x.shape[-1]] or _FRAMES[:1]
        return torch.stack([_distance(x.float(), y.float(), n) for n in frames]).mean(0)


def _distance(x: Tensor, y: Tensor, n: int) -> Tensor:
    """One term of the sum, (B,)."""
    made, wanted = ((powers(sound, n) + _TINY).sqrt().flatten(1) for sound in (x, y))
    loud = (made - wanted).norm(dim=1) / (wanted.norm(dim=1) + _EPSILON)
    return loud + (torch.log(made + _EPSILON) - torch.log(wanted + _EPSILON)).abs().mean(1)
