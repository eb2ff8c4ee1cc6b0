"""Pictures from measurements of them, by a model that was never trained for it: see ``sample.inverse``."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from torch import Tensor

from carrara.draw.drawing import Drawing
from carrara.draw.generate import Progress, generate
from carrara.medium import Size
from carrara.sample import Measurement, MeasurementLikelihood, measured
from carrara.types import DenoiseFn


def restore(
    drawing: Drawing,
    y: Tensor,
    measure: Measurement,
    *,
    likelihood: MeasurementLikelihood,
    noise: float = 0.0,
    size: Size | None = None,
    batch: int = 16,
) -> Iterator[Progress]:
    """Draws pictures of which ``y`` may be a measurement, one for each seed; a classifier's opinion counts, too.

    Args:
        y: (1, C', H', W'), as ``measure`` makes it of pictures in [-1, 1].
        noise: standard deviation of the measurement's, for values in [-1, 1].
        size: of the pictures; None is the model's own.
        batch: at a time; fewer than without a measurement, because the network's steps are kept for the gradient.

    Raises:
        UserError: see ``generate``.
    """
    model = drawing.model
    y = y.to(model.device)
    decode = partial(model.pixels, size=size) if model.first_stage.learned else None

    def given(denoise: DenoiseFn) -> DenoiseFn:
        schedule = model.config.schedule
        restored = measured(denoise, y, measure, schedule, likelihood=likelihood, noise=noise, decode=decode)
        return restored if drawing.within is None else drawing.within(restored)

    yield from generate(replace(drawing, within=given), size=size, batch=batch)
