"""All that a studio is made of, in one value that every answer gets."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, final

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from carrara.errors import UserError
from carrara.files import Malformed, parse_json
from carrara.serve.gallery import Galleries
from carrara.serve.jobs import Job, Jobs
from carrara.serve.measures import Measures
from carrara.serve.settings import ServeSettings
from carrara.serve.shelf import Shelf
from carrara.serve.uploads import Uploads
from carrara.serve.worker import Worker

_LOOK = 0.2
"""Seconds after which it is looked whether a client is still there."""


@final
@dataclass(frozen=True, kw_only=True)
class Studio:
    """What an app serves, and who does the work."""

    settings: ServeSettings
    shelf: Shelf
    galleries: Galleries
    uploads: Uploads
    jobs: Jobs
    worker: Worker
    measures: Measures


def studio_of(request: Request) -> Studio:
    """The studio that is asked."""
    return request.app.state.studio


async def document(request: Request) -> Any:
    """A body of JSON, within the bounds of documents.

    Raises:
        UserError: it is none.
    """
    try:
        return parse_json(await request.body())
    except Malformed as error:
        raise UserError(f"the request {error}: send JSON") from None


Here = Annotated[Studio, Depends(studio_of)]
Document = Annotated[Any, Depends(document)]


async def ended(jobs: Sequence[Job], request: Request) -> bool:
    """Waits until jobs are over; False if the client left before, and then they are cancelled."""
    waiting = asyncio.gather(*map(_over, jobs))
    try:
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=_LOOK)
            if not waiting.done() and await request.is_disconnected():
                return False
        return True
    finally:
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        for job in jobs:
            if not job.over:
                job.cancel()


async def _over(job: Job) -> None:
    async for _ in job.events():
        pass


in_thread = run_in_threadpool
"""Does what takes long without keeping others waiting."""
