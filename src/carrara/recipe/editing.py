"""``carrara edit``: pictures of a user's, or of the held-out data, through a trained model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from carrara import pixels
from carrara.autoencoder import ConvolutionalStage, Identity, LayeredVae
from carrara.data import batch_of, spread
from carrara.errors import UserError
from carrara.model import AnyModel
from carrara.recipe import build
from carrara.recipe.folder import located, run_of
from carrara.recipe.loading import load
from carrara.recipe.pictures import named, picture
from carrara.recipe.sampling import made_by
from carrara.task import compared, interpolate, reconstruct, traverse

Edit = Literal["reconstruct", "interpolate", "traverse"]
MOST_FRAMES = 1000
"""From one end of a strip to the other."""
EXAMPLES = 24
"""Held-out pictures that stand in where none are named."""


def edit(
    model: AnyModel, folder: Path, what: Edit, images: Sequence[Path], out: Path, *, steps: int = 9, layer: int = 0
) -> list[Path]:
    """Writes what a model makes of pictures, as files that say how they were made. Nothing is overwritten.

    Args and errors as of ``decoded``.
    """
    made = decoded(model, folder, what, images, steps=steps, layer=layer)
    options = {"images": [named(path) for path in images], "steps": steps, "layer": layer}
    about = made_by(folder, model, "edit") | {"edit": {"verb": what, **options}}
    return [pixels.save_png(image, out / f"{name}.png", {**about, "result": k}) for k, (name, image) in enumerate(made)]


def decoded(
    model: AnyModel, folder: Path, what: Edit, images: Sequence[Path], *, steps: int = 9, layer: int = 0
) -> list[tuple[str, Image.Image]]:
    """What a model makes of pictures, with a name for each.

    Args:
        folder: the run's, for its held-out data if no picture is named.
        steps: pictures from one end to the other.
        layer: whose latents a traversal moves, from 1 next to the pixels; 0 = the last one.

    Raises:
        UserError: the model cannot do that, or a picture does not fit it.
    """
    if isinstance(model.first_stage, Identity):
        raise UserError(f"'{folder}' diffuses in pixels: it has no autoencoder to {what} with")
    if not 1 <= steps <= MOST_FRAMES:
        raise UserError(f"{steps} pictures are none, or too many for a strip: take 1 to {MOST_FRAMES}")
    match what:
        case "traverse":
            return [("traversal", _traversal(model, steps, layer))]
        case "interpolate" if len(images) not in (0, 2):
            raise UserError(f"interpolate goes between two pictures, and {len(images)} are named")
        case "interpolate":
            ends = _ends(model, folder, images)
            return [("interpolation", pixels.grid(interpolate(model, ends, steps), steps))]
        case "reconstruct" if images:
            return [(path.stem, _reconstructed(model, path)) for path in images]
        case "reconstruct":
            return [("reconstruction", compared(model, examples(model, folder, EXAMPLES)))]


def examples(model: AnyModel, folder: Path, count: int) -> Tensor:
    """Held-out pictures of the data that a run was trained on, (N, *S), on the model's device.

    Args:
        folder: the run's, or its ``best/`` or a checkpoint.

    Raises:
        UserError: there is no run, or its data are gone.
    """
    if (run := run_of(located(folder))) is None:
        raise UserError(f"'{folder}' has no recipe.yaml, which says what its data are: name pictures instead")
    recipe = load(run / "recipe.yaml")
    training, held_out = build.parts(recipe, build.dataset(recipe))
    data = held_out if len(held_out) else training
    return batch_of(data, build.transform(recipe), spread(count, len(data))).x.to(model.device)


def read(model: AnyModel, path: Path, *, resized: bool) -> Tensor:
    """A picture as the model takes it, (1, C, H, W), on its device.

    Args:
        resized: brought to the model's own size; else a convolutional stage takes it as it is.

    Raises:
        UserError: it cannot be read, has other channels, or is smaller than one latent.
    """
    _, height, width = model.shape
    resized = resized or not isinstance(model.first_stage, ConvolutionalStage)
    x = picture(model, path, (height, width) if resized else None)
    stage = model.first_stage
    if isinstance(stage, ConvolutionalStage) and min(x.shape[2:]) < stage.factor:
        raise UserError(
            f"'{path}' is {x.shape[3]}x{x.shape[2]}, smaller than the {stage.factor} pixels that one "
            "latent of this autoencoder covers: enlarge it first"
        )
    return x.to(model.device)


def _ends(model: AnyModel, folder: Path, images: Sequence[Path]) -> Tensor:
    if images:
        return torch.cat([read(model, path, resized=True) for path in images])
    ends = examples(model, folder, 2)
    if len(ends) < 2:
        raise UserError(f"the data of '{folder}' have fewer than two pictures: name two")
    return ends


def _reconstructed(model: AnyModel, path: Path) -> Image.Image:
    again = reconstruct(model, read(model, path, resized=False))
    return pixels.to_image(pixels.to_uint8(again)[0])


def _traversal(model: AnyModel, steps: int, layer: int) -> Image.Image:
    vae = model.first_stage
    if not isinstance(vae, LayeredVae):
        raise UserError("only a variational autoencoder (vae) has single latents to traverse: interpolate instead")
    if not 0 <= layer <= len(vae.widths):
        raise UserError(f"there is no layer {layer}: this model has the layers 1 to {len(vae.widths)}")
    chosen = (layer or len(vae.widths)) - 1
    names = [f"z{chosen + 1}.{k + 1}" for k in range(vae.widths[chosen])]
    return pixels.grid(traverse(vae, chosen, steps), steps, row_labels=names)
