"""Who does the jobs: one thread for each device, which goes from step to step and looks up between."""

import base64
from collections.abc import Callable, Sequence
from contextlib import closing
from threading import Thread
from time import monotonic
from typing import Any, final

from torch import Tensor

from carrara.draw import Progress, Remark, sample
from carrara.errors import UserError
from carrara.memory import give_back
from carrara.serve.adapters import told
from carrara.serve.batching import Share, joined, shares
from carrara.serve.gallery import Galleries
from carrara.serve.jobs import Job, Jobs
from carrara.serve.previews import encoded, estimates, preview
from carrara.serve.said import log, sentence
from carrara.serve.settings import ServeSettings
from carrara.serve.shelf import Shelf
from carrara.serve.warming import warm
from carrara.serve.work import Sampling
from carrara.store import OpenModel

EVERY = 0.33
"""Seconds between two previews of a job, at least."""
_PART = 10
"""Previews take at most about one in so many seconds."""
Ended = Callable[[Job, float], None]
"""Told of each job that is over, and how long it took."""


@final
class Worker:
    """Does jobs, one after the other, or several together.

    Args:
        ended: is told of each job.
    """

    def __init__(self, settings: ServeSettings, shelf: Shelf, galleries: Galleries, jobs: Jobs, ended: Ended) -> None:
        self._settings, self._shelf, self._galleries = settings, shelf, galleries
        self._jobs, self._ended = jobs, ended
        self._thread = Thread(target=self._work, name="carrara-worker", daemon=True)

    def start(self) -> None:
        """Begins to work."""
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Cancels all jobs, and waits until the step is made."""
        self._jobs.close()
        self._thread.join(seconds)

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def _work(self) -> None:
        if self._settings.warm:
            self._warm()
        while batch := self._jobs.turns.take(self._settings.together):
            began = monotonic()
            for job in batch:
                job.begin()
            try:
                self._do(batch)
            except Exception as error:
                _fail(batch, error)
            for job in batch:
                if not job.over:
                    job.end("failed", "the job ended without a result")
                self._ended(job, monotonic() - began)
            self._jobs.turns.paced((monotonic() - began) / len(batch))
            give_back()

    def _warm(self) -> None:
        try:
            warm(self._shelf, self._settings, lambda: self._jobs.turns.awaited)
        except Exception as error:
            log.error("the first model could not be tried", exc_info=error)

    def _do(self, batch: Sequence[Job]) -> None:
        opened = self._shelf.open(batch[0].work.model)
        if isinstance(batch[0].work, Sampling):
            _Together(self, opened, batch).run()
        else:
            self._alone(opened, batch[0])

    def _alone(self, opened: OpenModel, job: Job) -> None:
        pace, began = _Pace(), monotonic()
        with closing(job.work.steps(opened)) as steps:
            while True:
                try:
                    at = next(steps)
                except StopIteration as end:
                    return self.finish(opened, job, end.value)
                if job.cancelled or self.late([job], began):
                    return None
                if isinstance(at, Remark):
                    job.emit("remark", {"message": at.text})
                else:
                    tell(opened, job, at, slice(None), at.first, at.count, pace)

    def finish(self, opened: OpenModel, job: Job, made: Any) -> None:
        """Keeps what came of a job."""
        if job.over:
            return
        if job.inner:
            job.result = made
        else:
            self._keep(opened, job, made)
        job.end("done")

    def _keep(self, opened: OpenModel, job: Job, made: Any) -> None:
        entry = self._shelf.entry(job.work.model)
        gallery = self._galleries.of(entry)
        with gallery.incoming() as folder:
            pieces = job.work.save(opened, made, folder)
            if not job.over:
                about = {
                    "group": job.id,
                    "said": job.said,
                    "among": len(pieces),
                    "adapters": told(job.work.request.adapters),
                }
                kept = [gallery.add(piece, place=place, **about) for place, piece in enumerate(pieces)]
                job.pictures = [one.shown for one in kept]
                job.done = job.count

    def late(self, jobs: Sequence[Job], began: float) -> bool:
        """Whether the time of a job is up; then it has failed."""
        if monotonic() - began < self._settings.seconds:
            return False
        for job in jobs:
            job.end("failed", f"this takes longer than {self._settings.seconds:g} seconds: ask for fewer steps or less")
        return True


@final
class _Together:
    """Jobs whose samples are drawn together."""

    def __init__(self, worker: Worker, opened: OpenModel, batch: Sequence[Job]) -> None:
        self._worker, self._opened = worker, opened
        requests = [job.work.request for job in batch]
        self._request = joined(requests)
        self._parts = [(job, share, _Pace()) for job, share in zip(batch, shares(requests), strict=True)]

    def run(self) -> None:
        """Draws them; a job whose samples are done is finished before the others are."""
        began, steps = monotonic(), sample(self._opened, self._request)
        try:
            for at in steps:
                parts = [part for part in self._parts if not part[0].over]
                if not parts or self._worker.late([job for job, _, _ in parts], began):
                    return
                for job, share, pace in parts:
                    self._see(job, share, pace, at)
        finally:
            getattr(steps, "close", lambda: None)()

    def _see(self, job: Job, share: Share, pace: "_Pace", at: Progress) -> None:
        if (rows := share.rows(at)) is None:
            return
        share.take(at)
        tell(self._opened, job, at, rows, share.done, share.count, pace)
        if share.done == share.count:
            self._worker.finish(self._opened, job, share.values)


@final
class _Pace:
    """When the next preview is due."""

    def __init__(self) -> None:
        self._due = 0.0

    def made(self, opened: OpenModel, latents: Tensor) -> str | None:
        """A preview, if one is due."""
        if (began := monotonic()) < self._due:
            return None
        shown = preview(opened, latents)
        self._due = monotonic() + max(EVERY, _PART * (monotonic() - began))
        return shown


def tell(opened: OpenModel, job: Job, at: Progress, rows: slice, done: int, count: int, pace: _Pace) -> None:
    """Says how far a job is."""
    last = at.step.index == at.step.total - 1
    shown = pace.made(opened, at.step.x0[rows]) if job.watched and not last else None
    job.progress(at.step.index + 1, at.step.total, done, count, shown)
    if done < count and (place := partial(at.step.index + 1, at.step.total, job.partials)) is not None:
        first = estimates(opened.model, at.step.x0[rows][:1]).float().cpu()
        image = opened.model.medium.single(first[0]) or opened.model.medium.grid(first)
        content = base64.b64encode(encoded(image, "PNG")).decode()
        job.emit("partial", {"partial_image_index": place, "b64_json": content})


def partial(step: int, total: int, count: int) -> int | None:
    """Which of ``count`` partial pictures a step is; they come at even distances before the last step."""
    places = [max(1, (k + 1) * total // (count + 1)) for k in range(count)]
    return places.index(step) if step in places and step < total else None


def _fail(batch: Sequence[Job], error: Exception) -> None:
    message = _why(error)
    for job in batch:
        job.end("failed", message)


def _why(error: Exception) -> str:
    if isinstance(error, UserError):
        return sentence(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        return "there is not enough memory for this: ask for fewer or smaller pictures"
    log.error("a job failed", exc_info=error)
    return "something went wrong here, and it is no mistake of yours: the log says what"
