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

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from carrara.conditioning.masks import touched
from carrara.errors import UserError
from carrara.model import AnyModel, Autoencoder, DiffusionModel, Size
from carrara.noise import add_noise
from carrara.pixels import Pictures
from carrara.sample import Repaint, SampleStep, draws_for, initial, noise_for
from carrara.sample.base import Times
from carrara.sample.generate import without_gradients
from carrara.task.generate import Progress, Told, batches, denoiser

Mask = Bool[Tensor, "rows columns"]
"""True where something new is made."""


def editable(model: AnyModel) -> DiffusionModel:
    """The model, if it can draw over pictures.

    Raises:
        UserError: it makes points, is an autoencoder alone, or knows no other way than its own few steps.
    """
    if isinstance(model, Autoencoder):
        raise UserError(
            "this run is an autoencoder without diffusion, so it cannot draw anything new: train diffusion on it "
            "(model.first_stage.run=RUN), or look at what it keeps with 'carrara edit RUN reconstruct'"
        )
    if len(model.shape) != 3:
        raise UserError("this model makes points, and pictures are edited: take a model that was trained on pictures")
    if "few_steps" in model.about:
        raise UserError(
            f"this model goes from noise to a picture in {model.about['few_steps']} steps and no other way: edit with "
            "its teacher's run"
        )
    return model


def encode(model: DiffusionModel, pictures: Pictures) -> Tensor:
    """Pixels (B, C, H, W) in [-1, 1] to model latents (B, *S'): the mode, without gradients.

    Raises:
        UserError: the model cannot make pictures of this size.
    """
    model.latents_of(size_of(pictures))
    with torch.no_grad():
        return model.first_stage.latents(model.first_stage.encode_raw(pictures.to(model.device)), None)


def size_of(pictures: Pictures) -> Size:
    """(height, width)."""
    return pictures.shape[-2], pictures.shape[-1]


def img2img(
    model: DiffusionModel, pictures: Pictures, strength: float, told: Told, *, batch: int = 64
) -> Iterator[Progress]:
    """Draws pictures again from equation (1) with t = ``strength``, one result per seed of ``told``.

    It begins at the first time of the settings' grid that is not above the strength, and makes the steps that are left
    from there: of 20 uniform steps 12 at strength 0.6. Their number is ``total`` in what it yields.

    Args:
        pictures: (N, C, H, W) in [-1, 1], one for each seed, or one for all of them; of any size.
        strength: 0 to 1.
        batch: results of the model's own size at a time.

    Raises:
        UserError: a strength that is none or too small for a single step, or see ``denoiser``.
    """
    times = rest(told.settings.grid(told.settings.steps, model.config.schedule), strength)
    z, size = encode(model, pictures), size_of(pictures)
    z = z.expand(len(told.seeds), *z.shape[1:])
    for part in batches(model, len(z), z.shape[1:], batch):
        yield from shown(model, told, part, size, _redrawn(model, z[part], times, told.only(part)))


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


def _redrawn(model: DiffusionModel, z: Tensor, times: Times, told: Told) -> Iterator[SampleStep]:
    """Equation (1) and the way back; the latents themselves if there is no way."""
    draws, schedule = draws_for(told.seeds, model.device), model.config.schedule
    if len(times) == 1:
        return iter([SampleStep(index=0, total=1, t=0.0, x=z, x0=z)])
    eps = draws.normal("initial noise", *z.shape[1:])
    x = add_noise(z, eps, *(value.float() for value in schedule(times[0])))
    noise = noise_for(draws, z.shape[1:])
    return without_gradients(told.settings.sampler.steps(denoiser(model, told), x, times, schedule, noise))


def inpaint(
    model: DiffusionModel,
    picture: Pictures,
    mask: Mask,
    told: Told,
    how: Repaint | None = None,
    *,
    feather: int = 0,
    batch: int = 64,
) -> Iterator[Progress]:
    """Makes a part of a picture new, once for each seed of ``told``, whose sampler ``how`` takes the place of.

    Args:
        picture: (1, C, H, W) in [-1, 1], of any size. What it shows in the mask has no influence in pixels; in latents
            it has a little on those beside it.
        mask: True where something new is made.
        how: None is 10 resamplings of each step.
        feather: w's width in pixels in equation (2); a model in pixels keeps the picture there anyway.
        batch: results of the model's own size at a time.

    Raises:
        UserError: the mask has another size than the picture, or is all or nothing, or see ``denoiser``.
    """
    size, how = size_of(picture), how or Repaint()
    check_mask(mask, size)
    new, z, w = latents_in(model, mask), encode(model, picture), feathered(mask, feather)
    schedule = model.config.schedule
    times = told.settings.grid(told.settings.steps, schedule)
    for part in batches(model, len(told.seeds), z.shape[1:], batch):
        draws = draws_for(told.seeds[part], model.device)
        x = initial(draws, z.shape[1:], schedule, times[0].item())
        noise = noise_for(draws, z.shape[1:])
        steps = how.steps(
            denoiser(model, told.only(part)), x, times, schedule, noise, known=z.expand_as(x), new=new.to(x.device)
        )
        for at in shown(model, told, part, size, without_gradients(steps)):
            yield at if at.pixels is None else replace(at, pixels=blended(at.pixels, picture.to(x.device), w))


