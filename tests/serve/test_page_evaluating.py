"""The Evaluate tab in a browser: a run is measured, stopped, reported on and compared. Run by `make test-browser`."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from measured_runs import trained
from studios import live, settings_of
from test_page import serious

pytestmark = pytest.mark.browser
SHOTS = os.environ.get("CARRARA_SHOTS")
"""A folder for pictures of the page, to be looked at."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server of two small runs."""
    folder = tmp_path_factory.mktemp("measured")
    with live(settings_of(trained(folder / "digits-wide"), trained(folder / "digits-deep", "seed=1"))) as (client, _):
        yield client


@pytest.fixture
def client(measured: httpx.Client) -> Iterator[httpx.Client]:
    """Who asks it; what still goes on in the end is stopped."""
    yield measured
    for one in measured.get("/api/evaluations").json()["evaluations"]:
        measured.delete(f"/api/evaluations/{one['id']}")
    for kind in {one["kind"] for one in measured.get("/api/evaluations").json()["evaluations"]}:
        newest(measured, kind)


@pytest.fixture
def tab(page: Any) -> Any:
    """The tab."""
    page.set_default_timeout(60_000)
    page.goto(page.url.split("#")[0] + "#/evaluate")
    page.wait_for_selector(".metric")
    return page


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.wait_for_timeout(300)
        page.screenshot(path=str(Path(SHOTS, f"{name}-{page.viewport_size['width']}.png")))


def view(page: Any, number: int) -> None:
    page.locator(".evaluate .segments label").nth(number).click()


def fits(page: Any) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def newest(client: httpx.Client, kind: str, but: int = 0) -> dict[str, Any]:
    """The newest measurement of a kind, when there are more than so many, and all are over."""
    for _ in range(3000):
        found = [one for one in client.get("/api/evaluations").json()["evaluations"] if one["kind"] == kind]
        if len(found) > but and all(one["state"] not in ("queued", "running") for one in found):
            return found[0]
        time.sleep(0.1)
    raise AssertionError("the measurement does not end")


def test_a_run_is_measured_reported_and_compared(tab: Any, client: httpx.Client) -> None:
    assert fits(tab) and serious(tab) == []
    tab.locator(".start .primary").click()
    tab.wait_for_selector(".going")
    assert newest(client, "metrics")["state"] == "done"
    tab.wait_for_selector(".going", state="detached")
    tab.wait_for_selector("[data-metric=nll]")
    assert tab.locator("[data-metric=nll] tr").count() > 3 and fits(tab) and serious(tab) == []
    shot(tab, "results")
    view(tab, 1)
    frame = tab.frame_locator(".told iframe")
    frame.locator("h1").wait_for()
    assert "bits/dim" in frame.locator("body").inner_text()
    assert frame.locator("h1").evaluate("(h) => getComputedStyle(h).fontSize") == "30.4px", "its styles are permitted"
    shot(tab, "report")
    view(tab, 2)
    for box in tab.locator("input[name=run]").all():
        box.check()
    before = sum(one["kind"] == "comparison" for one in client.get("/api/evaluations").json()["evaluations"])
    tab.locator(".row .primary").click()
    tab.frame_locator(".told iframe").locator("h1").wait_for()
    assert newest(client, "comparison", before)["state"] == "done" and fits(tab)
    tab.locator(".segments").first.scroll_into_view_if_needed()
    shot(tab, "compare")


def test_a_measurement_survives_a_reload_and_can_be_stopped(tab: Any, client: httpx.Client) -> None:
    tab.uncheck("input[value=nll]")
    tab.check("input[value=kid]")
    tab.fill("#samples", "50000")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".going [role=progressbar]")
    tab.reload()
    tab.wait_for_function("() => /\\d \\/ \\d/.test(document.querySelector('.going .facts')?.textContent)")
    shot(tab, "going")
    tab.locator(".going .stop").click()
    tab.wait_for_selector(".going", state="detached")
    assert newest(client, "metrics")["state"] == "cancelled"
