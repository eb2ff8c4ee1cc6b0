"""What tests of the studio's trainings share: an app that is asked without a server, and trainings of no time."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastapi.testclient import TestClient
from PIL import Image

from carrara.files.lock import working
from carrara.serve.app import create
from carrara.serve.settings import ServeSettings

CHANGES = {
    "train.steps": "100000",
    "train.batch": "4",
    "data.size": "8",
    "model.backbone": "{kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [1], head_width: 8}",
    "preview.every": "20",
    "preview.count": "4",
    "preview.held_out": "4",
    "checkpoint.every": "50",
    "sample.steps": "2",
}
"""Of the recipe for digits: a network that trains in no time."""


def settings_in(folder: Path, **others: Any) -> ServeSettings:
    """A studio whose runs and uploads are in a folder."""
    return ServeSettings(home=folder / "runs", uploads=folder / "uploads", **others)


@contextmanager
def asked(folder: Path, **others: Any) -> Iterator[TestClient]:
    """A studio of a folder, and who asks it."""
    app = create(settings_in(folder, **others), torch.device("cpu"))
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@contextmanager
def killed_at_the_end(home: Path) -> Iterator[None]:
    """A block after which no process trains in the runs of a folder."""
    try:
        yield
    finally:
        for _ in range(3):  # one may have been about to begin
            for folder in home.glob("*") if home.is_dir() else ():
                if (holder := working(folder)) is not None:
                    with suppress(ProcessLookupError):
                        os.kill(holder.process, signal.SIGKILL)
            time.sleep(0.05)


def until(client: Any, name: str, holds: Callable[[dict[str, Any]], bool], seconds: float = 180) -> dict[str, Any]:
    """A training as soon as something holds of it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        shown = client.get(f"/api/trainings/{name}").raise_for_status().json()
        if holds(shown):
            return shown
        time.sleep(0.1)
    raise AssertionError(f"this never holds: {shown}, {client.get(f'/api/trainings/{name}/output').json()}")


def png(seed: int = 0, edge: int = 20) -> bytes:
    """A picture."""
    buffer = BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (edge, edge, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def message(answer: Any, status: int = 400) -> str:
    """The sentence of a refusal."""
    assert answer.status_code == status, answer.text
    return answer.json()["error"]["message"]
