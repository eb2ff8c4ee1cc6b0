"""Models that see something of a picture beside their input: what that is for given pictures, and how it looks."""

from functools import partial

import torch
from PIL import Image
from torch import Tensor

from carrara import pixels
from carrara.model import DiffusionModel
from carrara.pixels import Pictures
from carrara.seeds import Draws
from carrara.task.edit import encode
from carrara.types import Batch

LABELS = ("given", "made", "original")


def seen(model: DiffusionModel, batch: Batch, seed: int = 0) -> Tensor | None:
    """What the network sees of pictures, (B, C'', h, w), of which nothing but holes is drawn; None if it sees nothing.

    Args:
        batch: pictures of any size that the model can make, and their maps.
    """
    if model.image is None:
        return None
    batch = batch.to(model.device)
    height, width = batch.x.shape[2:]
    _, *size = model.latents_of((height, width))
    return model.image.clean().drawn(batch, (size[0], size[1]), Draws(seed, batch.position), partial(encode, model))


def shown(model: DiffusionModel, batch: Batch, made: Pictures, seed: int = 0) -> Image.Image:
    """A sheet of two triples a row: what ``seen`` gives, what was made of it, and the picture itself."""
    assert model.image is not None
    given = model.image.visible(batch, Draws(seed, batch.position))
    columns = torch.stack([given.cpu(), made.cpu(), batch.x.cpu()], dim=1).flatten(0, 1)
    return pixels.grid(columns, 2 * len(LABELS), column_labels=2 * LABELS)
