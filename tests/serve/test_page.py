"""The studio's page in a browser: Debian's chromium, driven by Playwright. Run by `make test-browser`."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from browsers import serious, tabbed
from PIL import Image

pytestmark = pytest.mark.browser

TABS = ("generate", "edit", "gallery", "train", "evaluate", "learn")


def shown(page: Any, tab: str) -> None:
    page.goto(page.url.split("#")[0] + f"#/{tab}")
    page.wait_for_selector(f".tabs a[href='#/{tab}'][aria-current]")


def chosen(page: Any, model: str) -> None:
    page.select_option("#model", label=page.locator("#model option", has_text=model).first.inner_text())


def drawn(page: Any, count: int = 2) -> None:
    """Draws so many by the first model, with the keyboard alone once the field has been reached."""
    page.fill("[data-field=count] input[type=number]", str(count))
    page.keyboard.press("Enter")
    page.wait_for_selector(".job .card")


def test_pictures_are_drawn_and_survive_a_reload(page: Any) -> None:
    drawn(page)
    page.reload()
    page.wait_for_selector(".job .card")
    assert page.input_value("[data-field=count] input[type=number]") == "2"


def test_a_picture_is_starred_thrown_away_and_brought_back(page: Any, client: httpx.Client) -> None:
    drawn(page)
    before = len(client.get("/api/pictures?limit=100").json()["pictures"])
    page.locator(".card-tools").first.locator("button, a").last.click()
    page.wait_for_function(
        "async (n) => (await (await fetch('/api/pictures?limit=100')).json()).pictures.length === n - 1", arg=before
    )
    page.locator("[role=status] button, .toast button").last.click()
    page.wait_for_function(
        "async (n) => (await (await fetch('/api/pictures?limit=100')).json()).pictures.length === n", arg=before
    )


def test_the_way_of_a_picture_can_be_gone(page: Any) -> None:
    drawn(page)
    page.click(".card-open")
    page.locator(".viewer .under .quiet").click()
    page.wait_for_selector(".scrubber")
    page.keyboard.press("Escape")


def test_a_hole_is_painted_and_filled(page: Any, png: bytes, tmp_path: Path) -> None:
    (tmp_path / "given.png").write_bytes(png)
    page.goto(page.url.split("#")[0] + "#/edit")
    page.wait_for_selector("#verb")
    page.select_option("#verb", "inpaint")
    page.set_input_files("[data-field=images] input[type=file]", str(tmp_path / "given.png"))
    board = page.wait_for_selector(".board")
    board.scroll_into_view_if_needed()
    box = board.bounding_box()
    x, y = box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.4
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] * 0.3, y, steps=6)
    page.mouse.up()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    page.locator(".start .primary").click()
    page.wait_for_selector(".before-after")


def test_a_dropped_picture_brings_its_settings_back(page: Any, client: httpx.Client) -> None:
    drawn(page, count=3)
    picture = client.get("/api/pictures?limit=1").json()["pictures"][0]
    page.fill("[data-field=count] input[type=number]", "1")
    page.evaluate(
        """async (url) => {
            const blob = await (await fetch(url)).blob(), moved = new DataTransfer();
            moved.items.add(new File([blob], "again.png", { type: "image/png" }));
            for (const kind of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(
                    new DragEvent(kind, { dataTransfer: moved, bubbles: true, cancelable: true })
                );
        }""",
        picture["url"],
    )
    page.wait_for_function(
        "(seed) => document.querySelector('[data-field=seed] input').value === String(seed)", arg=picture["seed"]
    )


@pytest.mark.parametrize("tab", TABS)
def test_nobody_is_kept_out(page: Any, tab: str) -> None:
    """No serious finding of axe-core, in any tab."""
    shown(page, tab)
    assert serious(page) == []


def test_dialogs_keep_nobody_out(page: Any) -> None:
    drawn(page)
    page.click(".card-open")
    page.wait_for_selector("dialog.viewer")
    assert serious(page) == []


def test_stop_means_stop(page: Any, client: httpx.Client) -> None:
    page.fill("[data-field=steps] input[type=number]", "1000")
    page.keyboard.press("Enter")
    page.locator(".running .stop").click()
    page.wait_for_selector(".running", state="detached")
    newest = client.get("/api/jobs").json()["jobs"][0]
    assert newest["state"] == "cancelled" and newest["step"] < 1000


def test_everything_is_reached_with_the_keyboard(page: Any) -> None:
    """From the top of the page to a picture that is drawn, seen, starred and thrown away, with Tab and keys alone."""
    page.keyboard.press("/")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".job .card")
    tabbed(page, ".card-open")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.viewer")
    page.keyboard.press("s")
    page.wait_for_selector("dialog.viewer [aria-pressed=true]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.viewer", state="detached")
    before = page.locator(".job .card").count()
    tabbed(page, ".card-tools button:last-child")
    page.keyboard.press("Enter")
    page.wait_for_function("(n) => document.querySelectorAll('.job .card').length === n - 1", arg=before)


def test_the_bin_is_emptied_after_a_question(page: Any, client: httpx.Client) -> None:
    drawn(page)
    page.locator(".card-tools").first.locator("button").last.click()
    page.wait_for_selector("[role=status] .notice")
    shown(page, "gallery")
    page.locator(".segments label").last.click()
    page.wait_for_selector(".gallery .card")
    page.locator(".filters button").click()
    page.locator(".dialog-acts .quiet").click()
    assert client.get("/api/pictures?bin=true").json()["pictures"]
    page.locator(".filters button").click()
    page.locator(".dialog-acts .stop").click()
    page.wait_for_selector(".gallery .empty")
    assert client.get("/api/pictures?bin=true").json()["pictures"] == []


def test_a_picture_that_is_too_large_is_made_smaller_and_is_there_after_a_reload(page: Any, tmp_path: Path) -> None:
    """3000x2000 of noise: 18 MB, and more pixels than the server takes."""
    noise = np.random.default_rng(0).integers(0, 256, (2000, 3000, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    shown(page, "edit")
    page.select_option("#verb", "img2img")
    page.set_input_files("[data-field=images] input[type=file]", str(tmp_path / "large.png"))
    page.wait_for_selector(".source img")
    facts = page.locator("[data-field=images] .facts").inner_text()
    page.reload()
    page.wait_for_selector(".source img")
    assert page.locator("[data-field=images] .facts").inner_text() == facts
    width, height = (int(edge) for edge in facts.rpartition("·")[2].split("×"))
    assert width * height <= 1 << 22 < 1.01 * width * height
    assert page.evaluate("document.querySelector('.source img').naturalWidth") == width
