"""The files of pictures, and what can be done to a picture of the gallery."""

from collections import OrderedDict
from functools import partial
from threading import RLock
from typing import Annotated, Any, final

from fastapi import APIRouter, Path, Query, Request, Response

from carrara.errors import UserError
from carrara.files import read_bytes
from carrara.medium import read_about
from carrara.pixels import read_picture
from carrara.serve.api.studio import JobBody, work_of
from carrara.serve.gallery import TYPES, Galleries, Kept
from carrara.serve.jobs import Job
from carrara.serve.previews import encoded, fitted
from carrara.serve.said import Missing
from carrara.serve.studio import Here, Studio, ended, in_thread
from carrara.serve.tracing import tracing
from carrara.serve.work import Work

router = APIRouter(tags=["pictures"])
Id = Annotated[str, Path(max_length=40)]
FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}
THUMB = 256
"""The longest edge of a small picture."""
_MOST_FILE = 1 << 28


@final
class Thumbs:
    """Small pictures that were made lately.

    Args:
        most: bytes of all of them.
    """

    def __init__(self, most: int = 1 << 25) -> None:
        self._most, self._size, self._lock = most, 0, RLock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def of(self, galleries: Galleries, name: str) -> bytes:
        """The small picture of a picture, as WebP."""
        gallery, kept = galleries.find(name)
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        image = read_picture(gallery.path(kept))
        made = encoded(fitted(image, THUMB), lossless=max(image.size) <= THUMB // 2)
        with self._lock:
            self._size += len(made) - len(self._kept.pop(name, b""))
            self._kept[name] = made
            while self._size > self._most and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])
        return made


@router.get("/pictures/{name}/thumb", response_class=Response)
def thumb(here: Here, name: Id, request: Request) -> Response:
    """A picture, small."""
    return Response(request.app.state.thumbs.of(here.galleries, name), media_type="image/webp", headers=FOR_EVER)


@router.get("/pictures/{name}.{ending}", response_class=Response)
def file(here: Here, name: Id, ending: Annotated[str, Path(max_length=12)]) -> Response:
    """A picture, or another file that belongs to it."""
    gallery, kept = here.galleries.find(name)
    if (dotted := f".{ending}") not in kept.files or dotted not in TYPES:
        raise Missing("this picture has no such file")
    content = read_bytes(gallery.path(kept, dotted), _MOST_FILE)
    return Response(content, media_type=TYPES[dotted], headers=FOR_EVER)


@router.get("/api/pictures/{name}")
def picture(here: Here, name: Id) -> dict[str, Any]:
    """What is known of a picture, with the record that it carries."""
    gallery, kept = here.galleries.find(name)
    return {**kept.shown, "request": kept.said, "record": read_about(gallery.path(kept))}


@router.get("/api/pictures/{name}/trajectory")
async def trajectory(
    here: Here, name: Id, request: Request, frames: Annotated[int, Query(ge=1, le=100)] = 24
) -> dict[str, Any]:
    """Some states on a picture's way from noise, the last of which is the picture."""
    again = partial(_again, here)
    work = await in_thread(tracing, here.shelf, here.galleries, name, frames, again)
    host = request.client.host if request.client else ""
    job = here.jobs.add(Job(work, host, {}, inner=True))
    await ended([job], request)
    if job.state != "done":
        raise UserError(job.message or "this was cancelled: ask again")
    return job.result


def _again(here: Studio, kept: Kept) -> Work:
    """What was asked for when a picture was made."""
    if not kept.said:
        raise UserError("how this picture was edited is not known any more: take a newer one")
    return work_of(here, JobBody.model_validate(kept.said))


@router.put("/api/pictures/{name}/star")
def star(here: Here, name: Id) -> dict[str, Any]:
    """Gives a picture a star."""
    return _changed(here, name, starred=True)


@router.delete("/api/pictures/{name}/star")
def unstar(here: Here, name: Id) -> dict[str, Any]:
    """Takes it away."""
    return _changed(here, name, starred=False)


@router.delete("/api/pictures/{name}")
def throw(here: Here, name: Id) -> dict[str, Any]:
    """Puts a picture into the bin."""
    return _changed(here, name, binned=True)


@router.post("/api/pictures/{name}/restore")
def restore(here: Here, name: Id) -> dict[str, Any]:
    """Takes a picture out of the bin."""
    return _changed(here, name, binned=False)


@router.delete("/api/bin")
def empty_bin(here: Here, model: Annotated[str | None, Query(max_length=100)] = None) -> dict[str, int]:
    """Deletes for good what is in the bin."""
    return {"deleted": here.galleries.empty_bin(model)}


def _changed(here: Here, name: str, **changes: bool) -> dict[str, Any]:
    gallery, kept = here.galleries.find(name)
    return gallery.change(kept, **changes).shown
