"""What a studio counts, for Prometheus."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from carrara.serve.jobs import Job, Jobs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


@final
class Measures:
    """Counts of one studio."""

    def __init__(self, jobs: Jobs) -> None:
        self._registry = CollectorRegistry()
        self._ended = Counter("carrara_jobs", "Jobs that are over.", ["model", "state"], registry=self._registry)
        self._pictures = Counter("carrara_pictures", "Pictures made.", ["model"], registry=self._registry)
        self._seconds = Histogram("carrara_job_seconds", "How long jobs worked.", ["model"], registry=self._registry)
        self._answers = Counter("carrara_answers", "Answers.", ["method", "status"], registry=self._registry)
        waiting = Gauge("carrara_jobs_waiting", "Jobs that wait.", registry=self._registry)
        waiting.set_function(lambda: len(jobs.turns))

    def ended(self, job: Job, seconds: float) -> None:
        """A job is over."""
        self._ended.labels(job.work.model, job.state).inc()
        self._pictures.labels(job.work.model).inc(len(job.pictures))
        self._seconds.labels(job.work.model).observe(seconds)

    def answered(self, method: str, status: int) -> None:
        """A request was answered."""
        self._answers.labels(method if method in ("GET", "POST", "PUT", "DELETE") else "other", str(status)).inc()

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)


@final
class Counted:
    """An app whose answers are counted."""

    def __init__(self, app: App, measures: Measures) -> None:
        self._app, self._measures = app, measures

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request, or what else a server says."""

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._measures.answered(scope["method"], message["status"])
            await send(message)

        await self._app(scope, receive, noted if scope["type"] == "http" else send)
