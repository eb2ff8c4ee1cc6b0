"""Exported pages in chromium: what they draw is what torch draws. Run by ``make test-browser``."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copytree
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from jaxtyping import config as annotations
from PIL import Image
from test_onnx import LATENTS, UNET, made

from carrara.export import page as exporting
from carrara.export.onnx_checks import drawn
from carrara.model import DiffusionModel, load_model
from carrara.store.runs import newest

pytestmark = pytest.mark.browser

PACKAGE = Path(sys.prefix) / "web" / "node_modules" / "onnxruntime-web"
DESK = {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"}
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True}
PATIENCE = 120_000


class Quiet(SimpleHTTPRequestHandler):
    """``python -m http.server``, without its log."""

    def log_message(self, format: str, *args: object) -> None:
        pass


class Isolating(Quiet):
    """One that lets a page have threads."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


@contextmanager
def served(folder: Path, handler: type[Quiet] = Quiet) -> Iterator[str]:
    """The address of a folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@contextmanager
def opened(
    browser: Any, folder: Path, look: dict[str, Any], where: str = "", handler: type[Quiet] = Quiet
) -> Iterator[Any]:
    """The page of a folder, which asks nobody else, and says nothing on the console."""
    with served(folder, handler) as url:
        context = browser.new_context(**look)
        shown, said, asked = context.new_page(), list[str](), set[str]()
        shown.set_default_timeout(PATIENCE)
        shown.on("console", lambda line: said.append(line.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        context.on("request", lambda one: asked.add(urlsplit(one.url).netloc))
        shown.goto(url + where)
        shown.wait_for_selector("#draw:enabled, #status.wrong")
        yield shown
        context.close()
        assert said == []
        assert asked - {""} == {urlsplit(url).netloc}


def exported(model: Path, out: Path) -> Path:
    if not PACKAGE.is_dir():
        pytest.skip("make test-browser gets onnxruntime-web by npm, which is not there")
    out.mkdir()
    annotations.update("jaxtyping_disable", True)
    try:
        for _ in exporting.export(model, out, onnxruntime_web=PACKAGE):
            pass
    finally:
        annotations.update("jaxtyping_disable", False)
    return out


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model of pixels with classes, and its page."""
    folder = tmp_path_factory.mktemp("unet")
    return made(UNET, folder / "model"), exported(folder / "model", folder / "page")


