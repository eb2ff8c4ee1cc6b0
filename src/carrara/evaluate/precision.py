r"""Are samples like the data, and is all of the data among the samples? Answers from nearest neighbours.

Around each vector of a set lies a ball up to its k-th nearest neighbour there; the balls together stand for where
the set lives. With M samples y, N real pictures x, and their balls' radii r_k(y_j) and r_k(x_i),

.. math:: \text{precision} = \tfrac1M \#\{j: \exists i: |x_i - y_j| < r_k(x_i)\}, \quad
          \text{recall} = \tfrac1N \#\{i: \exists j: |x_i - y_j| < r_k(y_j)\}                                     (1)

(Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", 2019, with k = 3). A real
picture far from all others has a huge ball, which lets precision trust bad samples, and a few samples that are far out
do the same to recall. Less so

.. math:: \text{density} = \tfrac{1}{k M} \sum_j \#\{i: |x_i - y_j| < r_k(x_i)\}, \quad
          \text{coverage} = \tfrac1N \#\{i: \min_j |x_i - y_j| < r_k(x_i)\}                                       (2)

(Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020, with k = 5). If samples and data
have one law, density is 1 on average, and coverage is 1 - (N - 1) ... (N - k) / ((M + N - 1) ... (M + N - k)), which is
about 1 - 2^-k for M = N. All four depend on M and N: compare them at the same numbers.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.evaluate.distances import distance_blocks, nearest_neighbours

NEIGHBOURS = 5
"""k."""
_EDGE = 1 - 1e-9  # two ways to compute a distance differ by less


@dataclass(frozen=True, kw_only=True)
class PrecisionRecall:
    """Equations (1) and (2)."""

    precision: float
    recall: float
    density: float
    coverage: float

    def data(self) -> Mapping[str, float]:
        """By name."""
        return asdict(self)


def precision_recall(fake: Float[Tensor, "M D"], real: Float[Tensor, "N D"], *, k: int = NEIGHBOURS) -> PrecisionRecall:
    """Equations (1) and (2) for features of samples and of real pictures; memory is that of a few rows of distances.

    Raises:
        ValueError: k pictures or fewer of either.
    """
    radii = {name: nearest_neighbours(x, x, k, own=True)[0][:, -1] for name, x in (("fake", fake), ("real", real))}
    holders = torch.zeros(len(fake), dtype=torch.long, device=fake.device)
    recalled, covered = 0, 0
    for part, distance in distance_blocks(real, fake):
        in_real = _inside(distance, radii["real"][part, None])
        holders += in_real.sum(0)
        covered += int(in_real.any(1).sum())
        recalled += int(_inside(distance, radii["fake"]).any(1).sum())
    return PrecisionRecall(
        precision=(holders > 0).double().mean().item(),
        recall=recalled / len(real),
        density=holders.double().mean().item() / k,
        coverage=covered / len(real),
    )


def _inside(distance: Tensor, radius: Tensor) -> Tensor:
    """Whether a vector is in a ball without its surface; its centre is, even if k copies make the radius 0."""
    return (distance < _EDGE * radius) | (distance == 0)
