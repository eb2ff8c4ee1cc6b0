r"""From one sample of levels to another, by a model that reveals what is masked.

Every value has a place u in [0, 1] of its own on the way. At the share s it is still the first sample's if u is well
above s, and the second's already if u is well below; between,

.. math:: |u - s| < s (1 - s),                                                                                   (1)

it is masked, and drawn by the model beside all that is not: at either end nothing is, and half of all in the middle.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from carrara.draw.drawing import Drawing
from carrara.draw.edit import encode, size_of
from carrara.draw.generate import Progress, decoded
from carrara.sample import draws_for, inpainting, noise_for
from carrara.sample.generate import without_gradients
from carrara.seeds import Draws
from carrara.shapes import Signals


def between_levels(drawing: Drawing, ends: Signals, shares: Tensor, *, batch: int = 64) -> Iterator[Progress]:
    """Goes from one sample of levels to another, equation (1).

    Args:
        drawing: what is drawn between them, of one sample.
        ends: (2, C, *N) in [-1, 1].
        shares: (N,) in [0, 1], of the second end in each sample.
        batch: samples of the model's own size at a time.

    Raises:
        UserError: see ``Drawing.denoise``.
    """
    model, settings, seed = drawing.model, drawing.settings, drawing.seeds[0]
    first, second = encode(model, ends).chunk(2)
    schedule = model.config.schedule
    times = settings.grid(settings.steps, schedule)
    places = Draws(0, torch.tensor([seed])).uniform("places on the way", *ends.shape[1:])
    u = places.repeat_interleave(first.shape[1] // ends.shape[1], dim=1).to(first.device)
    for part in drawing.batches(first.shape[1:], batch, len(shares)):
        s = shares[part].to(first).reshape(-1, *[1] * (first.ndim - 1))
        known, new = torch.where(u < s, second, first), (u - s).abs() < s * (1 - s)
        several = drawing.asked(wishes=drawing.request.wishes * len(s), seeds=(seed,) * len(s))
        draws = draws_for(several.seeds, model.device)
        x = settings.sampler.initial(draws, known.shape[1:], schedule, times[0].item())
        steps = inpainting(settings.sampler).steps(
            several.denoise(), x, times, schedule, noise_for(draws, known.shape[1:]), known=known, new=new
        )
        yield from decoded(drawing, part, size_of(ends), without_gradients(steps), len(shares))
