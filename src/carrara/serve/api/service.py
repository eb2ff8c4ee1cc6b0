"""What watches over a studio asks for: whether it lives, whether it can work, and what it counts."""

from html import escape
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from carrara.serve.studio import Here

router = APIRouter(tags=["service"])


@router.get("/healthz")
async def health() -> dict[str, str]:
    """Whether it lives."""
    return {"status": "ok"}


@router.get("/readyz")
async def ready(here: Here) -> JSONResponse:
    """Whether it can work."""
    fine = here.worker.alive
    return JSONResponse({"status": "ok" if fine else "the worker has stopped"}, 200 if fine else 503)


@router.get("/metrics", response_class=Response)
async def metrics(here: Here) -> Response:
    """What it counts, as Prometheus reads it."""
    return Response(here.measures.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/docs", response_class=HTMLResponse, include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """All that can be asked for, from the schema."""
    schema = request.app.openapi()
    parts = [_described(path, method, what) for path, of in schema["paths"].items() for method, what in of.items()]
    title = escape(schema["info"]["title"])
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}: the API</title>'
    whole = '<p>The whole schema: <a href="/openapi.json">openapi.json</a></p>'
    return HTMLResponse(f"{head}<main><h1>{title}: the API</h1>{whole}{''.join(parts)}</main></html>")


def _described(path: str, method: str, what: dict[str, Any]) -> str:
    """One thing that can be asked for."""
    title = f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
    rows = [_row(one["name"], one.get("schema", {}), one.get("required", False)) for one in what.get("parameters", ())]
    for content in what.get("requestBody", {}).get("content", {}).values():
        schema = content.get("schema", {})
        needed = schema.get("required", ())
        rows += [_row(name, of, name in needed) for name, of in schema.get("properties", {}).items()]
    table = f"<table>{''.join(rows)}</table>" if rows else ""
    return f"<section>{title}<p>{escape(what.get('description', ''))}</p>{table}</section>"


def _row(name: str, schema: dict[str, Any], needed: bool) -> str:
    kinds = [str(one.get("type", "")) for one in schema.get("anyOf", (schema,))]
    said = " or ".join(kind for kind in kinds if kind and kind != "null")
    about = escape(str(schema.get("description", "")))
    star = " (needed)" if needed else ""
    return f"<tr><th>{escape(name)}{star}</th><td>{escape(said)}</td><td>{about}</td></tr>"
