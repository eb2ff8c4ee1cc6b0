"""The way of a finished picture from noise: drawn again from the record that it carries, or edited again as asked."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from PIL import Image

from carrara.draw import Progress, Remark, Request, Verb, sample
from carrara.draw.records import Record, read_record, requested
from carrara.errors import UserError
from carrara.medium import read_about
from carrara.pixels import read_picture
from carrara.serve.gallery import Galleries, Kept
from carrara.serve.previews import as_data
from carrara.serve.shelf import Shelf
from carrara.serve.work import Editing, Work
from carrara.store import OpenModel


@final
@dataclass(frozen=True, kw_only=True)
class Tracing(Work):
    """Makes a picture again, and shows some of its states.

    Attributes:
        frames: how many, of each drawing that leads to it.
        verb: the edit that it came of, if it is none that was drawn from noise.
        kept: what is known of it.
        picture: the picture itself, which is where its way ends.
    """

    frames: int
    verb: Verb | None
    kept: Kept
    picture: Image.Image

    def steps(self, opened: OpenModel) -> Generator[Progress | Remark, None, Any]:
        frames, times = list[str](), list[float]()
        drawing = sample(opened, self.request) if self.verb is None else self.verb.run(opened, self.request)
        for at in drawing:
            yield at
            if isinstance(at, Remark) or at.step.index not in shown(at.step.total, self.frames):
                continue
            if at.count != self.kept.among:
                raise UserError(
                    "this picture was made of several drawings, and has no way of its own: take another one"
                )
            if (row := self.kept.place - at.first) in range(len(at.step.x)):
                frames.append(self._frame(opened, at, row))
                times.append(round(at.step.t, 6))
        if not frames:
            raise UserError("nothing was drawn for this picture, so there is no way to be shown: take another one")
        frames[-1] = as_data(self.picture, lossless=True)
        return {"frames": frames, "times": times}

    def _frame(self, opened: OpenModel, at: Progress, row: int) -> str:
        """A state."""
        model, request, state = opened.model, self.request, at.step.x[row : row + 1]
        with torch.no_grad():
            one = model.visible(state, at.step.t, fast=request.fast, size=request.pixel_size)[0].float().cpu()
        return as_data(model.medium.single(one) or model.medium.grid(one[None]))


def shown(total: int, frames: int) -> set[int]:
    """The steps that are shown: so many, evenly spaced, the last one among them."""
    count = min(frames, total)
    return {total - 1 - k * total // count for k in range(count)}


def tracing(shelf: Shelf, galleries: Galleries, name: str, frames: int, again: Callable[[Kept], Work]) -> Tracing:
    """The job of showing a picture's way.

    Args:
        again: what was done for a picture, from what was said.

    Raises:
        UserError: it was neither drawn nor edited here, or its model or what was edited is gone.
    """
    gallery, kept = galleries.find(name)
    path = gallery.path(kept)
    record = read_record(path, read_about(path))
    entry = shelf.of_record(record.run)
    if entry is None or shelf.open(entry.id).model.digest() != record.weights:
        raise UserError("the model that made this picture is not served here, or has learned since: take a newer one")
    picture = read_picture(path)
    if kept.verb is None:
        request, verb = _drawn(path, record), None
        kept = replace(kept, place=0, among=1)
    else:
        request, verb = _edited(again(kept))
    return Tracing(model=entry.id, request=request, frames=frames, verb=verb, kept=kept, picture=picture)


def _drawn(path: Path, record: Record) -> Request:
    """What was drawn from noise."""
    request = None if record.picture != "sample" or record.request is None else requested(path, record)
    if request is None or len(request.seeds) != 1:
        raise UserError("this is a picture of several samples, and one has a way to be shown: take another one")
    return request


def _edited(work: Work) -> tuple[Request, Verb]:
    if not isinstance(work, Editing):
        raise UserError("how this picture was edited is not known any more: take a newer one")
    return work.request, work.verb
