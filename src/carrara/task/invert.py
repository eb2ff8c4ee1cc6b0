"""Pictures as the noise that a model makes them of: there and back, back to something else, and between two of them.

All of it follows the probability flow by DDIM, on the grid of the settings; see ``sample.inversion``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from carrara.errors import UserError
from carrara.model import DiffusionModel, Size
from carrara.pixels import Pictures
from carrara.sample import Ddim, SampleStep, blend, draws_for, initial, invert, last, slerp
from carrara.sample.base import Times
from carrara.sample.generate import without_gradients
from carrara.task.edit import encode, rest, shown, size_of
from carrara.task.generate import Progress, Told, batches, denoiser

REFINEMENTS = 5
"""Of each step of an inversion: on trained models the way there and back then errs by less than a level of 8 bits."""


def inverted(
    model: DiffusionModel, z: Tensor, told: Told, *, strength: float = 1.0, refinements: int = REFINEMENTS
) -> Iterator[SampleStep]:
    """Leads model latents (B, *S') to the noise, or the noisy state at the time ``strength``, that becomes them.

    Args:
        told: what the pictures show; with guidance, which makes the way less exact, if its settings have some.
        strength: how far, 0 to 1.
        refinements: of each step; 0 is plain DDIM inversion.

    Raises:
        UserError: a strength that is none, or see ``denoiser``.
    """
    times = _grid(model, told, strength).flip(0)
    steps = invert(denoiser(model, told), z, times, model.config.schedule, refinements=refinements)
    return without_gradients(steps)


def rewrite(
    model: DiffusionModel,
    pictures: Pictures,
    before: Told,
    after: Told,
    *,
    strength: float = 1.0,
    refinements: int = REFINEMENTS,
    batch: int = 64,
) -> Iterator[Progress]:
    """Inverts pictures as what they are, and makes of their noise what they shall be.

    What both wishes have in common stays. The same wish twice, without guidance, gives the pictures again.

    Args:
        pictures: (N, C, H, W) in [-1, 1], one for each seed; of any size. Seeds have no other meaning here.
        before: told on the way to noise; its grid and number of steps count, its sampler does not.
        after: told on the way back.
        strength: how far into noise, 0 to 1; the less, the more stays.
        refinements: of each step of the inversion.
        batch: pictures of the model's own size at a time.

    Raises:
        UserError: see ``inverted``.
    """
    z, size = encode(model, pictures), size_of(pictures)
    for part in batches(model, len(z), z.shape[1:], batch):
        there = inverted(model, z[part], before.only(part), strength=strength, refinements=refinements)
        back = _there_and_back(model, there, after.only(part), _grid(model, before, strength))
        yield from shown(model, after, part, size, back)


def between_pictures(
    model: DiffusionModel,
    ends: Pictures,
    told: tuple[Told, Told],
    shares: Tensor,
    *,
    refinements: int = REFINEMENTS,
    batch: int = 64,
) -> Iterator[Progress]:
    """Goes from one picture to another: spherically between their noises, and from one wish to the other.

    Args:
        ends: (2, C, H, W) in [-1, 1].
        told: what each end shows, to one sample each; with the same settings.
        shares: (N,) in [0, 1], of the second end in each picture.
        refinements: of each step of the inversions.
        batch: pictures of the model's own size at a time.

    Raises:
        UserError: see ``inverted``.
    """
    z, deterministic = encode(model, ends), [_by_ddim(end) for end in told]
    noises = [
        last(inverted(model, z[k : k + 1], end, refinements=refinements)).x for k, end in enumerate(deterministic)
    ]
    yield from _between(model, noises, deterministic, shares, size_of(ends), batch)


def between_wishes(
    model: DiffusionModel, told: tuple[Told, Told], shares: Tensor, *, size: Size | None = None, batch: int = 64
) -> Iterator[Progress]:
    """Goes from one wish to another, and from one seed to another, which may be the same.

    Args:
        told: what each end shows, to one sample each, and its seed; with the same settings, whose sampler does not
            count: with fresh noise in each step, neighbours would have little in common.
        shares: (N,) in [0, 1], of the second end in each picture.
        size: of the pictures; None is the model's own.
        batch: pictures of the model's own size at a time.

    Raises:
        UserError: see ``denoiser``.
    """
    shape, schedule, deterministic = model.latents_of(size), model.config.schedule, [_by_ddim(end) for end in told]
    first = told[0].settings.grid(told[0].settings.steps, schedule)[0].item()
    noises = [initial(draws_for(end.seeds, model.device), shape, schedule, first) for end in told]
    yield from _between(model, noises, deterministic, shares, size or (model.shape[1], model.shape[2]), batch)


def _between(
    model: DiffusionModel,
    noises: Sequence[Tensor],
    told: Sequence[Told],
    shares: Tensor,
    size: Size,
    batch: int,
) -> Iterator[Progress]:
    """One sample for each share, from the noise (1, *S') and the wish at either end, without fresh noise."""
    settings, schedule, shape = told[0].settings, model.config.schedule, noises[0].shape[1:]
    for part in batches(model, len(shares), shape, batch):
        w = shares[part].to(model.device)
        first, second = (replace(t, wishes=[*t.wishes] * len(w), seeds=[*t.seeds] * len(w)) for t in told)
        x = slerp(noises[0].expand(len(w), *shape), noises[1].expand(len(w), *shape), w)
        denoise = denoiser(model, first)
        if first.wishes != second.wishes:
            denoise = blend(denoise, denoiser(model, second), w)
        steps = settings.sampler.steps(denoise, x, settings.grid(settings.steps, schedule), schedule, _no_noise)
        yield from shown(model, first, part, size, without_gradients(steps))


def _there_and_back(
    model: DiffusionModel, there: Iterator[SampleStep], told: Told, times: Times
) -> Iterator[SampleStep]:
    """The steps of an inversion and of the way back, counted together."""
    end = None
    for end in there:
        yield replace(end, total=2 * end.total)
    assert end is not None
    back = Ddim().steps(denoiser(model, told), end.x, times, model.config.schedule, _no_noise)
    for step in without_gradients(back):
        yield replace(step, index=step.index + step.total, total=2 * step.total)


def _no_noise(index: int) -> Tensor:
    raise AssertionError(f"step {index} of DDIM is deterministic")


def _grid(model: DiffusionModel, told: Told, strength: float) -> Tensor:
    """The times from the strength down to the data."""
    times = rest(told.settings.grid(told.settings.steps, model.config.schedule), strength)
    if len(times) < 2:
        raise UserError("strength 0 leaves pictures as they are: ask for more, up to 1")
    return times


def _by_ddim(told: Told) -> Told:
    return replace(told, settings=replace(told.settings, sampler=Ddim()))
