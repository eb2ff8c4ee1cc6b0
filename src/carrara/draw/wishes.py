"""From what a user types to the estimate that it asks for, where one picture may have several wishes; and from what the
data say to what a user would type."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from carrara.conditioning import Conditioner, Labels, Part, TextConditioner, Vectors, joined
from carrara.data import Dataset, captions_of
from carrara.model import DiffusionModel
from carrara.sample import compose
from carrara.types import Conditioning, DenoiseFn

Bind = Callable[[Conditioning], DenoiseFn]
"""The model's estimate under a condition."""


def parts_of(conditioner: Conditioner, wish: str | None) -> tuple[Part, ...]:
    """The wishes in a wish; none if nothing is said.

    Raises:
        UserError: they cannot be told apart, see ``conditioning.joined``.
    """
    return () if wish is None else joined(wish, conditioner.classes)


def spoken(model: DiffusionModel, wishes: Sequence[str | None], bind: Bind) -> DenoiseFn:
    """The estimate for each sample's wish: one evaluation for the most parts that a wish has, and one more for nothing
    where weights do not add up to 1.

    Raises:
        UserError: a wish that the model does not understand.
    """
    read = [parts_of(model.conditioner, wish) for wish in wishes]
    most = max(map(len, read), default=0)
    texts = [[parts[k].text if k < len(parts) else None for parts in read] for k in range(most)]
    if most <= 1:
        return bind(model.conditions(texts[0] if texts else wishes))
    weights = [[parts[k].weight if k < len(parts) else 0.0 for parts in read] for k in range(most)]
    weights[0] = [w if parts else 1.0 for w, parts in zip(weights[0], read, strict=True)]
    null = bind(model.conditions([None] * len(wishes)))
    return compose([bind(model.conditions(part)) for part in texts], torch.tensor(weights), null)


def prompts(model: DiffusionModel, data: Dataset, indices: Iterable[int]) -> tuple[str | None, ...]:
    """What one would type to say what the data say of these examples; None where they say nothing."""
    return tuple(_prompt(model, data, k) for k in indices)


def _prompt(model: DiffusionModel, data: Dataset, k: int) -> str | None:
    match model.conditioner:
        case TextConditioner() as conditioner:
            return next(
                (prompt for caption in captions_of(data, k) if (prompt := conditioner.as_prompt(caption))), None
            )
        case Labels(classes=classes):
            ones = np.flatnonzero(np.asarray(data.columns(k)["label"]))
            return "+".join(classes[int(one)] for one in ones) or None
        case Vectors():
            return ",".join(map(str, np.asarray(data.columns(k)["vector"])))
        case _:
            return None