def outpaint(
    model: DiffusionModel,
    picture: Pictures,
    size: Size,
    corner: tuple[int, int],
    told: Told,
    how: Repaint | None = None,
    *,
    feather: int = 0,
    batch: int = 64,
) -> Iterator[Progress]:
    """Draws what is around a picture, by ``inpaint``.

    Args:
        picture: (1, C, H, W) in [-1, 1].
        size: (height, width) of the canvas.
        corner: (row, column) of the picture's upper left corner on it.

    Raises:
        UserError: the picture is not within the canvas, or as ``inpaint``.
    """
    canvas, mask = placed(picture, size, corner)
    yield from inpaint(model, canvas, mask, told, how, feather=feather, batch=batch)


def placed(picture: Pictures, size: Size, corner: tuple[int, int]) -> tuple[Tensor, Mask]:
    """A picture on a larger canvas, where its edges go on, and the mask of what is around it."""
    (top, left), (height, width) = corner, size_of(picture)
    below, right = size[0] - height - top, size[1] - width - left
    if min(top, left, below, right) < 0:
        raise UserError(f"a canvas of {size[0]}x{size[1]} does not hold a picture of {height}x{width}: enlarge it")
    mask = torch.ones(size, dtype=torch.bool)
    mask[top : top + height, left : left + width] = False
    return F.pad(picture, (left, right, top, below), mode="replicate"), mask


def check_mask(mask: Mask, size: Size) -> None:
    """Refuses masks that do not fit a picture of ``size``, or leave nothing to do or to keep."""
    if tuple(mask.shape) != size:
        raise UserError(
            f"the mask is {mask.shape[0]}x{mask.shape[1]} and the picture {size[0]}x{size[1]} (height x width): "
            "a mask has the size of its picture"
        )
    if not mask.any():
        raise UserError("the mask is black everywhere, so nothing is to be made new: paint that white")
    if mask.all():
        raise UserError("the mask is white everywhere, so nothing of the picture is kept: draw without it instead")


def check_feather(width: int, size: Size) -> None:
    """Refuses a feather that is negative, or wider than a picture of ``size``."""
    if not 0 <= width <= max(size):
        raise UserError(f"a feather of {width} pixels is none: take 0 to {max(size)}, the picture's longer edge")


def latents_in(model: DiffusionModel, mask: Mask) -> Bool[Tensor, "1 1 h w"]:
    """The latents of which any pixel is in the mask.

    Raises:
        UserError: the model's latents have no places.
    """
    factor = model.first_stage.factor
    if factor is None:
        raise UserError("this model's latents are vectors without places, so no part of a picture can be kept")
    return touched(mask[None, None].float(), factor) > 0


def feathered(mask: Mask, width: int) -> Float[Tensor, "rows columns"]:
    """Equation (2)'s w: 1 in the mask, 0 more than ``width`` pixels from it, and between them in equal steps.

    Raises:
        UserError: see ``check_feather``.
    """
    check_feather(width, (mask.shape[0], mask.shape[1]))
    w = total = mask[None].float()
    for _ in range(width):
        w = F.max_pool2d(w, 3, stride=1, padding=1)
        total = total + w
    return total[0] / (width + 1)


def blended(x: Pictures, picture: Tensor, w: Tensor) -> Pictures:
    """Equation (2) for many results of one picture; where w is 0, the picture's own numbers."""
    w = w.to(x.device)
    return torch.where(w > 0, w * x.clamp(-1, 1) + (1 - w) * picture, picture)


def shown(
    model: DiffusionModel, told: Told, part: slice, size: Size, steps: Iterable[SampleStep]
) -> Iterator[Progress]:
    """Passes a batch's steps on, and decodes the last one."""
    for step in steps:
        pixels = None
        if step.index == step.total - 1:
            with torch.no_grad():
                pixels = model.pixels(step.x, fast=told.fast, size=size)
        yield Progress(first=part.start, step=step, pixels=pixels)


def finished(progress: Iterable[Progress]) -> Tensor:
    """All results of a request, (N, *S), on the CPU."""
    return torch.cat([at.pixels.cpu() for at in progress if at.pixels is not None])
