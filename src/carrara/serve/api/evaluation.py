"""Measurements: what can be measured of a model, what was, and runs side by side.

The pages about runs are files of runs, which may be somebody else's. So they are shown in a policy of their own: styles
and pictures that are in the page itself, and nothing else; no script, no form, no address.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from carrara.errors import UserError, known, option
from carrara.files import read_bytes
from carrara.measure.metrics import METRICS
from carrara.serve.evaluations import Evaluations, Measuring
from carrara.serve.measurable import evaluated, measurable
from carrara.serve.measuring import Task
from carrara.serve.said import Missing
from carrara.serve.studio import Document, Here

router = APIRouter(tags=["evaluation"])
Id = Annotated[str, Path(max_length=100)]
MOST_SAMPLES, MOST_RUNS = 50_000, 12
_MOST_FILE = 1 << 28
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox"
)
"""Of a report: what ``evaluate.page`` writes, and no more."""
_HEADERS = {"Content-Security-Policy": POLICY, "X-Frame-Options": "SAMEORIGIN", "Cache-Control": "no-cache"}


class EvaluationBody(BaseModel):
    """What to measure: metrics of a run, its report, or runs side by side."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: Literal["metrics", "report", "comparison"] = "metrics"
    models: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(min_length=1, max_length=12)]
    metrics: Annotated[list[Annotated[str, Field(max_length=40)]], Field(max_length=20)] = []
    samples: Annotated[int, Field(ge=20, le=MOST_SAMPLES)] = 1000
    seed: Annotated[int, Field(ge=0, lt=1 << 53)] = 0
    exact: bool = False


_SCHEMA = EvaluationBody.model_json_schema()
BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": _SCHEMA}}}}


def _all(request: Request) -> Evaluations:
    return request.app.state.evaluations


@router.get("/api/evaluations")
def evaluations(request: Request) -> dict[str, Any]:
    """All measurements that are remembered, the newest first."""
    return {"evaluations": [one.shown for one in _all(request).newest()]}


@router.post("/api/evaluations", status_code=202, openapi_extra=BODY)
def begin(here: Here, said: Document, request: Request) -> dict[str, Any]:
    """Lets a measurement wait for its turn."""
    body = EvaluationBody.model_validate(said)
    models = tuple(dict.fromkeys(body.models))
    entries = [here.shelf.entry(name) for name in models]
    if body.kind == "comparison" and len(models) < 2:
        raise UserError(f"a comparison needs two runs or more: name another one in {option('models')}")
    if body.kind != "comparison" and len(models) > 1:
        raise UserError(f"one run is measured at a time: name one in {option('models')}")
    for name in models:
        if (trouble := measurable(here.shelf, name)["trouble"]) is not None:
            raise UserError(f"'{here.shelf.entry(name).title}' cannot be measured: {trouble}")
    metrics = _metrics(here, body.models[0], body.metrics) if body.kind == "metrics" else ()
    task = Task(
        kind=body.kind,
        folders=tuple(str(entry.path) for entry in entries),
        metrics=metrics,
        samples=body.samples,
        seed=body.seed,
        exact=body.exact,
    )
    titles = {str(entry.path): entry.title for entry in entries}
    return _all(request).begin(models, task, titles).shown


def _metrics(here: Here, model: str, said: list[str]) -> tuple[str, ...]:
    """The metrics that are named, or the usual one.

    Raises:
        UserError: one that is none, or that this model cannot be measured with.
    """
    fitting = {one["name"]: one["usual"] for one in measurable(here.shelf, model)["metrics"]}
    names = tuple(dict.fromkeys(known("metric", name, METRICS) for name in said))
    for name in names:
        if name not in fitting:
            raise UserError(f"{name} cannot be measured of this model: {option('metrics')} has {', '.join(fitting)}")
    return names or tuple(name for name, usual in fitting.items() if usual)


@router.get("/api/evaluations/models/{name}")
def model(here: Here, name: Id) -> dict[str, Any]:
    """What can be measured of a model, and what was."""
    return measurable(here.shelf, name)


@router.get("/api/evaluations/{name}")
def evaluation(request: Request, name: Id) -> dict[str, Any]:
    """How far a measurement is."""
    return _all(request).get(name).shown


@router.delete("/api/evaluations/{name}")
def cancel(request: Request, name: Id) -> dict[str, Any]:
    """Ends a measurement."""
    found = _all(request).get(name)
    found.cancel()
    return found.shown


@router.get("/evaluations/models/{name}/report.html", response_class=Response)
def report(here: Here, name: Id) -> Response:
    """The page about a run."""
    return _page(read_bytes(evaluated(here.shelf.entry(name), "report.html"), _MOST_FILE))


@router.get("/evaluations/models/{name}/{metric}.png", response_class=Response)
def picture(here: Here, name: Id, metric: Annotated[str, Path(max_length=40)]) -> Response:
    """The picture of a measurement."""
    entry = here.shelf.entry(name)
    if metric not in METRICS:
        raise Missing("there is no such metric")
    content = read_bytes(evaluated(entry, f"{metric}.png"), _MOST_FILE)
    return Response(content, media_type="image/png", headers={"Cache-Control": "no-cache"})


@router.get("/evaluations/{name}.html", response_class=Response)
def comparison(request: Request, name: Id) -> Response:
    """Runs side by side."""
    found: Measuring = _all(request).get(name)
    if found.shown["url"] is None:
        raise Missing("this is no comparison, or it is not finished")
    return _page(read_bytes(_all(request).page(found), _MOST_FILE))


def _page(content: bytes) -> Response:
    return Response(content, media_type="text/html; charset=utf-8", headers=_HEADERS)
