"""The files of the page: a fixed list, found once, each with its type and a tag of its content."""

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response

from carrara.files import read_bytes
from carrara.serve.said import Missing

FOLDER = Path(str(files("carrara.serve"))) / "page"
TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
router = APIRouter(include_in_schema=False)


def found(folder: Path = FOLDER) -> dict[str, Path]:
    """The files of the page by the ends of their addresses."""
    there = (path for path in sorted(folder.rglob("*")) if path.suffix in TYPES and path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in there}


@router.get("/{name:path}", response_class=Response)
def page(request: Request, name: str) -> Response:
    """A file of the page; ``index.html`` without a name."""
    files: dict[str, Path] = request.app.state.pages
    if (path := files.get(name or "index.html")) is None:
        raise Missing("there is nothing of this name")
    content = read_bytes(path)
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=TYPES[path.suffix], headers=headers)
