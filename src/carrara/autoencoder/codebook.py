r"""Vector quantization (van den Oord et al., "Neural discrete representation learning", 2017).

Each latent vector z is replaced by the nearest of K codes e. Codes follow the vectors that chose them by a moving
average (appendix A.1), with n_k vectors of a batch, their sum s_k and decay d:

.. math:: N_k \leftarrow d N_k + (1 - d) n_k, \quad S_k \leftarrow d S_k + (1 - d) s_k, \quad e_k = S_k / N_k.       (1)

The encoder is drawn to its codes by the commitment, and gradients pass the quantization as if it were not there:

.. math:: \beta \| z - \mathrm{sg}[e(z)] \|^2, \qquad \hat z = z + \mathrm{sg}[e(z) - z].                         (2)

A code that nobody chooses any more is put where a badly served vector of the batch is: the codebook does not collapse.
"""

from typing import final

import torch
from torch import Tensor, nn

from carrara import ranks
from carrara.seeds import Draws

_ALIVE = 0.05
"""A code lives while its average number of vectors per batch is at least this part of what uniform use would give."""
_ELEMENTS = 1 << 24
"""How many distances are computed at a time."""


@final
class Codebook(nn.Module):
    """K vectors of width C, learned by equation (1): a buffer, not a parameter.

    Args:
        size: K.
        width: C.
        decay: d.
    """

    codes: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, size: int, width: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("codes", torch.zeros(size, width))
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("sums", torch.zeros(size, width))

    def __len__(self) -> int:
        return len(self.codes)

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """The code of each vector: (B, C, *N) to (B, *N) int64."""
        vectors = _vectors(z)
        rows = max(1, _ELEMENTS // len(self))
        found = [self._nearest(part) for part in vectors.split(rows)]
        return torch.cat(found).reshape(z.shape[0], *z.shape[2:])

    def lookup(self, indices: Tensor) -> Tensor:
        """The vectors of codes: (B, *N) to (B, C, *N)."""
        return self.codes[indices].movedim(-1, 1)

    def quantized(self, z: Tensor, indices: Tensor) -> Tensor:
        """Equation (2): the codes of z (B, C, *N), exactly, with z's gradient."""
        return self.lookup(indices) + (z - z.detach())

    @torch.no_grad()
    def learn(self, z: Tensor, indices: Tensor, draws: Draws) -> Tensor:
        """Equation (1) with the vectors of all ranks; then revives codes that have died. Returns the vectors' codes.

        Args:
            z: (B, C, *N) what was quantized.
            indices: (B, *N) its codes.
            draws: whose seed and step decide which vectors dead codes become.
        """
        vectors, chosen = ranks.gathered(_vectors(z)), ranks.gathered(indices.flatten())
        errors = (vectors - self.codes[chosen]).square().sum(1)
        counts = torch.zeros_like(self.counts).index_add_(0, chosen, torch.ones_like(errors))
        sums = torch.zeros_like(self.sums).index_add_(0, chosen, vectors)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        self._revive(vectors, errors, draws)
        self.codes.copy_(self.sums / self.counts[:, None])
        return chosen

    def _nearest(self, vectors: Tensor) -> Tensor:
        with torch.autocast(vectors.device.type, enabled=False):  # in bfloat16, neighbours would be mistaken
            return (self.codes.square().sum(1) - 2 * vectors @ self.codes.T).argmin(1)

    def _revive(self, vectors: Tensor, errors: Tensor, draws: Draws) -> None:
        """Dead codes start anew at vectors of this batch, with the count of a code of average use.

        The vectors are drawn without replacement with the chances of k-means++, by their squared errors (Arthur and
        Vassilvitskii, 2007): where the codes are good already, as on a plain background, no more are needed.
        """
        average = len(vectors) / len(self)
        dead = self.counts < _ALIVE * average
        number = torch.arange(len(vectors), device=vectors.device)
        luck = -torch.log(-torch.log(Draws(draws.seed, number, draws.step).uniform("revived codes")))
        pick = (errors.clamp(min=1e-12).log() + luck).argsort(descending=True)
        fresh = vectors[pick[torch.arange(len(self), device=pick.device) % len(pick)]]
        self.counts.masked_fill_(dead, average)
        self.sums.copy_(torch.where(dead[:, None], fresh * average, self.sums))


def perplexity(indices: Tensor, size: int) -> Tensor:
    """exp of the entropy of the codes' use, from 1 to K: how many codes, equally used, would be as rich."""
    share = torch.bincount(indices.flatten(), minlength=size) / indices.numel()
    return torch.exp(-torch.xlogy(share, share).sum())


def usage(indices: Tensor, size: int) -> float:
    """The part of the codes that occur in ``indices``."""
    return len(torch.unique(indices)) / size


def _vectors(z: Tensor) -> Tensor:
    return z.detach().movedim(1, -1).flatten(0, -2).float()
