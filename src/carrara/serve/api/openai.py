"""What OpenAI's clients ask for, answered as they read it: models, and images generated, edited and varied.

Whatever ``Ask`` has can be said besides, by its own name: ``seed``, ``steps``, ``guidance``, ``negative`` ... Who
leaves before the end has cancelled.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.datastructures import FormData, UploadFile

from carrara.draw import VERBS
from carrara.errors import UserError, option
from carrara.files import read_bytes
from carrara.medium import Picture, PictureMedium
from carrara.pixels import read_picture
from carrara.serve.api.bodies import SEVERAL, Edit, Generation, OpenAiBody, as_request
from carrara.serve.api.studio import in_json
from carrara.serve.asked import PICTURES, editing, read_ask, read_verb, sampling
from carrara.serve.blame import blaming
from carrara.serve.described import verb_names
from carrara.serve.jobs import Job
from carrara.serve.previews import encoded
from carrara.serve.said import error_body, param_of
from carrara.serve.studio import Document, Here, Studio, ended, in_thread
from carrara.serve.work import Work

router = APIRouter(prefix="/v1", tags=["OpenAI"])
_FILE = {"type": "string", "format": "binary"}
_FILES = {"image": {"anyOf": [_FILE, {"type": "array", "items": _FILE}]}, "mask": _FILE}
_MOST_FILES, _MOST_FIELDS = 17, 100
_THEIRS = {"count": "n", "prompts": "prompt", "images": "image"}
_NO_TOKENS = {
    "total_tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
}


@router.get("/models")
def models(here: Here) -> dict[str, Any]:
    """All models that are served."""
    return {"object": "list", "data": [_model(entry.id) for entry in here.shelf.models()]}


@router.get("/models/{name}")
def model(here: Here, name: str) -> dict[str, Any]:
    """One of them."""
    return _model(here.shelf.entry(name).id)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "carrara"}


@router.post("/images/generations", openapi_extra=as_request(Generation), response_model=None)
async def generations(here: Here, said: Document, request: Request) -> JSONResponse | EventSourceResponse:
    """Draws pictures from words."""
    body: OpenAiBody = Generation.model_validate(said)
    with _in_their_words():
        work = await in_thread(_generation, here, body)
    return await _answer(here, request, body, work, "image_generation")


@contextmanager
def _in_their_words() -> Generator[None]:
    """The fields of mistakes are called as OpenAI calls them."""
    try:
        yield
    except UserError as error:
        error.param = _THEIRS.get(name := param_of(error) or "", name) or None
        raise


def _generation(here: Studio, body: OpenAiBody) -> Work:
    here.jobs.turns.check()
    name = _name(here, body)
    ask = read_ask(here.shelf, here.settings, body.asked)
    opened = here.shelf.open(name)
    _check_pictures(opened.model.medium)
    return sampling(here.settings, opened, name, ask)


@router.post("/images/edits", openapi_extra=as_request(Edit, "multipart/form-data", _FILES), response_model=None)
async def edits(here: Here, request: Request) -> JSONResponse | EventSourceResponse:
    """Edits pictures: fills the part that a mask names, or draws them again; or does what ``verb`` says."""
    return await _edited(here, request, None)


@router.post("/images/variations", openapi_extra=as_request(Edit, "multipart/form-data", _FILES), response_model=None)
async def variations(here: Here, request: Request) -> JSONResponse | EventSourceResponse:
    """Draws a picture again, a little differently each time."""
    return await _edited(here, request, "variation")


async def _edited(here: Studio, request: Request, verb: str | None) -> JSONResponse | EventSourceResponse:
    async with request.form(max_files=_MOST_FILES, max_fields=_MOST_FIELDS) as form:
        images, mask = await _files(form, "image"), await _files(form, "mask")
        fields = {key.removesuffix("[]"): _joined(form, key) for key, value in form.items() if isinstance(value, str)}
    fields |= {key: [value] for key, value in fields.items() if key in SEVERAL and isinstance(value, str)}
    name = str(fields.get("verb") or verb or ("inpaint" if mask else "img2img"))
    own = verb_names(VERBS[name]) if name in VERBS else []
    options = {key: fields.pop(key) for key in list(fields) if key in own and key not in PICTURES}
    body: OpenAiBody = Edit.model_validate(fields)
    with _in_their_words():
        work = await in_thread(_edit, here, body, (name, options), images, mask)
    return await _answer(here, request, body, work, "image_edit")


def _joined(form: FormData, key: str) -> Any:
    """The value of a field, or all of one that comes several times."""
    values = [value for value in form.getlist(key) if isinstance(value, str)]
    return values[-1] if len(values) == 1 else values


async def _files(form: FormData, name: str) -> list[tuple[bytes, str]]:
    given = [*form.getlist(name), *form.getlist(f"{name}[]")]
    return [(await one.read(), one.filename or "") for one in given if isinstance(one, UploadFile)]


def _edit(
    here: Studio,
    body: OpenAiBody,
    verb: tuple[str, Mapping[str, Any]],
    images: Sequence[tuple[bytes, str]],
    mask: Sequence[tuple[bytes, str]],
) -> Work:
    here.jobs.turns.check()
    name = _name(here, body)
    asked = body.asked
    if verb[0] in VERBS:
        asked = {key: value for key, value in asked.items() if key not in VERBS[verb[0]].leaves}
    ask = read_ask(here.shelf, here.settings, asked)
    with blaming("image"):
        pictures = [here.uploads.once(*one) for one in images]
    with blaming("mask"):
        masks = [_as_mask(here.uploads.once(*one)) for one in mask]
    made = read_verb(here.settings, verb[0], verb[1], pictures, masks[0] if masks else None)
    opened = here.shelf.open(name)
    _check_pictures(opened.model.medium)
    return editing(here.settings, opened, name, ask, made)


def _as_mask(picture: Picture) -> Picture:
    """OpenAI's masks are transparent where something new is made; ours are white there."""
    array = picture.pixels
    if array.shape[-1] != 4 or array.dtype != np.uint8 or array[..., 3].min() == 255:
        return picture
    return Picture.of(np.where(array[..., 3:] < 128, 255, 0).astype(np.uint8))


