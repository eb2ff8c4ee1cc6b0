"""Files that are sent: pictures for edits, and files that bring the settings back that made them."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile

from carrara.errors import UserError
from carrara.serve.blame import blaming
from carrara.serve.recalled import recalled
from carrara.serve.studio import Here, in_thread

router = APIRouter(prefix="/api", tags=["studio"])
_SCHEMA = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"]}
BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _SCHEMA}}}}


@router.post("/uploads", openapi_extra=BODY)
async def upload(here: Here, request: Request) -> dict[str, Any]:
    """Keeps a picture, or another file that models edit, for an hour."""
    content, name = await _file(request)
    with blaming("file"):
        return (await in_thread(here.uploads.add, content, name)).shown


@router.post("/recall", openapi_extra=BODY)
async def recall(here: Here, request: Request) -> dict[str, Any]:
    """Every setting that made a file of Carrara's, to be put back."""
    content, name = await _file(request)
    with blaming("file"):
        return await in_thread(recalled, here, content, name)


async def _file(request: Request) -> tuple[bytes, str]:
    """The file of a form, and what it is called.

    Raises:
        UserError: there is none.
    """
    async with request.form(max_files=1, max_fields=10) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            with blaming("file"):
                raise UserError('there is no file in this request: send one as "file" of a multipart form')
        return await file.read(), file.filename or ""
