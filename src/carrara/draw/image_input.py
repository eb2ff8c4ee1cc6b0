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
from carrara.conditioning import LayoutMap, Lowres, Masked
from carrara.draw.drawing import Drawing
from carrara.draw.edit import Mask, blended, check_mask, encode, feathered, size_of
from carrara.draw.generate import Progress, generate
from carrara.medium import Size
from carrara.model import DiffusionModel
from carrara.pixels import Pictures
from carrara.seeds import Draws
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


def upscale(drawing: Drawing, lowres: Lowres, low: Pictures, noise: float = 0.0) -> Iterator[Progress]:
    """Makes ``lowres.factor`` times as large pictures of a picture, one for each seed.

    Args:
        lowres: the model's ``image``.
        low: (1, C, h, w), of any size.
        noise: s of ``conditioning.images``, which hides the flaws of a bad picture.

    Raises:
        UserError: the result would be too large.
    """
    size = tuple(lowres.factor * edge for edge in size_of(low))
    count, draws = len(drawing.seeds), Draws(0, torch.tensor(drawing.seeds))
    low = low.cpu().expand(count, -1, -1, -1)
    image = lowres.given(low, _factor(drawing.model, size), torch.full((count,), noise), draws)
    return _made(drawing, image, size)


def paint(drawing: Drawing, layout: LayoutMap, numbers: Integer[Tensor, "1 H W"]) -> Iterator[Progress]:
    """Paints over a map of its colours' numbers, once for each seed; ``layout`` is the model's ``image``.

    Raises:
        UserError: the map is too large.
    """
    size = tuple(numbers.shape[1:])
    return _made(drawing, layout.given(numbers, _factor(drawing.model, size)), size)


def fill(drawing: Drawing, masked: Masked, x: Pictures, new: Mask, *, feather: int = 0) -> Iterator[Progress]:
    """Makes a picture new where it is to be, once for each seed; ``masked`` is the model's ``image``.

    Args:
        x: (1, C, H, W), of any size.
        new: (H, W), True where something new is made.
        feather: of a model in latents, over how many pixels beside it the new part fades into the picture.

    Raises:
        UserError: the mask has another size than the picture, or is all or nothing, or the picture is too large.
    """
    model, size = drawing.model, size_of(x)
    check_mask(new, size)
    m, w = new[None, None].float().to(model.device), feathered(new, feather * model.first_stage.learned)
    image = masked.given(x.to(model.device), m, _factor(model, size), partial(encode, model))
    for at in _made(drawing, image, size):
        yield at if at.pixels is None else replace(at, pixels=blended(at.pixels, x.to(at.pixels.device), w))


def _factor(model: DiffusionModel, size: Size) -> int:
    """How many pixels' edge a latent stands for, of pictures of a size that the model can make."""
    model.latents_of(size)
    assert model.first_stage.factor is not None, "a model that sees something has latents with places"
    return model.first_stage.factor


def _made(drawing: Drawing, image: Tensor, size: Size) -> Iterator[Progress]:
    windowed = drawing.asked(tile=sampling_window(drawing.model, size, drawing.request.window))
    return generate(replace(windowed, image=image.expand(len(drawing.seeds), *image.shape[1:])), size=size)


def sampling_window(model: DiffusionModel, size: Size, tile: Size | None) -> Size | None:
    """By which windows a model that sees pictures makes one: those asked for, or its own size, if that is smaller."""
    return tile or (model.size if prod(size) > prod(model.size) else None)
