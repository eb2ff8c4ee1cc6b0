r"""New pictures from old ones, by any diffusion model, in pixels or in latents.

A picture x whose latents are z = E(x) is noised to a time t and drawn again from there,

.. math:: z_t = \alpha_t z + \sigma_t \epsilon,                                                                  (1)

so that what is coarser than the noise stays and the rest is new (Meng et al., "SDEdit", 2022). The time t is the
strength: 0 keeps the picture, 1 keeps next to nothing.

Where only a part is to be new, ``sample.inpainting`` draws it beside what is known. A latent is new if any of its
pixels is, and a decoder changes even the pixels of known latents, so what comes out is blended with the picture,

.. math:: \hat x = w \, D(z) + (1 - w) \, x,                                                                     (2)

where w is 1 in the mask, falls to 0 over some pixels beside it, the feather, and is 0 beyond: what is there is kept.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from carrara.conditioning.masks import touched
from carrara.draw.drawing import Drawing
from carrara.draw.generate import Progress, decoded
from carrara.errors import UserError
from carrara.medium import Size
from carrara.model import DiffusionModel
from carrara.sample import Inpainting, SampleStep, draws_for, inpainting, noise_for
from carrara.sample.base import Times
from carrara.sample.generate import without_gradients
from carrara.shapes import Signals, by, window

Mask = Bool[Tensor, "..."]
"""(*N), or (C, *N) where channels differ: True where something new is made."""


def encode(model: DiffusionModel, pictures: Signals) -> Tensor:
    """Pixels (B, C, H, W) in [-1, 1] to model latents (B, *S'): the mode, without gradients.

    Raises:
        UserError: the model cannot make pictures of this size.
    """
    model.latents_of(size_of(pictures))
    with torch.no_grad():
        return model.first_stage.latents(model.first_stage.encode_raw(pictures.to(model.device)), None)


def size_of(pictures: Signals) -> Size:
    """(height, width) of pictures (B, C, H, W), or as many edges as samples have."""
    return tuple(pictures.shape[2:])


def img2img(drawing: Drawing, pictures: Signals, strength: float, *, batch: int = 64) -> Iterator[Progress]:
    """Draws pictures again from equation (1) with t = ``strength``, one result per seed.

    It begins at the first time of the settings' grid that is not above the strength, and makes the steps that are left
    from there: of 20 uniform steps 12 at strength 0.6. Their number is ``total`` in what it yields.

    Args:
        pictures: (N, C, H, W) in [-1, 1], one for each seed, or one for all of them; of any size.
        strength: 0 to 1.
        batch: results of the model's own size at a time.

    Raises:
        UserError: a strength that is none or too small for a single step, or see ``Drawing.denoise``.
    """
    model, settings = drawing.model, drawing.settings
    times = rest(settings.grid(settings.steps, model.config.schedule), strength)
    z, size = encode(model, pictures), size_of(pictures)
    z = z.expand(len(drawing.seeds), *z.shape[1:])
    for part in drawing.batches(z.shape[1:], batch):
        yield from decoded(drawing, part, size, _redraw(drawing.part(part), z[part], times))


def rest(times: Times, strength: float) -> Tensor:
    """The part of a grid that begins at the strength, or at the first time below it.

    Raises:
        UserError: the strength is not in 0 .. 1, or below the grid's last time before 0.
    """
    if not 0 <= strength <= 1:
        raise UserError(f"strength {strength:g} is none: it goes from 0, which keeps the picture, to 1, all noise")
    left = times[times <= strength + 1e-9]
    if strength > 0 and len(left) < 2:
        raise UserError(
            f"strength {strength:g} is below the last of the {len(times) - 1} steps, which begins at {times[-2]:.3g}: "
            "ask for more strength, or for more steps"
        )
    return left


def _redraw(drawing: Drawing, z: Tensor, times: Times) -> Iterator[SampleStep]:
    """Equation (1) and the way back; the latents themselves if there is no way."""
    draws, schedule = draws_for(drawing.seeds, drawing.model.device), drawing.model.config.schedule
    if len(times) == 1:
        return iter([SampleStep(index=0, total=1, t=0.0, x=z, x0=z)])
    sampler, noise = drawing.settings.sampler, noise_for(draws, z.shape[1:])
    x = sampler.noised(draws, z, schedule, times[0])
    return without_gradients(sampler.steps(drawing.denoise(), x, times, schedule, noise))


def inpaint(
    drawing: Drawing,
    picture: Signals,
    mask: Mask,
    how: Inpainting | None = None,
    *,
    feather: int = 0,
    batch: int = 64,
) -> Iterator[Progress]:
    """Makes a part of a picture new, once for each seed; ``how`` takes the sampler's place.

    Args:
        picture: (1, C, H, W) in [-1, 1], of any size. What it shows in the mask has no influence in pixels; in latents
            it has a little on those beside it.
        mask: True where something new is made.
        how: None is what goes with the settings' sampler: 10 resamplings of each step, or none of levels.
        feather: w's width in pixels in equation (2); a model in pixels keeps the picture there anyway.
        batch: results of the model's own size at a time.

    Raises:
        UserError: the mask has another size than the picture, or is all or nothing, or see ``Drawing.denoise``.
    """
    model, settings, size, how = (
        drawing.model,
        drawing.settings,
        size_of(picture),
        how or inpainting(drawing.settings.sampler),
    )
    check_mask(mask, size)
    new, z, w = latents_in(model, mask), encode(model, picture), feathered(mask, feather)
    schedule = model.config.schedule
    times = settings.grid(settings.steps, schedule)
    for part in drawing.batches(z.shape[1:], batch):
        draws = draws_for(drawing.seeds[part], model.device)
        x = settings.sampler.initial(draws, z.shape[1:], schedule, times[0].item())
        noise = noise_for(draws, z.shape[1:])
        denoise, known = drawing.part(part).denoise(), z.expand_as(x)
        steps = how.steps(denoise, x, times, schedule, noise, known=known, new=new.to(x.device))
        for at in decoded(drawing, part, size, without_gradients(steps)):
            yield at if at.pixels is None else replace(at, pixels=blended(at.pixels, picture.to(x.device), w))


def placed(picture: Signals, size: Size, corner: Size) -> tuple[Tensor, Mask]:
    """A picture on a larger canvas, where its edges go on, and the mask of what is around it."""
    own = size_of(picture)
    behind = [edge - had - first for edge, had, first in zip(size, own, corner, strict=True)]
    if min(*corner, *behind) < 0:
        raise UserError(f"a canvas of {by(size)} does not hold what is {by(own)}: enlarge it")
    mask = torch.ones(size, dtype=torch.bool)
    mask[window(corner, own)] = False
    margins = [margin for pair in reversed(list(zip(corner, behind, strict=True))) for margin in pair]
    return F.pad(picture, margins, mode="replicate"), mask


def check_mask(mask: Mask, size: Size) -> None:
    """Refuses masks that do not fit a picture of ``size``, or leave nothing to do or to keep."""
    if tuple(mask.shape[-len(size) :]) != size:
        order = " (height x width)" if len(size) == 2 else ""
        raise UserError(
            f"the mask is {by(mask.shape)} and the picture {by(size)}{order}: a mask has the size of its picture"
        )
    if not mask.any():
        raise UserError("the mask is black everywhere, so nothing is to be made new: paint that white")
    if mask.all():
        raise UserError("the mask is white everywhere, so nothing of the picture is kept: draw without it instead")


def check_feather(width: int, size: Size) -> None:
    """Refuses a feather that is negative, or wider than a picture of ``size``."""
    if not 0 <= width <= max(size):
        raise UserError(f"a feather of {width} pixels is none: take 0 to {max(size)}, the picture's longer edge")


def latents_in(model: DiffusionModel, mask: Mask) -> Bool[Tensor, "1 channels *n"]:
    """The latents of which any pixel is in the mask; of all channels, or of each that the mask tells apart.

    Raises:
        UserError: the model's latents have no places.
    """
    factor = model.first_stage.factor
    if factor is None:
        raise UserError("this model's latents are vectors without places, so no part of a picture can be kept")
    if mask.ndim < len(model.shape):
        return touched(mask[None, None].float(), factor) > 0
    if not model.first_stage.learned:
        return mask.repeat_interleave(model.first_stage.levels or 1, dim=0)[None]
    raise UserError("this model's latents hold all channels together, so none is kept alone: leave the channels out")


def feathered(mask: Mask, width: int) -> Float[Tensor, "..."]:
    """Equation (2)'s w: 1 in the mask, 0 more than ``width`` pixels from it, and between them in equal steps.

    Raises:
        UserError: see ``check_feather``.
    """
    check_feather(width, tuple(mask.shape))
    w = total = mask[None].float()
    for _ in range(width):
        w = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[mask.ndim - 1](w, 3, stride=1, padding=1)
        total = total + w
    return total[0] / (width + 1)


def blended(x: Signals, picture: Tensor, w: Tensor) -> Signals:
    """Equation (2) for many results of one picture; where w is 0, the picture's own numbers."""
    w = w.to(x.device)
    return torch.where(w > 0, w * x.clamp(-1, 1) + (1 - w) * picture, picture)
