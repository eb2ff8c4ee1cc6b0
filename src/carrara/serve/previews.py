"""Small pictures of what is being made, as a page can show them."""

import base64
from io import BytesIO
from math import ceil

import torch
from PIL import Image
from torch import Tensor

from carrara.model import Model
from carrara.store import OpenModel

MOST_SHOWN = 16
"""Samples of a preview."""
EDGE = 512
"""The longest edge of a preview, in pixels."""


def encoded(image: Image.Image, form: str = "WEBP", *, lossless: bool = False) -> bytes:
    """A picture as a file's bytes; WebP loses a little, and JPEG the transparency, too."""
    buffer = BytesIO()
    image = image.convert("RGB") if form == "JPEG" else image
    options = {"WEBP": {"lossless": True} if lossless else {"quality": 80, "method": 2}, "JPEG": {"quality": 90}}
    image.save(buffer, form, **options.get(form, {}))
    return buffer.getvalue()


def as_data(image: Image.Image, *, lossless: bool = False) -> str:
    """A picture as a ``data:`` address."""
    content = encoded(image, lossless=True) if lossless else encoded(fitted(image))
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"


def fitted(image: Image.Image, edge: int = EDGE) -> Image.Image:
    """A picture that is no larger than that."""
    if max(image.size) <= edge:
        return image
    scale = edge / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


@torch.no_grad()
def estimates(model: Model, latents: Tensor) -> Tensor:
    """What estimates of the data, (B, *S'), show, (B, *S), by the tiny decoder where there is one."""
    factor = model.first_stage.factor
    edges = latents.shape[2:]
    size = tuple(factor * edge for edge in edges) if factor is not None and len(edges) == len(model.size) else None
    own = tuple(model.latent_shape[1:]) == tuple(edges)
    return model.pixels(latents, fast=model.fast is not None, size=None if own else size)


def preview(opened: OpenModel, latents: Tensor) -> str:
    """All samples of estimates as one small picture."""
    few = latents[:MOST_SHOWN]
    shown = estimates(opened.model, few).float().cpu()
    return as_data(opened.model.medium.grid(shown, ceil(len(few) ** 0.5)))
