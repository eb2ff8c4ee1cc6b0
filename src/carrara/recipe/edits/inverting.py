"""``invert``, ``rewrite`` and ``interpolate``: pictures by way of the noise that becomes them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from carrara.errors import UserError
from carrara.evaluate.reconstruction import psnr
from carrara.model import DiffusionModel
from carrara.pixels import Pictures
from carrara.recipe.editing import MOST_FRAMES
from carrara.recipe.edits.base import Edited, Job, Row
from carrara.recipe.pictures import picture
from carrara.recipe.sampling import check_seed
from carrara.sample import Ddim
from carrara.task import Told, between_pictures, between_wishes, finished, reconstruct
from carrara.task import rewrite as there_and_back
from carrara.task.generate import Progress

MOST_REFINEMENTS = 1000
"""More are taken for a mistake."""


def invert(job: Job, images: Sequence[Path], strength: float, refinements: int) -> Edited:
    """Makes noise of each picture and the picture of the noise again, and says how well.

    Args:
        strength: how far into noise, 0 to 1.
        refinements: of each step; 0 is plain DDIM inversion.

    Raises:
        UserError: no picture is named, one cannot be used, or a number is out of range.
    """
    _check(images, "invert", refinements)
    rows, notes = list[Row](), list[str]()
    for path in images:
        before, told = picture(job.model, path, job.own_size()), job.told()
        way = there_and_back(job.model, before, told, told, strength=strength, refinements=refinements)
        noise, again = _both_ends(job.model, job.watch(way, 1))
        rows.append(Row(name=path.stem, before=before, results=torch.cat([noise, again])))
        notes.append(f"{path.stem}: {_fidelity(job.model, before, again)}")
    return Edited(
        verb="invert",
        rows=tuple(rows),
        labels=("noise", "made again"),
        about={"images": images, "strength": strength, "refinements": refinements},
        notes=tuple(notes),
        sampler=Ddim(),
    )


def rewrite(job: Job, images: Sequence[Path], source: str | None, strength: float, refinements: int) -> Edited:
    """Inverts each picture as ``source`` and makes what the job asks for of its noise.

    Args:
        source: what the pictures show, as a user types it; None says nothing.
        strength: how far into noise, 0 to 1.
        refinements: of each step of the inversion.

    Raises:
        UserError: as ``invert``, or nothing is asked for.
    """
    _check(images, "rewrite", refinements)
    if job.wanted.wishes[0] is None:
        raise UserError("rewrite makes something else of a picture: say what, as in --prompt 'a blue heart'")
    after = job.told()
    before = replace(_unguided(after), wishes=[source])
    rows = list[Row]()
    for path in images:
        x = picture(job.model, path, job.own_size())
        way = there_and_back(job.model, x, before, after, strength=strength, refinements=refinements)
        rows.append(Row(name=path.stem, before=x, results=finished(job.watch(way, 1))))
    return Edited(
        verb="rewrite",
        rows=tuple(rows),
        labels=(str(job.wanted.wishes[0]),),
        about={"images": images, "source": source, "strength": strength, "refinements": refinements},
        sampler=Ddim(),
    )


def interpolate(
    job: Job,
    images: Sequence[Path],
    to: str | None,
    seed: int | None,
    to_seed: int | None,
    frames: int,
    refinements: int,
) -> Edited:
    """Goes from one picture, wish or seed to another.

    Args:
        images: two pictures, or none.
        to: the wish at the other end; None is the same.
        seed: of the noise at the first end, if no picture is named; None is 0.
        to_seed: at the other end; None is the same.
        frames: pictures, both ends among them.

    Raises:
        UserError: there are no two ends, or a picture cannot be used.
    """
    if frames < 2:
        raise UserError(f"a way has two ends, and {frames} pictures are fewer: ask for --frames 2 or more")
    if frames > MOST_FRAMES:
        raise UserError(f"{frames} pictures are too many for a strip: ask for at most --frames {MOST_FRAMES}")
    _check_refinements(refinements)
    shares, told = torch.linspace(0, 1, frames), job.told()
    other = replace(told, wishes=told.wishes if to is None else [to])
    if images:
        if (seed, to_seed) != (None, None):
            raise UserError("pictures bring their own noise: leave --seed and --to-seed out, or the pictures")
        ends = _two(job, images)
        way = between_pictures(job.model, ends, (told, other), shares, refinements=refinements)
        name = "-".join(path.stem for path in images)
    else:
        seed = 0 if seed is None else seed
        to_seed = seed if to_seed is None else to_seed
        check_seed(seed)
        check_seed(to_seed)
        if to is None and to_seed == seed:
            raise UserError("there is only one end: name two pictures, or another wish with --to, or another --to-seed")
        ends, name = torch.empty(0, job.model.shape[0], *job.own_size()), "way"
        told, other = replace(told, seeds=[seed]), replace(other, seeds=[to_seed])
        way = between_wishes(job.model, (told, other), shares, size=job.wanted.size)
    results = finished(job.watch(way, frames))
    return Edited(
        verb="interpolate",
        rows=(Row(name=name, before=ends, results=results),),
        before=("from", "to") if images else (),
        labels=tuple(f"{share:.2f}" for share in shares.tolist()),
        about={
            "images": images,
            "to": to,
            "seed": seed,
            "to_seed": to_seed,
            "frames": frames,
            "refinements": refinements,
        },
        animated=True,
        sampler=Ddim(),
    )


def _check(images: Sequence[Path], verb: str, refinements: int) -> None:
    if not images:
        raise UserError(f"{verb} needs a picture, and none is named: carrara edit RUN {verb} PICTURE ...")
    _check_refinements(refinements)


def _check_refinements(refinements: int) -> None:
    if not 0 <= refinements <= MOST_REFINEMENTS:
        raise UserError(
            f"{refinements} refinements cannot be: 0 is plain DDIM inversion, 5 are usually enough, and "
            f"{MOST_REFINEMENTS} the most"
        )


def _two(job: Job, images: Sequence[Path]) -> Pictures:
    if len(images) != 2:
        raise UserError(f"interpolate goes between two pictures, and {len(images)} are named: name two")
    return torch.cat([picture(job.model, path, job.own_size()) for path in images])


def _unguided(told: Told) -> Told:
    return replace(told, settings=replace(told.settings, guidance=1.0), negative=None, weak=None)


def _both_ends(model: DiffusionModel, progress: Iterable[Progress]) -> tuple[Pictures, Pictures]:
    """The state where a way turns back, as pixels of the scale of data, and the picture at its end."""
    turn, results = torch.empty(0), list[Tensor]()
    for at in progress:
        if at.step.index == at.step.total // 2 - 1:
            alpha, sigma = model.config.schedule(torch.tensor(at.step.t, dtype=torch.float64))
            turn = at.step.x / torch.hypot(alpha, sigma).item()
        if at.pixels is not None:
            results.append(at.pixels.cpu())
    again = torch.cat(results)
    with torch.no_grad():
        noise = model.pixels(turn, size=(again.shape[-2], again.shape[-1]))
    return noise.cpu(), again


def _fidelity(model: DiffusionModel, before: Pictures, again: Pictures) -> str:
    decoded = reconstruct(model, before.to(model.device))
    same = f"made again with {psnr(again, decoded).item():.1f} dB"
    if torch.equal(decoded, before):
        return same
    return f"{same} of what the autoencoder makes of it, which is {psnr(decoded, before).item():.1f} dB"
