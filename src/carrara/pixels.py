r"""Between pictures at the edges and tensors inside: the one module that converts.

At the edges a picture is an array (H, W, C) of uint8, uint16, or floating-point numbers in [0, 1]; inside it is float32
(C, H, W) in [-1, 1]. With v the value and m the largest value of its type (255, 65535, 1),

.. math:: x = 2 v / m - 1,                                                                                       (1)
.. math:: v = \operatorname{round}(m \operatorname{clip}((x + 1) / 2, 0, 1)).                                    (2)
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from carrara.errors import UserError
from carrara.files import Malformed, check_format, open_picture, parse_json, replacing
from carrara.files.reading import TEXT

Pixels = NDArray[Any]
"""A picture at the edges: (H, W, C), uint8, uint16, or floating-point in [0, 1]."""
Pictures = Float[Tensor, "B C H W"]
"""Pictures inside: float32 in [-1, 1]."""

WHITE = (255, 255, 255)
_CHUNK = "carrara"
LUMA = (0.299, 0.587, 0.114)
"""How much red, green and blue count for grey: ITU-R BT.601, as Pillow has it."""
_VISIBLE = 96  # the size that a small sample is enlarged to in a grid
_LABEL = 48  # characters beside a row


def largest(dtype: np.dtype[Any]) -> float:
    """The value of white: m in equation (1).

    Raises:
        ValueError: a type that pictures do not have.
    """
    if dtype.name in ("uint8", "uint16"):
        return float(np.iinfo(dtype).max)
    if dtype.kind == "f":
        return 1.0
    raise ValueError(f"pictures are uint8, uint16 or floating-point, not {dtype}")


def to_tensor(pixels: Pixels, spatial: int = 2) -> Float[Tensor, "..."]:
    """Equation (1), of (*B, *N, C) with ``spatial`` axes N and any number of channels; (*N,) is one channel."""
    value = pixels[..., None] if pixels.ndim == spatial else pixels
    value = np.moveaxis(value, -1, -1 - spatial).astype(np.float32, order="C")
    value *= np.float32(2 / largest(pixels.dtype))
    value -= 1
    return torch.from_numpy(value)


def to_pixels(x: Float[Tensor, "..."], dtype: Any = np.uint8, spatial: int = 2) -> Pixels:
    """Equation (2), of (*B, C, *N): returns (*B, *N, C) of uint8, uint16, or float32 (not rounded)."""
    top = largest(np.dtype(dtype))
    value = ((x.detach().cpu().double() + 1) / 2).clamp(0, 1).movedim(-1 - spatial, -1).numpy() * top
    return (value if np.dtype(dtype).kind == "f" else value.round()).astype(dtype)


def to_uint8(x: Pictures) -> NDArray[np.uint8]:
    """Equation (2) for a batch: returns (B, H, W, C)."""
    return to_pixels(x, np.uint8)


def composite(rgba: Pixels, background: Sequence[int] = WHITE) -> Pixels:
    """Lays pictures (..., H, W, 4) over a colour given in 0..255: returns (..., H, W, 3) of the same type."""
    top = largest(rgba.dtype)
    alpha = rgba[..., 3:].astype(np.float64) / top
    mixed = rgba[..., :3] * alpha + np.asarray(background) * (top / 255) * (1 - alpha)
    return (mixed if rgba.dtype.kind == "f" else mixed.round()).astype(rgba.dtype)


def with_channels(pixels: Pixels, channels: int, background: Sequence[int] = WHITE) -> Pixels:
    """Converts between grey (1), colour (3) and colour with transparency (4).

    Args:
        pixels: (H, W, C).
        background: what transparent pictures are laid over when the result has no transparency.

    Raises:
        ValueError: any other change of the number of channels.
    """
    have = pixels.shape[-1]
    if have == channels:
        return pixels
    if not {have, channels} <= {1, 3, 4}:
        raise ValueError(f"a picture of {have} channels cannot become one of {channels}: only 1, 3 and 4 convert")
    colour = composite(pixels, background) if have == 4 else pixels.repeat(3, -1) if have == 1 else pixels
    if channels == 1:
        grey = (colour @ np.asarray(LUMA))[..., None]
        return (grey if pixels.dtype.kind == "f" else grey.round()).astype(pixels.dtype)
    opaque = np.full_like(colour[..., :1], largest(pixels.dtype))
    return np.concatenate([colour, opaque], axis=-1) if channels == 4 else colour


def grid(
    x: Pictures,
    columns: int | None = None,
    scale: int | None = None,
    pad: int = 2,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
) -> Image.Image:
    """Draws samples row by row on a white sheet.

    One, three and four channels are shown as they are; of two the first, of others the first three.

    Args:
        x: (B, C, H, W) in [-1, 1].
        columns: how many side by side; None makes a square, or one per column label.
        scale: how many times to enlarge, pixel by pixel; None makes small samples large enough to see.
        pad: white pixels between samples.
        row_labels: written left of the rows.
        column_labels: written above the columns.
    """
    samples = to_uint8(x[:, : {2: 1}.get(x.shape[1], 3 if x.shape[1] != 4 else 4)])
    count, height, width, _ = samples.shape
    columns = columns or len(column_labels) or math.ceil(math.sqrt(count))
    scale = scale or max(1, _VISIBLE // max(height, width))
    sheet = _tile(samples.repeat(scale, 1).repeat(scale, 2), columns, pad)
    return _labelled(sheet, (height * scale + pad, width * scale + pad), row_labels, column_labels, pad)


def strip(states: Sequence[Pictures], labels: Sequence[str] = (), scale: int | None = None) -> Image.Image:
    """Draws samples being made: a row per sample, a column per state, from left to right."""
    return grid(torch.stack(list(states), dim=1).flatten(0, 1), len(states), scale, column_labels=labels)


def _tile(samples: NDArray[np.uint8], columns: int, pad: int) -> Image.Image:
    count, height, width, channels = samples.shape
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + pad) + pad, columns * (width + pad) + pad, channels), 255, np.uint8)
    for k, sample in enumerate(samples):
        top, left = pad + k // columns * (height + pad), pad + k % columns * (width + pad)
        sheet[top : top + height, left : left + width] = sample
    return to_image(sheet)


def to_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """Makes a Pillow image of (H, W, C) with one, three or four channels."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _labelled(
    sheet: Image.Image, step: tuple[int, int], rows: Sequence[str], columns: Sequence[str], pad: int
) -> Image.Image:
    if not rows and not columns:
        return sheet
    rows, columns = [_brief(text) for text in rows], [_brief(text) for text in columns]
    font = ImageFont.load_default(12)
    margin = 6 + math.ceil(max((font.getlength(text) for text in rows), default=-6))
    above = 18 if columns else 0
    white = 255 if sheet.mode == "L" else (255,) * len(sheet.mode)
    page = Image.new(sheet.mode, (sheet.width + margin, sheet.height + above), white)
    page.paste(sheet, (margin, above))
    draw = ImageDraw.Draw(page)
    black = 0 if sheet.mode == "L" else (0, 0, 0, 255)[: len(sheet.mode)]
    for k, text in enumerate(rows):
        draw.text((margin - 3, above + pad + (k + 0.5) * step[0]), text, black, font, anchor="rm")
    for k, text in enumerate(columns):
        draw.text((margin + pad + (k + 0.5) * step[1], above / 2 + 1), text, black, font, anchor="mm")
    return page


