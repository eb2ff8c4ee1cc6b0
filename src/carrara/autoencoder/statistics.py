r"""What latents look like over a whole data set: m and s of ``autoencoder.base``.

With n numbers z of a channel, drawn from the posteriors and counted over pictures and places,

.. math:: m = \tfrac{1}{n} \sum z, \qquad s^2 = \tfrac{1}{n} \sum z^2 - m^2                                         (1)

in float64; the sums add up over processes.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from carrara.autoencoder.base import LearnedStage
from carrara.seeds import Draws
from carrara.types import Batch


@torch.no_grad()
def measure(
    stage: LearnedStage, batches: Iterable[Batch], seed: int, total: Callable[[Tensor], Tensor] = lambda sums: sums
) -> None:
    """Sets the stage's ``mean`` and ``std`` by equation (1).

    Args:
        batches: of pictures, on the stage's device; each rank has its share.
        seed: of the draws from the posteriors.
        total: adds a tensor up over the ranks.
    """
    sums = torch.zeros(3, len(stage.mean), dtype=torch.float64, device=stage.mean.device)
    for batch in batches:
        z = stage.sample(stage.encode_raw(batch.x), Draws(seed, batch.position)).double()
        rows = z.transpose(0, 1).flatten(1)
        sums += torch.stack([torch.full_like(rows[:, 0], rows.shape[1]), rows.sum(1), rows.square().sum(1)])
    count, first, second = total(sums)
    mean = first / count
    stage.mean.copy_(mean)
    stage.std.copy_((second / count - mean.square()).clamp(min=1e-12).sqrt())
