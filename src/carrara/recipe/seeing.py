"""What is said of given pictures, for models that see parts of them."""

from collections.abc import Iterable

import numpy as np

from carrara.conditioning import Labels, TextConditioner, Vectors
from carrara.data import Dataset
from carrara.model import DiffusionModel


def said(model: DiffusionModel, data: Dataset, examples: Iterable[int]) -> tuple[str | None, ...]:
    """What one would type to say what the data say of these examples; None where they say nothing."""
    return tuple(_said(model, data, k) for k in examples)


def _said(model: DiffusionModel, data: Dataset, k: int) -> str | None:
    match model.conditioner:
        case TextConditioner() as conditioner:
            return next((prompt for caption in data.captions(k) if (prompt := conditioner.as_prompt(caption))), None)
        case Labels(classes=classes):
            ones = np.flatnonzero(np.asarray(data.columns(k)["label"]))
            return "+".join(classes[one] for one in ones) or None
        case Vectors():
            return ",".join(map(str, np.asarray(data.columns(k)["vector"])))
        case _:
            return None