def stacked(images: Sequence[Image.Image]) -> Image.Image:
    """Pictures below each other, white beside narrower ones."""
    if len(images) == 1:
        return images[0]
    page = Image.new("RGB", (max(image.width for image in images), sum(image.height for image in images)), WHITE)
    top = 0
    for image in images:
        page.paste(image, (0, top))
        top += image.height
    return page


def displayed(x: Tensor) -> Tensor:
    """Pictures in [-1, 1] as the values 0 .. 255 that a screen shows, float32."""
    return (127.5 * (x.float().clamp(-1, 1) + 1)).round()


def rounded(x: Tensor) -> Tensor:
    """Pictures in [-1, 1] as they are when they were saved with 8 bits and read again."""
    return displayed(x) / 127.5 - 1


def _brief(text: str) -> str:
    """What has room beside a picture."""
    first = text.strip().partition("\n")[0]
    return first if len(first) <= _LABEL else f"{first[: _LABEL - 3]}..."


def fresh(path: Path) -> Path:
    """The path itself if nothing is there, else ``name-2.png``, ``name-3.png``, ..."""
    candidate, number = path, 1
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_stem(f"{path.stem}-{number}")
    return candidate


def save_png(
    image: Image.Image,
    path: Path,
    recipe: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
    within: Path | None = None,
) -> Path:
    """Saves a picture that knows how it was made, completely or not at all.

    Args:
        recipe: JSON values, stored inside the file.
        overwrite: replaces an earlier picture of this name; else a free name is taken.
        within: see ``files.make_folder``.

    Returns:
        Where it was saved.
    """
    path = path if overwrite else fresh(path)
    chunks = PngImagePlugin.PngInfo()
    if recipe is not None:
        chunks.add_itxt(_CHUNK, json.dumps(dict(recipe), ensure_ascii=False))
    with replacing(path, within=within) as file:
        image.save(file, format="PNG", pnginfo=chunks)
    return path


def read_recipe(path: Path) -> dict[str, Any]:
    """Reads the recipe that ``save_png`` stored.

    Raises:
        UserError: the file cannot be read, is not a PNG, or has no recipe, or a newer version's.
    """
    try:
        with open_picture(path, ["PNG"]) as image:
            text = image.info.get(_CHUNK)
        if isinstance(text, str) and len(text) > TEXT:
            raise Malformed(f"has {len(text)} characters, and a recipe at most {TEXT}")
        found = parse_json(text) if isinstance(text, str) else None
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(f"'{path}' is not a PNG: only the .png files that Carrara saved carry a recipe") from None
    except Malformed as error:
        raise UserError(f"the recipe in '{path}' is damaged: it {error}") from None
    except Exception as error:  # Pillow's readers of broken files raise almost anything
        raise UserError(f"'{path}' cannot be read: {' '.join(str(error).split())[:100]}") from None
    if text is None:
        raise UserError(f"'{path}' carries no recipe: it was not made by Carrara, or another program saved it again")
    check_format(found, path)
    if not isinstance(found, dict):
        raise UserError(f"the recipe in '{path}' is damaged: it is no mapping of keys to values")
    return cast(dict[str, Any], found)


def read_picture(path: Path) -> Image.Image:
    """A PNG from a file that is closed again.

    Raises:
        UserError: it is none, or is broken.
    """
    try:
        with open_picture(path, ["PNG"]) as image:
            image.load()
            return image.copy()
    except UserError:
        raise
    except Exception as error:  # as above
        raise UserError(f"'{path}' cannot be read: {' '.join(str(error).split())[:100]}") from None
