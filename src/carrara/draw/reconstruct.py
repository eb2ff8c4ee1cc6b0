"""What a first stage makes of pictures: the same ones again, those between two, and what each latent means."""

import torch
from PIL import Image
from torch import Tensor

from carrara import pixels
from carrara.autoencoder import LayeredVae
from carrara.model import Model
from carrara.shapes import Samples

SPAN = 3.0
"""How many standard deviations a traversal goes to either side."""


@torch.no_grad()
def reconstruct(model: Model, x: Samples, *, batch: int = 64, fast: bool = False) -> Samples:
    """Encodes to the mode of the posterior and decodes: (B, *S) to the same shape, on the CPU.

    Args:
        x: pixels in [-1, 1], on the model's device; a convolutional stage takes any size.
        batch: how many at a time.
        fast: by the distilled decoder.
    """
    decode = model.fast if fast and model.fast is not None else model.first_stage.decode
    stage, whole = model.first_stage, tuple(slice(0, edge) for edge in x.shape[1:])
    parts = (decode(stage.latents(stage.encode_raw(part), None)) for part in x.split(batch))
    return torch.cat([part[:, *whole].cpu() for part in parts])


@torch.no_grad()
def interpolate(model: Model, ends: Samples, steps: int) -> Tensor:
    """Goes from one picture to another along a straight line of latents: (steps, *S), on the CPU.

    Args:
        ends: (2, *S), on the model's device.
        steps: how many pictures, both ends among them.
    """
    stage, whole = model.first_stage, tuple(slice(0, edge) for edge in ends.shape[1:])
    first, last = stage.latents(stage.encode_raw(ends), None)
    way = torch.linspace(0, 1, steps, device=first.device).reshape(-1, *[1] * first.ndim)
    return stage.decode(torch.lerp(first, last, way))[:, *whole].cpu()


@torch.no_grad()
def traverse(vae: LayeredVae, layer: int, steps: int) -> Tensor:
    """Moves each latent of a layer alone from -``SPAN`` to ``SPAN``, the others at 0: (D * steps, *S), on the CPU.

    Args:
        layer: from 0, the one next to the pixels.
    """
    width = vae.widths[layer]
    values = torch.linspace(-SPAN, SPAN, steps, device=vae.mean.device)
    z = torch.eye(width, device=values.device)[:, None] * values[:, None]
    return vae.from_layer(layer, z.flatten(0, 1)).cpu()


def compared(model: Model, x: Samples, columns: int = 8) -> Image.Image:
    """Draws pictures (B, C, H, W) above what the model makes of them, and below what its distilled decoder does."""
    columns = min(columns, len(x))
    rows = [x.cpu(), reconstruct(model, x)] + [reconstruct(model, x, fast=True)] * (model.fast is not None)
    groups = [torch.cat(group) for group in zip(*(row.split(columns) for row in rows), strict=True)]
    return pixels.grid(torch.cat([group for group in groups if len(group) == len(rows) * columns]), columns)
