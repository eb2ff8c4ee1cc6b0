r"""New pictures from old ones, by any diffusion model, in pixels or in latents.

A picture x whose latents are z = E(x) is noised to a time t and drawn again from there,

.. math:: z_t = \alpha_t z + \sigma_t \epsilon,                                                                  (1)

so that what is coarser than the noise stays and the rest is new (Meng et al., "SDEdit", 2022). The time t is the
strength: 0 keeps the picture, 1 keeps next to nothing.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from carrara.errors import UserError
from carrara.model import AnyModel, Autoencoder, DiffusionModel, Size
from carrara.noise import add_noise
from carrara.pixels import Pictures
from carrara.sample import SampleStep, draws_for, noise_for
from carrara.sample.base import Times
from carrara.sample.generate import without_gradients
from carrara.task.generate import Progress, Told, batches, denoiser


def editable(model: AnyModel) -> DiffusionModel:
    """The model, if it can draw over pictures.

    Raises:
        UserError: it makes points, or is an autoencoder alone.
    """
    if isinstance(model, Autoencoder):
        raise UserError(
            "this run is an autoencoder without diffusion, so it cannot draw anything new: train diffusion on it "
            "(model.first_stage.run=RUN), or look at what it keeps with 'carrara edit RUN reconstruct'"
        )
    if len(model.shape) != 3:
        raise UserError("this model makes points, and pictures are edited: take a model that was trained on pictures")
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


def rest(times: Times, strength: float) -> Times:
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
