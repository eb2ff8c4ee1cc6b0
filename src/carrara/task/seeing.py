"""Models that see something beside their input: larger pictures from small ones, pictures from maps, holes filled."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import prod

import torch
from jaxtyping import Integer
from PIL import Image
from torch import Tensor

from carrara import pixels
from carrara.autoencoder import Identity
from carrara.conditioning import LayoutMap, Lowres, Masked
from carrara.model import DiffusionModel, Size
from carrara.pixels import Pictures
from carrara.seeds import Draws
from carrara.task.edit import Mask, blended, check_mask, encode, feathered, size_of
from carrara.task.generate import Progress, Told, drawn
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
    return model.image.clean().drawn(
        batch, _factor(model, size_of(batch.x)), Draws(seed, batch.position), partial(encode, model)
    )


def shown(model: DiffusionModel, batch: Batch, made: Pictures, seed: int = 0) -> Image.Image:
    """A sheet of two triples a row: what ``seen`` gives, what was made of it, and the picture itself."""
    assert model.image is not None
    given = model.image.visible(batch, Draws(seed, batch.position))
    columns = torch.stack([given.cpu(), made.cpu(), batch.x.cpu()], dim=1).flatten(0, 1)
    return pixels.grid(columns, 2 * len(LABELS), column_labels=2 * LABELS)


def upscale(model: DiffusionModel, lowres: Lowres, low: Pictures, told: Told, noise: float = 0.0) -> Iterator[Progress]:
    """Makes ``lowres.factor`` times as large pictures of a picture, one for each seed of ``told``.

    Args:
        lowres: the model's ``image``.
        low: (1, C, h, w), of any size.
        noise: s of ``conditioning.images``, which hides the flaws of a bad picture.

    Raises:
        UserError: the result would be too large.
    """
    height, width = size_of(low)
    size = lowres.factor * height, lowres.factor * width
    count, draws = len(told.seeds), Draws(0, torch.tensor(told.seeds))
    low = low.cpu().expand(count, -1, -1, -1)
    image = lowres.given(low, _factor(model, size), torch.full((count,), noise), draws)
    return _made(model, image, size, told)


def paint(
    model: DiffusionModel, layout: LayoutMap, numbers: Integer[Tensor, "1 H W"], told: Told
) -> Iterator[Progress]:
    """Paints over a map of its colours' numbers, once for each seed of ``told``; ``layout`` is the model's ``image``.

    Raises:
        UserError: the map is too large.
    """
    size = numbers.shape[1], numbers.shape[2]
    return _made(model, layout.given(numbers, _factor(model, size)), size, told)


def fill(
    model: DiffusionModel, masked: Masked, x: Pictures, new: Mask, told: Told, *, feather: int = 0
) -> Iterator[Progress]:
    """Makes a picture new where it is to be, once for each seed of ``told``; ``masked`` is the model's ``image``.

    Args:
        x: (1, C, H, W), of any size.
        new: (H, W), True where something new is made.
        feather: of a model in latents, over how many pixels beside it the new part fades into the picture.

    Raises:
        UserError: the mask has another size than the picture, or is all or nothing, or the picture is too large.
    """
    size = size_of(x)
    check_mask(new, size)
    m, w = (
        new[None, None].float().to(model.device),
        feathered(new, 0 if isinstance(model.first_stage, Identity) else feather),
    )
    image = masked.given(x.to(model.device), m, _factor(model, size), partial(encode, model))
    for at in _made(model, image, size, told):
        yield at if at.pixels is None else replace(at, pixels=blended(at.pixels, x.to(at.pixels.device), w))


def _factor(model: DiffusionModel, size: Size) -> int:
    """How many pixels' edge a latent stands for, of pictures of a size that the model can make."""
    model.latents_of(size)
    assert model.first_stage.factor is not None, "a model that sees something has latents with places"
    return model.first_stage.factor


def _made(model: DiffusionModel, image: Tensor, size: Size, told: Told) -> Iterator[Progress]:
    tile, seen_by_all = window(model, size, told.tile), image.expand(len(told.seeds), *image.shape[1:])
    return drawn(model, replace(told, tile=tile, image=seen_by_all), size=size)


def window(model: DiffusionModel, size: Size, tile: Size | None) -> Size | None:
    """By which windows a model that sees pictures makes one: those asked for, or its own size, if that is smaller."""
    own = model.shape[1], model.shape[2]
    return tile or (own if prod(size) > prod(own) else None)
