"""What the Learn tab asks for: exhibits that are computed at once, and two that a served model gives as jobs."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from carrara.errors import UserError
from carrara.measure.schedules import digit
from carrara.medium import Picture
from carrara.serve.jobs import Job
from carrara.serve.learning import Arrows, Exhibit, Lessons, Noising, Roll, Schedules, Ways
from carrara.serve.studio import Here, Studio, ended, in_thread
from carrara.serve.tutoring import guessing, stepping
from carrara.serve.work import Work

router = APIRouter(prefix="/api/learn", tags=["learn"])
Schedule = Literal["linear", "scaled_linear", "cosine", "sigmoid", "rectified_flow", "ve"]
Sampler = Literal["ddpm", "ddim", "euler", "euler_a", "heun", "dpmpp", "dpmpp_sde", "unipc", "lms"]
PictureId = Annotated[str | None, Query(max_length=40)]
Model = Annotated[str, Query(min_length=1, max_length=100)]
Seed = Annotated[int, Query(ge=0, lt=1 << 31)]
Time = Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)]


async def _answer(request: Request, exhibit: Exhibit) -> Response:
    lessons: Lessons = request.app.state.lessons
    return Response(await lessons.answer(exhibit), media_type="application/json")


@router.get("/noising")
async def noising(
    here: Here,
    request: Request,
    schedule: Schedule = "cosine",
    picture: PictureId = None,
    zero: bool = False,
    frames: Annotated[int, Query(ge=2, le=65)] = 33,
) -> Response:
    """A picture, of an upload or of the gallery, at evenly spaced times from data to noise."""
    found = await in_thread(_picture, here, picture)
    return await _answer(
        request, Noising(schedule=schedule, zero=zero, frames=frames, sha256=found.sha256, picture=found)
    )


@router.get("/schedules")
async def schedules(
    request: Request, zero: bool = False, points: Annotated[int, Query(ge=2, le=401)] = 101
) -> Response:
    """All schedules side by side: their curves, and how they end."""
    return await _answer(request, Schedules(zero=zero, points=points))


@router.get("/ways")
async def ways(
    request: Request,
    schedule: Schedule = "cosine",
    steps: Annotated[int, Query(ge=1, le=100)] = 20,
    paths: Annotated[int, Query(ge=2, le=200)] = 60,
) -> Response:
    """Numbers on their way from noise to three heaps, by DDPM and by DDIM, with the exact denoiser."""
    return await _answer(request, Ways(schedule=schedule, steps=steps, paths=paths))


@router.get("/roll")
async def roll(
    request: Request,
    forward: bool = False,
    sampler: Sampler = "ddim",
    schedule: Schedule = "cosine",
    steps: Annotated[int, Query(ge=1, le=50)] = 40,
    points: Annotated[int, Query(ge=2, le=600)] = 400,
    count: Annotated[int, Query(ge=1, le=500)] = 400,
    seed: Seed = 0,
) -> Response:
    """Points on their way from noise to a Swiss roll, or back, with the exact denoiser of some points of it."""
    exhibit = Roll(
        forward=forward, sampler=sampler, schedule=schedule, steps=steps, points=points, count=count, seed=seed
    )
    return await _answer(request, exhibit)


@router.get("/guidance")
async def guidance(
    request: Request,
    schedule: Schedule = "cosine",
    scale: Annotated[float, Query(ge=-5, le=20, allow_inf_nan=False)] = 3.0,
    low: Time = 0.0,
    high: Time = 1.0,
) -> Response:
    """Guidance between two classes of points: arrows at some times, and where particles go."""
    if low > high:
        raise UserError(f"guidance acts from a low time to a higher one, not from {low:g} to {high:g}: swap them")
    return await _answer(request, Arrows(schedule=schedule, scale=scale, low=low, high=high))


@router.get("/guess")
async def guess(
    here: Here, request: Request, model: Model, t: Time, schedule: Schedule = "cosine", picture: PictureId = None
) -> dict[str, Any]:
    """What a model believes to be behind a picture that is noised as at a time of a schedule."""
    found = await in_thread(_picture, here, picture)
    return await _done(here, request, await in_thread(guessing, here, model, found, schedule, t))


@router.get("/steps")
async def steps(
    here: Here,
    request: Request,
    model: Model,
    prompt: Annotated[str, Query(max_length=200)] = "",
    seed: Seed = 0,
    steps: Annotated[int, Query(ge=1, le=50)] = 10,
) -> dict[str, Any]:
    """The same noise drawn by DDPM and by DDIM: the state and the estimate of every step."""
    return await _done(here, request, await in_thread(stepping, here, model, prompt, seed, steps))


def _picture(here: Studio, name: str | None) -> Picture:
    return here.uploads.picture(name) if name else digit()


async def _done(here: Studio, request: Request, work: Work) -> dict[str, Any]:
    """What comes of a job that is waited for.

    Raises:
        UserError: it failed.
    """
    job = here.jobs.add(Job(work, request.client.host if request.client else "", {}, inner=True))
    await ended([job], request)
    if job.state != "done":
        raise UserError(job.message or "this was cancelled: ask again")
    return job.result
