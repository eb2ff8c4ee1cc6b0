"""The Train tab in a browser: the server is a process of its own, and so is each training (`make test-browser`)."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from browsers import DESK, PHONE, serious, tabbed, watched
from PIL import Image

from small_models import saved

pytestmark = pytest.mark.browser
SMALL = {"train.batch": "2", "data.size": "8", "preview.every": "5", "preview.count": "4", "sample.steps": "4"}
"""Changes that make a step of it take milliseconds."""


class Studio:
    """``carrara serve`` in a folder, which can be killed and started again at the same port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.url = folder, f"http://127.0.0.1:{self.port}/"
        self.client = httpx.Client(base_url=self.url, timeout=30)

    def start(self) -> None:
        command = [sys.executable, "-m", "carrara", "serve", "given", "--port", str(self.port), "--data", "pictures"]
        with (self.folder / "serve.log").open("a") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        for _ in range(600):
            try:
                if self.client.get("/readyz").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise AssertionError((self.folder / "serve.log").read_text())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def trainings(self) -> dict[str, dict[str, Any]]:
        return {one["id"]: one for one in self.client.get("/api/trainings").json()["trainings"]}

    def begun(self, name: str, steps: int) -> str:
        """Starts a small training without the page."""
        data = next(one["id"] for one in self.client.get("/api/data").json()["data"] if one["title"] == "pictures")
        while self.client.get(f"/api/data/{data}").json()["state"] == "looking":
            time.sleep(0.1)
        asked = {"data": data, "name": name, "changes": SMALL | {"train.steps": str(steps)}}
        return self.client.post("/api/trainings", json=asked).raise_for_status().json()["id"]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("training")
    saved("pixels", folder / "given")
    rng = np.random.default_rng(0)
    for label in ("dark", "light"):
        (folder / "pictures" / label).mkdir(parents=True)
        for number in range(12):
            noise = rng.integers(0, 128, (16, 16, 3), np.uint8) + (128 if label == "light" else 0)
            Image.fromarray(noise.astype(np.uint8)).save(folder / "pictures" / label / f"{number}.png")
    (folder / "pictures" / "light" / "broken.png").write_bytes(b"no picture")
    here = Studio(folder)
    here.start()
    yield here
    running = [name for name, one in here.trainings().items() if one["state"] in ("starting", "running", "saving")]
    for name in running:
        here.client.post(f"/api/trainings/{name}/stop")
    for _ in range(200):
        if all(one["state"] in ("stopped", "finished", "failed") for one in here.trainings().values()):
            break
        time.sleep(0.1)
    here.process.terminate()
    here.process.wait()
    here.client.close()


@contextmanager
def train_tab(studio: Studio, browser: Any, look: dict[str, Any], forgiven: str = "\0") -> Iterator[Any]:
    with watched(browser, f"{studio.url}#/train", look, forgiven) as page:
        page.set_default_timeout(60_000)  # a process takes long to begin where many are at work
        yield page


def choose(page: Any, title: str) -> None:
    """Chooses data, and waits for the recipe."""
    page.wait_for_selector(f"#data option:text('{title}')", state="attached")
    page.select_option("#data", label=title)
    page.wait_for_selector(".key")


def set_key(page: Any, key: str, value: str) -> None:
    """Sets a key, which may be one behind "more"."""
    if not page.locator(f"[data-key='{key}']").count():
        if not page.locator(".panel .search").count():
            page.locator(".more:not(.finding) > summary").first.click()
        page.fill(".panel .search input", key)
    page.fill(f"[data-key='{key}'] input", value)


def stated(page: Any, name: str, *states: str) -> None:
    for state in states:
        page.wait_for_selector(f"[data-opened='{name}'][data-state={state}]")


def waits(page: Any, until: Callable[[], bool]) -> None:
    for _ in range(600):
        if until():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it does not happen")


def test_a_folder_is_sent_and_trained_on(studio: Studio, browser: Any) -> None:
    """From a folder to a model: its findings, a mistake, a dry run, a training that is saved, stopped, gone on with."""
    with train_tab(studio, browser, DESK) as page:
        page.set_input_files(".drops input[webkitdirectory]", str(studio.folder / "pictures"))
        page.wait_for_selector(".contact")
        assert page.locator("#data option:checked").inner_text() == "pictures"
        page.locator(".finding summary").first.click()
        assert "broken.png" in page.locator(".finding").first.inner_text()
        set_key(page, "train.steps", "none")
        page.wait_for_selector("[data-key='train.steps'] .error")
        assert page.get_attribute("[data-key='train.steps'] input", "aria-invalid") == "true"
        page.click(".begin .primary")
        assert page.evaluate("document.activeElement.closest('.key').dataset.key") == "train.steps"
        set_key(page, "train.steps", "100000")
        for key, value in SMALL.items():
            set_key(page, key, value)
        page.fill("#run-name", "sent")
        page.wait_for_selector(".key .error", state="detached")
        page.click(".begin button >> nth=0")
        page.wait_for_selector("[data-rehearsed]")
        page.click(".begin .primary")
        stated(page, "sent", "running")
        page.wait_for_selector(".one .plot canvas")
        page.wait_for_selector(".one .drawn img")
        page.click("[data-act=save]")
        waits(page, lambda: any((studio.folder / "runs" / "sent" / "checkpoints").glob("step-*/manifest.json")))
        page.reload()
        stated(page, "sent", "running")
        page.click("[data-act=stop]")
        stated(page, "sent", "stopped")
        step = studio.trainings()["sent"]["step"]
        page.click("[data-act=resume]")
        stated(page, "sent", "running")
        waits(page, lambda: studio.trainings()["sent"]["step"] > step + 5)
        page.click("[data-act=stop]")
        stated(page, "sent", "stopped")
        page.click("[data-act=draw]")
        page.wait_for_selector("#model option:checked:text('sent')", state="attached")


