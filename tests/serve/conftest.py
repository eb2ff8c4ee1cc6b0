"""Studios of small models, each with folders of its own."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from browsers import DESK, PHONE, watched
from PIL import Image
from studios import live, settings_of

from small_models import KINDS, saved

pytest.importorskip("fastapi")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each kind."""
    folder = tmp_path_factory.mktemp("studio")
    for kind in KINDS:
        saved(kind, folder / kind)
    return folder


@pytest.fixture(scope="module")
def served(runs: Path) -> Iterator[tuple[httpx.Client, Any]]:
    """A server of all of them, and its studio."""
    with live(settings_of(*(runs / kind for kind in KINDS), queue=16)) as here:
        yield here


@pytest.fixture
def client(served: tuple[httpx.Client, Any]) -> httpx.Client:
    """Who asks it."""
    return served[0]


@pytest.fixture(scope="session")
def png() -> bytes:
    """A picture."""
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def page(request: pytest.FixtureRequest, browser: Any, client: httpx.Client) -> Iterator[Any]:
    """The page, of which nothing may be said on the console, and which asks nobody but the studio."""
    with watched(browser, str(client.base_url), request.param) as shown:
        yield shown
