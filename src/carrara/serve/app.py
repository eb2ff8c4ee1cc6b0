"""The studio as an app: its parts put together, begun and ended."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import torch
from fastapi import FastAPI, Request, Response
from pydantic import ValidationError

import carrara
from carrara.serve import pages, workshop
from carrara.serve.api import data, evaluation, learning, openai, pictures, service, studio, training, uploads
from carrara.serve.evaluations import Evaluations
from carrara.serve.gallery import Galleries
from carrara.serve.guard import Guard
from carrara.serve.jobs import Jobs
from carrara.serve.learning import Lessons
from carrara.serve.measures import Counted, Measures
from carrara.serve.said import ERROR, add_handlers, error_response, first_of
from carrara.serve.settings import ServeSettings
from carrara.serve.shelf import Shelf
from carrara.serve.studio import Studio
from carrara.serve.uploads import Uploads
from carrara.serve.worker import Worker


def assembled(settings: ServeSettings, device: torch.device | None = None) -> Studio:
    """The parts of a studio, not begun yet."""
    shelf = Shelf(settings, device)
    galleries, jobs = Galleries(shelf), Jobs(settings.queue)
    measures = Measures(jobs)
    return Studio(
        settings=settings,
        shelf=shelf,
        galleries=galleries,
        uploads=Uploads(settings, galleries),
        jobs=jobs,
        worker=Worker(settings, shelf, galleries, jobs, measures.ended),
        measures=measures,
    )


def create(settings: ServeSettings, device: torch.device | None = None) -> FastAPI:
    """A studio that can be served.

    Args:
        settings: what and how.
        device: where models are; None is a GPU where there is one.
    """
    here = assembled(settings, device)
    rooms = {"workshop": workshop.opened(settings, here.shelf), "lessons": Lessons(), "evaluations": Evaluations()}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        here.worker.start()
        try:
            yield
        finally:
            here.worker.stop()
            here.uploads.close()
            for room in rooms.values():
                room.close()

    app = FastAPI(
        title="Carrara",
        version=carrara.__version__,
        docs_url=None,
        redoc_url=None,
        responses=ERROR,
        lifespan=lifespan,
    )
    app.state.studio, app.state.thumbs, app.state.pages = here, pictures.Thumbs(), pages.found()
    for name, room in rooms.items():
        setattr(app.state, name, room)
    add_handlers(app)
    app.add_exception_handler(ValidationError, _invalid)
    for part in (studio, uploads, pictures, data, training, evaluation, learning, openai, service, pages):
        app.include_router(part.router)
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(Counted, measures=here.measures)
    return app


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)
    param, message = first_of(error.errors())
    return error_response(message, param=param)
