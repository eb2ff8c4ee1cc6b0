"""Plans, dry runs, and trainings: begun, watched, saved, stopped, and gone on with."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from carrara.serve.api.studio import in_json
from carrara.serve.planned import PlanBody
from carrara.serve.processes import output_of
from carrara.serve.said import Missing
from carrara.serve.studio import Document, in_thread
from carrara.serve.workshop import Bench, Workshop

router = APIRouter(prefix="/api", tags=["training"])
Id = Annotated[str, Path(max_length=100)]
Number = Annotated[int, Path(ge=0, le=1 << 53)]
_EVERY = 1.0
"""Seconds between two events, at least."""
BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": PlanBody.model_json_schema()}}}}


@router.post("/plans", openapi_extra=BODY)
def plans(here: Bench, said: Document) -> dict[str, Any]:
    """What would be trained, why so, and what is wrong with what was changed."""
    return here.told(here.planner.plan(PlanBody.model_validate(said)).shown)


@router.post("/rehearsals", status_code=202, openapi_extra=BODY)
def rehearse(here: Bench, said: Document) -> dict[str, str]:
    """Begins a dry run."""
    return {"id": here.rehearsals.begin(PlanBody.model_validate(said)).id}


@router.get("/rehearsals/{name}")
def rehearsal(here: Bench, name: Id) -> dict[str, Any]:
    """How far a dry run is, and what came of it."""
    return here.told(here.rehearsals.find(name).shown)


@router.post("/trainings", status_code=201, openapi_extra=BODY)
def begin(here: Bench, said: Document) -> dict[str, str]:
    """Begins a training, or goes on with the one of this name."""
    return {"id": here.trainings.begin(PlanBody.model_validate(said)).id}


@router.get("/trainings")
def trainings(here: Bench) -> dict[str, Any]:
    """All trainings, the one in which something happened last first."""
    return here.told({"trainings": [here.trainings.shown(one, thorough=False) for one in here.trainings.all()]})


@router.get("/trainings/{name}")
def training(here: Bench, name: Id) -> dict[str, Any]:
    """How far a training is, and how well it goes."""
    return here.told(here.trainings.shown(here.trainings.find(name)))


@router.post("/trainings/{name}/save", status_code=202)
def save(here: Bench, name: Id) -> dict[str, Any]:
    """Asks a training to save after its step, and to go on."""
    here.trainings.save(found := here.trainings.find(name))
    return here.told(here.trainings.shown(found))


@router.post("/trainings/{name}/stop", status_code=202)
def stop(here: Bench, name: Id) -> dict[str, Any]:
    """Asks a training to save after its step, and to end."""
    here.trainings.stop(found := here.trainings.find(name))
    return here.told(here.trainings.shown(found))


@router.post("/trainings/{name}/resume", status_code=202)
def resume(here: Bench, name: Id) -> dict[str, Any]:
    """Goes on with a training from its last checkpoint."""
    here.trainings.resume(found := here.trainings.find(name))
    return here.told(here.trainings.shown(found))


@router.get("/trainings/{name}/curves")
def curves(here: Bench, name: Id, points: Annotated[int, Query(ge=10, le=5000)] = 400) -> dict[str, Any]:
    """The losses of a training, with their spread."""
    return here.curves.of(here.trainings.find(name), points)


@router.get("/trainings/{name}/previews")
def previews(here: Bench, name: Id) -> dict[str, Any]:
    """What was drawn on the way, of the same seeds."""
    return {"previews": here.trainings.shown_previews(here.trainings.find(name))}


@router.get("/trainings/{name}/previews/{stage}/{step}", response_class=Response)
def preview(here: Bench, name: Id, stage: Number, step: Number) -> Response:
    """One of the previews."""
    content = here.trainings.preview(here.trainings.find(name), stage, step)
    return Response(content, media_type="image/webp", headers={"Cache-Control": "private, max-age=3600"})


@router.get("/trainings/{name}/output")
def output(here: Bench, name: Id, last: Annotated[int, Query(ge=1, le=2000)] = 200) -> dict[str, Any]:
    """The last lines that a training has printed."""
    return here.told({"lines": output_of(here.trainings.find(name).folder)[-last:]})


@router.get("/trainings/{name}/events")
async def events(here: Bench, name: Id) -> EventSourceResponse:
    """How far a training is, as long as somebody listens."""
    await in_thread(here.trainings.find, name)
    return EventSourceResponse(_changes(here, name), ping=15)


async def _changes(here: Workshop, name: str) -> AsyncIterator[ServerSentEvent]:
    before = ""
    while True:
        try:
            shown = await in_thread(lambda: here.trainings.shown(here.trainings.find(name)))
        except Missing:
            return
        if (text := in_json(here.told(shown))) != before:
            before = text
            yield ServerSentEvent(data=text, event="training")
        await asyncio.sleep(_EVERY)
