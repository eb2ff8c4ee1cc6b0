"""What a network shall see beside its input, completed from the data, or refused."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from carrara.backbone import AnyBackbone, MlpConfig
from carrara.conditioning import AnyImageCondition, LayoutMap, Lowres
from carrara.conditioning.images import LARGEST_PALETTE
from carrara.data import DataInfo
from carrara.errors import UserError
from carrara.recipe.schema import DataSettings, DiffusionSettings, Recipe

Maps = Iterable[NDArray[np.uint8]]
"""The maps of all examples, (H, W, 3) each."""


def completed(
    recipe: Recipe, data: DataSettings, info: DataInfo, backbone: AnyBackbone | None, maps: Maps
) -> tuple[AnyImageCondition | None, str]:
    """The image condition of a recipe, with the colours of the data's maps in it; and what to know about it.

    Raises:
        UserError: the data or the model do not go with it.
    """
    image = recipe.model.image
    if image is None:
        return None, ""
    if not isinstance(recipe.objective, DiffusionSettings):
        raise UserError("model.image is what a denoiser sees, and this recipe trains none: leave model.image out")
    if data.size is None or isinstance(backbone, MlpConfig):
        raise UserError("model.image is a picture, and the data are points: leave model.image out")
    latent = recipe.autoencoder is not None or recipe.model.first_stage.kind != "identity"
    why = "needs the pixels, so pictures are encoded at each step, not once before" if latent else ""
    match image:
        case Lowres(factor=factor):
            _check_multiples(factor, (data.size, *(data.buckets if data.buckets != "auto" else ())))
            return image, why
        case LayoutMap() if not info.maps:
            raise UserError(
                "model.image is map, but the data has no maps: put cat.map.png beside cat.png, or "
                '"map" into metadata.jsonl'
            )
        case LayoutMap(colours=()):
            colours = palette(maps)
            return replace(image, colours=colours), "; ".join(
                [f"{len(colours)} colours of the data's maps", *[why] * latent]
            )
        case LayoutMap():
            for _ in maps:
                pass  # each is read, so that one that is missing or broken is refused now
            return image, why
        case _:
            return image, why


def _check_multiples(factor: int, sizes: Iterable[tuple[int, int]]) -> None:
    for height, width in sizes:
        if height % factor or width % factor:
            raise UserError(
                f"pictures of {height}x{width} cannot be reduced by model.image.factor={factor}: set data.size to a "
                f"multiple of it, such as {-(-height // factor) * factor}"
            )


def palette(maps: Maps) -> tuple[tuple[int, int, int], ...]:
    """The colours of maps, sorted.

    Raises:
        UserError: they are too many.
    """
    found: set[tuple[int, int, int]] = set()
    for colours in maps:
        found |= {(r, g, b) for r, g, b in np.unique(colours.reshape(-1, 3), axis=0).tolist()}
        if len(found) > LARGEST_PALETTE:
            raise UserError(
                f"the maps have more than {LARGEST_PALETTE} colours: paint them flat, without soft edges, and save "
                "them as PNG"
            )
    return tuple(sorted(found))
