"""What the studio's own page asks for: models, jobs, and what came of them."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sse_starlette import EventSourceResponse, ServerSentEvent

from carrara.medium import Picture
from carrara.serve.asked import editing, read_ask, read_verb, sampling, varying
from carrara.serve.blame import blaming
from carrara.serve.described import described
from carrara.serve.jobs import Job
from carrara.serve.studio import Document, Here, Studio
from carrara.serve.work import Work

router = APIRouter(prefix="/api", tags=["studio"])
Id = Annotated[str, Field(min_length=1, max_length=100)]


class JobBody(BaseModel):
    """What to make, as the page says it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: Id
    ask: dict[str, Any] = {}
    verb: Id | None = None
    options: dict[str, Any] = {}
    images: Annotated[list[Id], Field(max_length=16)] = []
    mask: Id | None = None
    vary: Annotated[list[Annotated[str, Field(max_length=2000)]], Field(max_length=2)] = []
    client: Annotated[str, Field(max_length=64)] = ""


BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": JobBody.model_json_schema()}}}}


@router.get("/models")
def models(here: Here) -> dict[str, Any]:
    """All models that are served."""
    return {"models": [entry.listed for entry in here.shelf.models()], "pixels": here.settings.pixels}


@router.get("/models/{name}")
def model(here: Here, name: str) -> dict[str, Any]:
    """What a model can be asked, and what can be done with it."""
    return described(here.shelf, here.settings, name)


@router.post("/jobs", status_code=202, openapi_extra=BODY)
def begin(here: Here, said: Document, request: Request) -> dict[str, str]:
    """Lets a job wait for its turn."""
    body = JobBody.model_validate(said)
    here.jobs.turns.check()
    work = work_of(here, body)
    host = request.client.host if request.client else ""
    job = here.jobs.add(Job(work, body.client or host, body.model_dump(exclude={"client"})))
    return {"id": job.id}


def work_of(here: Studio, body: JobBody) -> Work:
    """What a body asks for.

    Raises:
        UserError: it cannot be done.
    """
    with blaming("model"):
        here.shelf.entry(body.model)
    ask = read_ask(here.shelf, here.settings, body.ask)
    with blaming("images"):
        images = [here.uploads.picture(name) for name in body.images]
    with blaming("mask"):
        mask: Picture | None = None if body.mask is None else here.uploads.picture(body.mask)
    verb = None if body.verb is None else read_verb(here.settings, body.verb, body.options, images, mask)
    opened = here.shelf.open(body.model)
    if verb is not None:
        return editing(here.settings, opened, body.model, ask, verb)
    if body.vary:
        return varying(here.settings, opened, body.model, ask, body.vary)
    return sampling(here.settings, opened, body.model, ask)


@router.get("/jobs")
def jobs(here: Here) -> dict[str, Any]:
    """All jobs that are remembered, the newest first."""
    return {"jobs": [_shown(here, job) for job in here.jobs.newest()]}


@router.get("/jobs/{name}")
def job(here: Here, name: str) -> dict[str, Any]:
    """How far a job is."""
    return _shown(here, here.jobs.get(name))


@router.delete("/jobs/{name}")
def cancel(here: Here, name: str) -> dict[str, Any]:
    """Cancels a job."""
    found = here.jobs.get(name)
    found.cancel()
    return _shown(here, found)


def _shown(here: Studio, job: Job) -> dict[str, Any]:
    """How far a job is, with its pictures as they are now; those that were deleted are left out."""
    kept = map(here.galleries.get, (one["id"] for one in job.pictures))
    return {**here.jobs.shown(job), "pictures": [one.shown for one in kept if one is not None]}


@router.get("/jobs/{name}/events")
async def events(
    here: Here, name: str, last: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None
) -> EventSourceResponse:
    """What happens to a job, as it happens."""
    found = here.jobs.get(name)
    after = int(last) if last is not None and last.isascii() and last.isdecimal() else 0
    return EventSourceResponse(_sent(found, after), ping=15)


async def _sent(job: Job, after: int) -> AsyncIterator[ServerSentEvent]:
    async for event in job.events(after):
        yield ServerSentEvent(data=in_json(event.data), event=event.name, id=str(event.number))


def in_json(data: Mapping[str, Any]) -> str:
    """On one line."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


@router.get("/pictures")
def pictures(
    here: Here,
    model: Annotated[str | None, Query(max_length=100)] = None,
    search: Annotated[str, Query(max_length=200)] = "",
    starred: bool = False,
    bin: bool = False,
    before: Annotated[str | None, Query(max_length=40)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
) -> dict[str, Any]:
    """The newest pictures of the gallery, or of its bin."""
    found, following = here.galleries.newest(model or None, search, starred, bin, before, limit)
    return {"pictures": [kept.shown for kept in found], "next": following}
