"""Pictures from measurements of them, by a model that was never trained for it: see ``sample.inverse``."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from torch import Tensor

from carrara.autoencoder import Identity
from carrara.model import DiffusionModel, Size
from carrara.sample import Likelihood, Measurement, measured
from carrara.task.generate import Progress, Told, drawn
from carrara.types import DenoiseFn


def restore(
    model: DiffusionModel,
    y: Tensor,
    measure: Measurement,
    told: Told,
    *,
    likelihood: Likelihood,
    noise: float = 0.0,
    size: Size | None = None,
    batch: int = 16,
) -> Iterator[Progress]:
    """Draws pictures of which ``y`` may be a measurement, one for each seed.

    Args:
        y: (1, C', H', W'), as ``measure`` makes it of pictures in [-1, 1].
        told: what they shall show, and how they are drawn; a classifier's opinion adds to the measurement.
        noise: standard deviation of the measurement's, for values in [-1, 1].
        size: of the pictures; None is the model's own.
        batch: at a time; fewer than without a measurement, because the network's steps are kept for the gradient.

    Raises:
        UserError: see ``drawn``.
    """
    y = y.to(model.device)
    decode = None if isinstance(model.first_stage, Identity) else partial(model.pixels, size=size)

    def given(denoise: DenoiseFn) -> DenoiseFn:
        schedule = model.config.schedule
        restored = measured(denoise, y, measure, schedule, likelihood=likelihood, noise=noise, decode=decode)
        return restored if told.within is None else told.within(restored)

    yield from drawn(model, replace(told, within=given), size=size, batch=batch)
