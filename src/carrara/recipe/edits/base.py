"""What all edits have in common: a job, its pictures, and files that say how they were made.

An edit is a function ``(job, pictures and options) -> Edited``. To add a verb to ``carrara edit``: write its function
beside these, and its signature in ``cli.edits``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from carrara import pixels
from carrara.model import DiffusionModel, Size
from carrara.pixels import Pictures
from carrara.recipe.classified import open_classified
from carrara.recipe.edits.motion import save_animation
from carrara.recipe.folder import open_model
from carrara.recipe.pictures import named
from carrara.recipe.sampling import Request, Watch, check_fast, record, request
from carrara.recipe.weaker import open_weaker
from carrara.sample import AnySampler
from carrara.task import Told, editable
from carrara.types import Wrapper


@dataclass(frozen=True, kw_only=True)
class Job:
    """A model, and how it shall draw.

    Attributes:
        folder: the run that the model is from.
        wanted: what is drawn for each picture: a result per seed.
        watch: for a caller who wants to watch it.
        say: for what the user should know before it begins.
    """

    model: DiffusionModel
    folder: Path
    wanted: Request
    watch: Watch = lambda at, _: at
    say: Callable[[str], None] = lambda _: None

    def told(self) -> Told:
        """The request as tasks take it; seeds and wishes are one picture's."""
        check_fast(self.model, self.wanted)
        return Told(
            wishes=self.wanted.wishes,
            seeds=self.wanted.seeds,
            settings=self.wanted.settings,
            autocast=torch.bfloat16 if self.wanted.precision == "bfloat16" else torch.float32,
            fast=self.wanted.fast,
            tile=self.wanted.tile,
            negative=self.wanted.negative,
            weak=self.weak,
            within=self.within,
        )

    @cached_property
    def weak(self) -> DiffusionModel | None:
        """The weaker model that guidance leads away from, if there is one: opened for the first picture."""
        return None if self.wanted.weak is None else open_weaker(self.wanted.weak, self.model)

    @cached_property
    def within(self) -> Wrapper | None:
        """What guides by a classifier, if one is asked for: opened for the first picture."""
        return None if self.wanted.found is None else open_classified(self.wanted.found, self.model)

    def own_size(self) -> Size:
        """(height, width) of the pictures that are asked for: the model's own, unless another one is."""
        return self.wanted.size or (self.model.shape[1], self.model.shape[2])


def job(
    folder: Path,
    device: torch.device,
    wish: str | None,
    count: int,
    seed: int,
    changes: Mapping[str, Any],
    watch: Watch,
    say: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Job:
    """Opens a run for edits.

    Args:
        wish: what to draw, as a user types it; None says nothing.
        count: results for each picture.
        say: see ``Job``.
        changes, options: as ``recipe.request`` takes them.

    Raises:
        UserError: the run has no model that draws pictures, or it does not understand what is asked.
    """
    model = editable(open_model(folder).to(device))
    wanted = request(model, () if wish is None else (wish,), count, seed, changes, **options)
    for size in (wanted.size, wanted.tile):
        model.latents_of(size)  # refuses what cannot be made before pictures are brought to it
    wanted = replace(wanted, wishes=(wish,) * count, seeds=tuple(range(seed, seed + count)))
    return Job(model=model, folder=folder, wanted=wanted, watch=watch, say=say)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of one picture.

    Attributes:
        name: of the picture, from which its results' names are made.
        before: (K, C, H, W) in [-1, 1], what the sheet shows left of the results: the picture, its mask, ...
        results: (N, C, H, W) in [-1, 1].
    """

    name: str
    before: Pictures
    results: Float[Tensor, "N C H W"]


@dataclass(frozen=True, kw_only=True)
class Edited:
    """What came of an edit; all pictures are of one size.

    Attributes:
        verb: its name.
        before: what each of the pictures left of the results is.
        labels: of the results; their seeds, if there are none.
        about: the arguments of the edit, by name, which the files carry: plain JSON and paths, of which they carry
            the names and hashes. What was left open is said as it was chosen.
        sampler: what drew, where it was not the request's.
        notes: what the user should know, now that it is done.
        animated: whether the results of a row are the pictures of an animation, too.
    """

    verb: str
    rows: tuple[Row, ...]
    before: tuple[str, ...] = ("input",)
    labels: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sampler: AnySampler | None = None
    notes: tuple[str, ...] = ()
    animated: bool = False

    def sheet(self, seeds: Sequence[int]) -> Image.Image:
        """Side by side: a row per picture, with what was there before, and the results; white beside smaller ones."""
        labels = [*self.before, *(self.labels or (f"seed {seed}" for seed in seeds))]
        rows = [torch.cat([row.before.cpu(), row.results.cpu()]) for row in self.rows]
        height, width = (max(x.shape[axis] for x in rows) for axis in (2, 3))
        x = torch.cat([F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]), value=1.0) for x in rows])
        return pixels.grid(x, len(labels), row_labels=[row.name for row in self.rows], column_labels=labels)


def save_edit(job: Job, edited: Edited, out: Path) -> list[Path]:
    """Writes the sheet, and each result by itself, as files that say how they were made. Nothing is overwritten."""
    about = record_edit(job, edited)
    paths = [pixels.save_png(edited.sheet(job.wanted.seeds), out / "sheet.png", about)]
    for number, row in enumerate(edited.rows, start=1):
        if edited.animated:
            paths += [save_animation(row.results, out / f"{row.name}.{kind}") for kind in ("gif", "webp")]
        for k, result in enumerate(row.results, start=1):
            paths.append(_written(result, out / f"{row.name}-{k}.png", {**about, "row": number, "column": k}))
    return paths


def record_edit(job: Job, edited: Edited) -> dict[str, Any]:
    """What the files carry: enough to make them again with the same pictures, and to know if these are the same."""
    settings = job.wanted.settings
    drawn = replace(job.wanted, settings=replace(settings, sampler=edited.sampler or settings.sampler))
    arguments = {name: _plain(value) for name, value in edited.about.items()}
    return record(job.folder, job.model, drawn, "edit") | {"edit": {"verb": edited.verb, **arguments}}


def _plain(value: Any) -> Any:
    match value:
        case Path():
            return named(value)
        case list() | tuple():
            return [_plain(one) for one in cast(Sequence[Any], value)]
        case _:
            return value


def _written(x: Tensor, path: Path, about: Mapping[str, Any]) -> Path:
    """One picture; as numbers where PNG cannot hold its channels."""
    if len(x) in (1, 3, 4):
        return pixels.save_png(pixels.to_image(pixels.to_pixels(x)), path, about)
    path = pixels.fresh(path.with_suffix(".npy"))
    np.save(path, x.numpy())
    return path