def test_a_folder_is_dropped_with_all_that_is_in_it(studio: Studio, browser: Any) -> None:
    """A directory is read by parts; hidden files stay behind, and what is being sent can be called back."""
    with train_tab(studio, browser, DESK) as page:
        held = list[Any]()
        page.route(
            "**/api/data", lambda route: held.append(route) if route.request.method == "POST" else route.continue_()
        )
        paths = page.evaluate(
            """async () => {
                const blob = (path) => new File(["x"], path.split("/").at(-1));
                const file = (path) => ({ fullPath: path, file: (done) => done(blob(path)) });
                const reader = (parts) => ({ readEntries: (done) => done(parts.shift() ?? []) });
                const folder = (...parts) => ({ isDirectory: true, createReader: () => reader(parts) });
                const inner = folder([file("/all/b/3.png")]);
                const all = folder([file("/all/1.png"), file("/all/.hidden")], [inner], [file("/all/4.png")]);
                const { droppedFiles } = await import("/dropped.js");
                const found = await droppedFiles({ items: [{ webkitGetAsEntry: () => all }], files: [] });
                (await import("/training.js")).sendFiles(found);
                return found.map(({ path }) => path);
            }"""
        )
        assert sorted(paths) == ["all/.hidden", "all/1.png", "all/4.png", "all/b/3.png"]
        page.wait_for_selector(".sending [role=progressbar]")
        waits(page, lambda: bool(held))
        body = held[0].request.post_data_buffer
        assert b'filename="all/b/3.png"' in body and b".hidden" not in body and b'name="title"' in body
        page.click(".sending .stop")
        page.wait_for_selector(".drops")


def test_a_server_that_starts_again_finds_its_trainings(studio: Studio, browser: Any) -> None:
    name = studio.begun("outlives", 100_000)
    with train_tab(studio, browser, DESK, forgiven="ERR_") as page:
        page.wait_for_selector(f"[data-run={name}]")
        if page.locator(f"[data-opened={name}]").count() == 0:
            page.click(f"[data-run={name}] .run-open")
        stated(page, name, "running")
        page.wait_for_selector(".one .plot canvas")
        step = studio.trainings()[name]["step"]
        studio.kill()
        page.wait_for_selector(".gone")
        studio.start()
        page.wait_for_selector(".gone", state="detached")
        waits(page, lambda: studio.trainings()[name]["pictures"] > 2)
        assert studio.trainings()[name]["state"] == "running" and studio.trainings()[name]["step"] > step
        page.click("[data-act=stop]")
        stated(page, name, "stopped")


def test_a_training_is_started_and_stopped_with_the_keyboard(studio: Studio, browser: Any) -> None:
    """On a phone, in Chinese."""
    with train_tab(studio, browser, PHONE) as page:
        assert page.locator(".sides").is_visible() and "训练" in page.inner_text(".tabs")
        page.wait_for_selector("#data option:text('pictures')", state="attached")
        tabbed(page, "#data")
        while page.locator("#data option:checked").inner_text() != "pictures":
            page.keyboard.press("ArrowDown")
        page.wait_for_selector("#run-name")
        tabbed(page, "#run-name")
        page.keyboard.type("keys")
        tabbed(page, "[data-key='train.steps'] input")
        page.keyboard.press("Control+a")
        page.keyboard.type("100000")
        page.wait_for_function("document.querySelector(\"[data-key='train.steps']\").matches('.changed')")
        page.keyboard.press("Enter")
        stated(page, "keys", "running")
        tabbed(page, "[data-act=stop]")
        page.keyboard.press("Enter")
        stated(page, "keys", "stopped")
        page.reload()
        stated(page, "keys", "stopped")


@pytest.mark.parametrize("look", [DESK, PHONE], ids=["desk", "phone"])
def test_runs_lie_side_by_side(studio: Studio, browser: Any, look: dict[str, Any]) -> None:
    """Those of the tests before; nobody is kept out."""
    with train_tab(studio, browser, look) as page:
        choose(page, "pictures")
        assert serious(page) == []
        if look is PHONE:
            page.click(".sides label:nth-child(2)")
        for name in ("sent", "outlives"):
            page.check(f"[data-run={name}] .tick")
        page.wait_for_selector(".several .drawn figure:nth-child(2) img")
        page.focus(".several input[type=range]")
        before = page.inner_text(".several output")
        page.keyboard.press("ArrowLeft")
        assert page.inner_text(".several output") != before
        page.click(".log")
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.reload()
        page.wait_for_selector(".several .plot canvas")
        assert page.locator("#data option:checked").inner_text() == "pictures"