def _name(here: Studio, body: OpenAiBody) -> str:
    """The model that is meant: the one that is named, or the only one."""
    entries = here.shelf.models()
    if body.model is None and len(entries) == 1:
        return entries[0].id
    with blaming("model"):
        if body.model is None:
            names = ", ".join(entry.id for entry in entries)
            raise UserError(f"which model? say {option('model')}: it is one of {names}")
        return here.shelf.entry(body.model).id


def _check_pictures(medium: object) -> None:
    if not isinstance(medium, PictureMedium):
        raise UserError("this model makes no pictures, and OpenAI's clients read nothing else: ask at /api/jobs")


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A call that is being answered."""

    here: Studio
    request: Request
    body: OpenAiBody
    job: Job
    kind: str

    @property
    def common(self) -> dict[str, Any]:
        """What every event says."""
        first = self.job.pictures[0] if self.job.pictures else None
        size = "auto" if first is None else f"{first['width']}x{first['height']}"
        about = {"created_at": int(time.time()), "output_format": self.body.form, "size": size}
        return {**about, "quality": "auto", "background": "opaque"}

    def picture(self, one: Mapping[str, Any]) -> dict[str, Any]:
        """A picture as the client wants it."""
        if self.body.response_format == "url":
            found: dict[str, Any] = {"url": f"{self.request.base_url}pictures/{one['id']}.png"}
        else:
            found = {"b64_json": base64.b64encode(self._content(one)).decode()}
        return {**found, "seed": one["seed"], "id": one["id"]}

    def _content(self, one: Mapping[str, Any]) -> bytes:
        gallery, kept = self.here.galleries.find(one["id"])
        path = gallery.path(kept)
        return (
            read_bytes(path, 1 << 28)
            if self.body.form == "png"
            else encoded(read_picture(path), self.body.form.upper(), lossless=True)
        )


async def _answer(
    here: Studio, request: Request, body: OpenAiBody, work: Work, kind: str
) -> JSONResponse | EventSourceResponse:
    host = request.client.host if request.client else ""
    job = Job(work, body.user or host, {"model": work.model, "ask": body.asked, "verb": None, "options": {}})
    if body.stream:
        job.partials = body.partial_images or 0
    here.jobs.add(job)
    asked = _Asked(here=here, request=request, body=body, job=job, kind=kind)
    if body.stream:
        return EventSourceResponse(_streamed(asked), ping=15)
    await ended([job], request)
    if job.state != "done":
        return JSONResponse(error_body(job.message or "cancelled", 400), 400)
    data = [await in_thread(asked.picture, one) for one in job.pictures]
    common = {key: value for key, value in asked.common.items() if key not in ("created_at", "quality")}
    return JSONResponse({"created": int(time.time()), "data": data, **common, "usage": _NO_TOKENS})


async def _streamed(asked: _Asked) -> AsyncIterator[ServerSentEvent]:
    """Partial pictures, and those that are finished; who leaves has cancelled."""
    job, kind = asked.job, asked.kind
    try:
        async for event in job.events():
            if event.name == "partial":
                yield _event(f"{kind}.partial_image", {**event.data, **asked.common, "output_format": "png"})
            elif event.name in ("failed", "cancelled"):
                said = error_body(job.message or "cancelled", 400)
                yield ServerSentEvent(data=in_json(said), event="error")
        for one in job.pictures:
            made = await in_thread(asked.picture, one)
            yield _event(f"{kind}.completed", {**made, **asked.common, "usage": _NO_TOKENS})
    except asyncio.CancelledError:
        job.cancel()
        raise
    finally:
        if not job.over:
            job.cancel()


def _event(name: str, data: Mapping[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(data=in_json({"type": name, **data}), event=name)
