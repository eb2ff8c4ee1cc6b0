"""What the verbs of autoencoders share: pictures as such a model takes them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from carrara.errors import UserError
from carrara.medium import Picture
from carrara.shapes import by
from carrara.store import OpenModel


def check_decodes(opened: OpenModel, what: str) -> None:
    """Refuses a model without an autoencoder.

    Raises:
        UserError: there is none to ``what`` with.
    """
    if not opened.model.first_stage.learned:
        raise UserError(f"'{opened.folder}' diffuses in pixels: it has no autoencoder to {what} with")


def encodable(opened: OpenModel, image: Picture, *, resized: bool) -> Tensor:
    """A picture as the first stage takes it, (1, C, H, W), on the model's device.

    Args:
        resized: brought to the model's own size; else a convolutional stage takes it as it is.

    Raises:
        UserError: it has other channels, or is smaller than one latent.
    """
    model = opened.model
    factor = model.first_stage.factor
    x = image.tensor(model.shape[0], model.size if resized or factor is None else None)
    if factor is not None and min(x.shape[2:]) < factor:
        raise UserError(
            f"'{image.path}' is {by(x.shape[2:])}, smaller than the {factor} pixels that one latent of this "
            "autoencoder covers: enlarge it first"
        )
    return x.to(model.device)


def ends_for(opened: OpenModel, images: Sequence[Picture]) -> Tensor:
    """Two pictures, or held-out ones where none are named, (2, C, H, W).

    Raises:
        UserError: there are not two, or one cannot be used.
    """
    if len(images) not in (0, 2):
        raise UserError(f"interpolate goes between two pictures, and {len(images)} are named")
    if images:
        return torch.cat([encodable(opened, image, resized=True) for image in images])
    ends = opened.examples(2)
    if len(ends) < 2:
        raise UserError(f"the data of '{opened.folder}' have fewer than two pictures: name two")
    return ends
