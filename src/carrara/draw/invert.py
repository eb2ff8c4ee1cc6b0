"""Pictures as the noise that a model makes them of: there and back, back to something else, and between two of them.

All of it follows the probability flow by DDIM, on the grid of the settings; see ``sample.inversion``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from carrara.draw.drawing import Drawing
from carrara.draw.edit import encode, rest, size_of
from carrara.draw.generate import Progress, decoded
from carrara.errors import UserError
from carrara.medium import Size
from carrara.sample import Ddim, SampleStep, blend, draws_for, initial, invert, last, slerp
from carrara.sample.base import Times
from carrara.sample.generate import without_gradients
from carrara.shapes import Signals

Ends = tuple[Drawing, Drawing]
"""The drawings at both ends of a way."""
REFINEMENTS = 5
"""Of each step of an inversion: on trained models the way there and back then errs by less than a level of 8 bits."""


def noise_of(
    drawing: Drawing, z: Tensor, *, strength: float = 1.0, refinements: int = REFINEMENTS
) -> Iterator[SampleStep]:
    """Leads model latents (B, *S') to the noise, or the noisy state at the time ``strength``, that becomes them.

    Args:
        drawing: what the pictures show; with guidance, which makes the way less exact, if its settings have some.
        strength: how far, 0 to 1.
        refinements: of each step; 0 is plain DDIM inversion.

    Raises:
        UserError: a strength that is none, or see ``Drawing.denoise``.
    """
    times = _grid(drawing, strength).flip(0)
    steps = invert(drawing.denoise(), z, times, drawing.model.config.schedule, refinements=refinements)
    return without_gradients(steps)


def rewrite(
    before: Drawing,
    after: Drawing,
    pictures: Signals,
    *,
    strength: float = 1.0,
    refinements: int = REFINEMENTS,
    batch: int = 64,
) -> Iterator[Progress]:
    """Inverts pictures as what they are, and makes of their noise what they shall be.

    What both wishes have in common stays. The same wish twice, without guidance, gives the pictures again.

    Args:
        before: what is asked on the way to noise; its grid and number of steps count, its sampler does not.
        after: what is asked on the way back.
        pictures: (N, C, H, W) in [-1, 1], one for each seed; of any size. Seeds have no other meaning here.
        strength: how far into noise, 0 to 1; the less, the more stays.
        refinements: of each step of the inversion.
        batch: pictures of the model's own size at a time.

    Raises:
        UserError: see ``noise_of``.
    """
    z, size = encode(before.model, pictures), size_of(pictures)
    for part in after.batches(z.shape[1:], batch, len(z)):
        there = noise_of(before.part(part), z[part], strength=strength, refinements=refinements)
        back = _there_and_back(there, after.part(part), _grid(before, strength))
        yield from decoded(after, part, size, back)


def between_pictures(
    drawings: Ends, pictures: Signals, shares: Tensor, *, refinements: int = REFINEMENTS, batch: int = 64
) -> Iterator[Progress]:
    """Goes from one picture to another: spherically between their noises, and from one wish to the other.

    Args:
        drawings: what each end shows, of one sample each; with the same settings.
        pictures: (2, C, H, W) in [-1, 1].
        shares: (N,) in [0, 1], of the second end in each picture.
        refinements: of each step of the inversions.
        batch: pictures of the model's own size at a time.

    Raises:
        UserError: see ``noise_of``.
    """
    z, ends = encode(drawings[0].model, pictures), [_by_ddim(end) for end in drawings]
    noises = [last(noise_of(end, z[k : k + 1], refinements=refinements)).x for k, end in enumerate(ends)]
    yield from _between(ends, noises, shares, size_of(pictures), batch)


def between_wishes(drawings: Ends, shares: Tensor, *, size: Size | None = None, batch: int = 64) -> Iterator[Progress]:
    """Goes from one wish to another, and from one seed to another, which may be the same.

    Args:
        drawings: what each end shows, of one sample each, and its seed; with the same settings, whose sampler does not
            count: with fresh noise in each step, neighbours would have little in common.
        shares: (N,) in [0, 1], of the second end in each picture.
        size: of the pictures; None is the model's own.
        batch: pictures of the model's own size at a time.

    Raises:
        UserError: see ``Drawing.denoise``.
    """
    model, settings, ends = drawings[0].model, drawings[0].settings, [_by_ddim(end) for end in drawings]
    shape, schedule = model.latents_of(size), model.config.schedule
    first = settings.grid(settings.steps, schedule)[0].item()
    noises = [initial(draws_for(end.seeds, model.device), shape, schedule, first) for end in ends]
    yield from _between(ends, noises, shares, size or model.size, batch)


def _between(
    ends: Sequence[Drawing], noises: Sequence[Tensor], shares: Tensor, size: Size, batch: int
) -> Iterator[Progress]:
    """One sample for each share, from the noise (1, *S') and the wish at either end, without fresh noise."""
    model, settings, shape = ends[0].model, ends[0].settings, noises[0].shape[1:]
    schedule = model.config.schedule
    for part in ends[0].batches(shape, batch, len(shares)):
        w = shares[part].to(model.device)
        first, second = (
            end.asked(wishes=end.request.wishes * len(w), seeds=end.request.seeds * len(w)) for end in ends
        )
        x = slerp(noises[0].expand(len(w), *shape), noises[1].expand(len(w), *shape), w)
        denoise = first.denoise()
        if first.request.wishes != second.request.wishes:
            denoise = blend(denoise, second.denoise(), w)
        steps = settings.sampler.steps(denoise, x, settings.grid(settings.steps, schedule), schedule, _no_noise)
        yield from decoded(first, part, size, without_gradients(steps), len(shares))


def _there_and_back(there: Iterator[SampleStep], drawing: Drawing, times: Times) -> Iterator[SampleStep]:
    """The steps of an inversion and of the way back, counted together."""
    end = None
    for end in there:
        yield replace(end, total=2 * end.total)
    assert end is not None
    back = Ddim().steps(drawing.denoise(), end.x, times, drawing.model.config.schedule, _no_noise)
    for step in without_gradients(back):
        yield replace(step, index=step.index + step.total, total=2 * step.total)


def _no_noise(index: int) -> Tensor:
    raise AssertionError(f"step {index} of DDIM is deterministic")


def _grid(drawing: Drawing, strength: float) -> Tensor:
    """The times from the strength down to the data."""
    settings = drawing.settings
    times = rest(settings.grid(settings.steps, drawing.model.config.schedule), strength)
    if len(times) < 2:
        raise UserError("strength 0 leaves pictures as they are: ask for more, up to 1")
    return times


def _by_ddim(drawing: Drawing) -> Drawing:
    return drawing.asked(settings=replace(drawing.settings, sampler=Ddim()))
