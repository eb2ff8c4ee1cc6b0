"""A real server under load, and killed: `benchmarks/studio.py` in small, and what must hold anywhere."""

import asyncio
import json
import signal
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from carrara.files import is_regular
from carrara.medium import read_about
from carrara.pixels import read_picture

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import studio

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read in /proc"),
]


def test_each_of_many_requests_gets_its_one_answer(tmp_path: Path) -> None:
    """A thousand from 16 clients; a tenth leaves, and a tenth is wrong."""
    load, unfinished = studio.under_load(studio.model(tmp_path / "run", small=True), 1000)
    assert load.wrong == [] and load.asked == load.answered and load.asked.total() == 1000
    assert load.left > 50 and unfinished == 0
    assert load.growth < 0.05, load.memory
    healthy, idle = load.health.studio, load.health.idle
    assert studio.quantile(healthy, 0.99) < 50 + studio.quantile(idle, 0.99)


def test_a_full_queue_refuses_at_once(tmp_path: Path) -> None:
    with studio.serving(studio.model(tmp_path / "run", small=True), queue=4) as served:
        asyncio.run(studio.throughput(served, 1, 1))
        refusals = asyncio.run(studio.refused(served, 4))
    assert len(refusals) >= 50 and studio.quantile(refusals, 0.5) < 50


def test_what_is_drawn_together_is_drawn_faster(tmp_path: Path) -> None:
    joined, alone = studio.batching(studio.model(tmp_path / "run"), rounds=2)
    assert max(joined) > 1.5 * max(alone), (joined, alone)


def picture() -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


KINDS: dict[str, dict[str, Any]] = {
    "samples": {"ask": {"count": 8}},
    "a sheet": {"vary": ["steps=1,2,3,4", "guidance=1,2"]},
    "img2img": {"verb": "img2img", "ask": {"count": 4}},
    "inpaint": {"verb": "inpaint", "options": {"box": "2,2,8,8", "resamplings": 2}, "ask": {"count": 4}},
    "interpolate": {"verb": "interpolate", "options": {"frames": 6, "to_seed": 7}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_server_leaves_no_half_of_any_kind(tmp_path: Path, kind: str) -> None:
    """Killed twice in the middle of jobs: what was finished is there, what is there is whole."""
    run, kept = studio.model(tmp_path / "run", small=True), set[str]()
    studio_folder = run / "samples" / "studio"
    for wanted in (1, 3):
        with studio.serving(run) as served:
            with httpx.Client(base_url=served.address, timeout=60) as client:
                assert kept <= ids(client)
                images = []
                if "verb" in KINDS[kind] and kind != "interpolate":
                    images = [client.post("/api/uploads", files={"file": ("a.png", picture())}).json()["id"]]
                for k in range(30):
                    said = {"model": "run", "images": images, **KINDS[kind]}
                    said["ask"] = {**said.get("ask", {}), "seed": 100 * k}
                    client.post("/api/jobs", json=said).raise_for_status()
                before, latest = len(kept), time.monotonic() + 60
                while len(kept := ids(client)) < before + wanted:
                    assert time.monotonic() < latest, client.get("/api/jobs").json()["jobs"][-1]["message"]
            served.process.send_signal(signal.SIGKILL)
            served.process.wait()
        for path in studio_folder.glob("*.png"):
            assert min(read_picture(path).size) >= 16 and read_about(path)
        for path in studio_folder.glob("*.json"):
            assert is_regular(path.with_suffix(".png")) and json.loads(path.read_text())["id"] == path.stem
    with studio.serving(run) as served, httpx.Client(base_url=served.address, timeout=60) as client:
        assert kept <= ids(client)
        assert client.get("/api/jobs").json()["jobs"] == [] and client.get("/readyz").status_code == 200
    assert not list(studio_folder.glob(".*")), "what was unfinished is gone"


def ids(client: httpx.Client) -> set[str]:
    return {one["id"] for one in client.get("/api/pictures", params={"limit": 200}).json()["pictures"]}