@pytest.fixture(scope="module")
def openmoji(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The model that ships, and its page."""
    return newest(Path("openmoji")), exported(newest(Path("openmoji")), tmp_path_factory.mktemp("openmoji") / "page")


def draw(page: Any) -> np.ndarray:
    """Presses the button, and takes the picture that is saved."""
    page.evaluate(
        "() => { const status = document.getElementById('status'); status.textContent = status.className = '' }"
    )
    page.click("#draw")  # what is said from now on is about this drawing, however soon it is done
    page.wait_for_selector("#status:text-matches('Drawn in'), #status.wrong")
    assert page.locator("#status.wrong").count() == 0, page.inner_text("#status")
    with page.expect_download() as waited:
        page.click("#save")
    with Image.open(waited.value.path()) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def torchs(folder: Path, wish: str | None, seed: int, steps: int, sampler: str | None = None) -> np.ndarray:
    model = load_model(folder)
    assert isinstance(model, DiffusionModel)
    return drawn(model, [wish], [seed], steps, sampler)[0].astype(int)


@pytest.mark.parametrize("look", [DESK, PHONE], ids=["desk", "phone"])
def test_the_shipped_model_draws_the_same_heart(
    browser: Any, openmoji: tuple[Path, Path], look: dict[str, Any]
) -> None:
    """In another program, another language and another arithmetic: the same seed is the same picture."""
    model, folder = openmoji
    with opened(browser, folder, look) as page:
        page.fill("#wish", "a red heart")
        page.fill("#seed", "3")
        picture = draw(page)
    theirs = torchs(model, "a red heart", 3, 25)
    assert np.abs(picture - theirs).max() <= 2
    red = (theirs[..., 0] > 150) & (theirs[..., 1] < 90)
    assert red.mean() > 0.1  # a heart, and no empty sheet


def test_what_the_shipped_model_cannot_read_is_said(browser: Any, openmoji: tuple[Path, Path]) -> None:
    with opened(browser, openmoji[1], DESK) as page:
        page.fill("#wish", "a 🜚 heart")
        page.click("#draw")
        page.wait_for_selector("#status.wrong")
        assert "cannot read “🜚”" in page.inner_text("#status")
        page.fill("#wish", "a star")
        assert draw(page).shape == (64, 64, 3)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "heun", "dpmpp_sde", "unipc", "lms"])
def test_classes_are_drawn_as_torch_draws_them(browser: Any, unet: tuple[Path, Path], sampler: str) -> None:
    """With clipping, guidance, and noise in every step."""
    model, folder = unet
    with opened(browser, folder, DESK, f"#wish=dog&seed=-5&steps=6&sampler={sampler}") as page:
        assert page.input_value("#classes") == "dog"
        picture = draw(page)
    assert np.abs(picture - torchs(model, "dog", -5, 6, sampler)).max() <= 2


def test_threads_draw_the_same(browser: Any, unet: tuple[Path, Path]) -> None:
    """Where the server isolates the page."""
    with opened(browser, unet[1], DESK, "#wish=dog&seed=4", Isolating) as page:
        assert page.evaluate("() => self.crossOriginIsolated")
        assert len(page.workers) == min(os.cpu_count() or 1, 4)  # the one that draws, and its others
        picture = draw(page)
    assert np.abs(picture - torchs(unet[0], "dog", 4, UNET.sample.steps, "dpmpp")).max() <= 2


def test_latents_are_decoded(browser: Any, tmp_path: Path) -> None:
    folder = exported(made(LATENTS, tmp_path / "model"), tmp_path / "page")
    with opened(browser, folder, PHONE, "#wish=cat&seed=1") as page:
        picture = draw(page)
    assert picture.shape == (11, 14, 3)
    assert np.abs(picture - torchs(tmp_path / "model", "cat", 1, LATENTS.sample.steps)).max() <= 2


def test_the_address_holds_what_was_drawn(browser: Any, unet: tuple[Path, Path]) -> None:
    with opened(browser, unet[1], DESK) as page:
        page.select_option("#classes", "dog")
        page.fill("#seed", "12345678901")
        first = draw(page)
        page.reload()
        page.wait_for_selector("#draw:enabled")
        assert (page.input_value("#seed"), page.input_value("#classes")) == ("12345678901", "dog")
        assert (draw(page) == first).all()
        page.select_option("#classes", "cat")
        assert (draw(page) != first).any()
        assert page.locator("#earlier button").count() == 2
        page.locator("#earlier button").last.click()
        assert "“dog” · seed 12345678901" in page.inner_text("#caption")


def test_a_drawing_is_stopped(browser: Any, unet: tuple[Path, Path]) -> None:
    with opened(browser, unet[1], DESK, "#steps=100&sampler=heun") as page:
        page.click("#draw")
        page.click("#stop")
        page.wait_for_selector("#status:text-is('Stopped.')")
        assert page.locator("#earlier button").count() == 0
        assert draw(page).shape == (12, 16, 3)


def test_a_changed_file_is_one_sentence(browser: Any, unet: tuple[Path, Path], tmp_path: Path) -> None:
    folder = Path(copytree(unet[1], tmp_path / "changed"))
    content = (folder / "denoiser.onnx").read_bytes()
    (folder / "denoiser.onnx").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with opened(browser, folder, DESK) as page:
        assert page.inner_text("#status") == "“denoiser.onnx” is not the file of the card: export the page again."
        assert page.is_disabled("#draw")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "format": 9}))
    with opened(browser, folder, DESK) as page:
        assert "The card has format 9, and this page reads 1" in page.inner_text("#status")


@pytest.mark.parametrize("look", [DESK, PHONE], ids=["desk", "phone"])
def test_the_keyboard_is_enough_and_nobody_is_kept_out(
    browser: Any, unet: tuple[Path, Path], look: dict[str, Any]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="make test-browser installs axe-core")
    with opened(browser, unet[1], {**look, "bypass_csp": True}) as page:  # the policy keeps axe-core out, too
        page.focus("#seed")
        page.keyboard.press("Enter")
        page.wait_for_selector("#status:text-matches('Drawn in')")
        page.click("summary")
        found = axe.Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= look["viewport"]["width"]  # nothing sticks out
