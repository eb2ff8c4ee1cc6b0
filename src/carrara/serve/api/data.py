"""What can be trained on: offered, sent, and looked into."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from carrara.serve.receiving import received
from carrara.serve.studio import in_thread
from carrara.serve.workshop import Bench

router = APIRouter(prefix="/api", tags=["training"])
Id = Annotated[str, Path(max_length=100)]
_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}
_SCHEMA = {"type": "object", "properties": {"files": _FILES, "title": {"type": "string"}}, "required": ["files"]}
BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _SCHEMA}}}}


@router.get("/data")
def datasets(here: Bench) -> dict[str, Any]:
    """All data that can be trained on."""
    return {"data": [one.shown for one in here.datasets.all()]}


@router.post("/data", status_code=201, openapi_extra=BODY)
async def send(here: Bench, request: Request) -> dict[str, Any]:
    """Keeps files to train on: one zip file, or many files, each with its name within their folder."""
    length = request.headers.get("content-length", "0")
    with await in_thread(here.datasets.receiving, int(length) if length.isdecimal() else 0) as files:
        fields = await received(request, files)
        kept = await in_thread(files.kept, fields.get("title", ""))
    return {"id": kept.id, "title": kept.title}


@router.get("/data/{name}")
def dataset(here: Bench, name: Id) -> dict[str, Any]:
    """What is in data, as far as it is known; it is found out from the first asking on."""
    return here.told(here.inspections.of(name).shown)


@router.get("/data/{name}/sheet", response_class=Response)
def sheet(here: Bench, name: Id) -> Response:
    """A picture of some of the data."""
    content = here.inspections.sheet(name)
    return Response(content, media_type="image/webp", headers={"Cache-Control": "private, max-age=3600"})
