"""What tests of the studio share: a live server with small models, and what one asks it."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import torch
import uvicorn

from carrara.serve.app import create
from carrara.serve.settings import ServeSettings

CPU = torch.device("cpu")


@contextmanager
def live(settings: ServeSettings, page: dict[str, Path] | None = None) -> Iterator[tuple[httpx.Client, Any]]:
    """A server on a free port, with a client and the studio that it serves; ``page`` are other files of the page."""
    app = create(settings, CPU)
    app.state.pages = app.state.pages if page is None else page
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1))
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                yield client, app.state.studio
        finally:
            server.should_exit = True
            thread.join()


def posted(client: httpx.Client, /, **said: Any) -> str:
    """The id of a job that was taken."""
    answer = client.post("/api/jobs", json=said)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def ended(client: httpx.Client, name: str, state: str = "done") -> dict[str, Any]:
    """A job at its end."""
    for _ in range(6000):
        job = client.get(f"/api/jobs/{name}").json()
        if job["state"] not in ("queued", "running"):
            assert job["state"] == state, job
            return job
        time.sleep(0.01)
    raise AssertionError("the job does not end")


def made(client: httpx.Client, /, **said: Any) -> list[dict[str, Any]]:
    """The pictures of a job."""
    return ended(client, posted(client, **said))["pictures"]


def bytes_of(client: httpx.Client, picture: dict[str, Any]) -> bytes:
    """A picture's file."""
    return client.get(picture["url"]).raise_for_status().content


def events(client: httpx.Client, name: str, **headers: str) -> list[tuple[int, str, dict[str, Any]]]:
    """The events of a job, to the last: number, name and data."""
    found, event = list[tuple[int, str, dict[str, Any]]](), dict[str, str]()
    with client.stream("GET", f"/api/jobs/{name}/events", headers=headers) as stream:
        for line in stream.iter_lines():
            if line:
                key, _, value = line.partition(":")
                event[key] = value.strip()
            elif "data" in event:
                found.append((int(event["id"]), event["event"], json.loads(event["data"])))
                event = {}
    return found


def settings_of(*runs: Path, **others: Any) -> ServeSettings:
    """Settings for some runs."""
    return ServeSettings(runs=runs, **others)
