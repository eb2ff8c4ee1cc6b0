"""Adapters on the studio's page, in a browser: chosen, weighed, kept, brought back. Run by ``make test-browser``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from adapters_learned import family
from browsers import DESK, PHONE, serious, tabbed, watched
from studios import bytes_of, live, made, settings_of

pytestmark = pytest.mark.browser

FIELD = "[data-field=lora]"
WEIGHT = f"{FIELD} input[type=number]"
DROP = """async (url) => {
    const moved = new DataTransfer();
    const blob = await (await fetch(url)).blob();
    moved.items.add(new File([blob], "again.png", { type: "image/png" }));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: moved, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return family(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def served(runs: tuple[Path, ...]) -> Iterator[tuple[httpx.Client, Any]]:
    with live(settings_of(*runs)) as here:
        yield here


def chips(page: Any) -> list[tuple[str, bool]]:
    """The adapters that are shown, and which are added."""
    found = page.locator(f"{FIELD} .chip").all()
    return [(one.inner_text(), one.get_attribute("aria-pressed") == "true") for one in found]


def weights(page: Any) -> list[str]:
    return [one.input_value() for one in page.locator(WEIGHT).all()]


def _starts(answer: Any) -> bool:
    return answer.url.endswith("/api/jobs") and answer.request.method == "POST"


def drawn(page: Any) -> str:
    """Draws with Enter, where the focus is; the selector of what came of it."""
    with page.expect_response(_starts) as answer:
        page.keyboard.press("Enter")
    job = f"[data-job='{answer.value.json()['id']}']"
    page.wait_for_selector(f"{job} .card")
    return job


def asked(client: httpx.Client) -> dict[str, Any]:
    """What was asked for last."""
    return client.get("/api/jobs").json()["jobs"][0]["request"]["ask"]


def test_adapters_are_weighed_drawn_with_and_survive_a_reload(page: Any, client: httpx.Client) -> None:
    page.wait_for_selector(FIELD)
    assert chips(page) == [("watercolour", False), ("pencil", False)] and weights(page) == []
    for one in page.locator(f"{FIELD} .chip").all():
        one.click()
    page.locator(WEIGHT).first.fill("0.85")
    page.locator(f"{FIELD} input[type=range]").last.evaluate(
        "(slider) => { slider.value = 0.3; slider.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    assert weights(page) == ["0.85", "0.3"] and page.locator(f"{FIELD} .facts").count() == 1
    page.locator(WEIGHT).first.fill("")  # what is half typed changes nothing
    page.locator(WEIGHT).last.focus()
    assert weights(page) == ["0.85", "0.3"] and serious(page) == []
    page.reload()
    page.wait_for_selector(WEIGHT)
    assert weights(page) == ["0.85", "0.3"]
    page.locator(WEIGHT).last.focus()
    page.locator(f"{drawn(page)} .card-open").first.click()
    said = page.locator("dialog.viewer dl").inner_text()
    assert "watercolour 0.85, pencil 0.3" in said and serious(page) == []
    assert asked(client)["lora"] == ["watercolour:0.85", "pencil:0.3"]


def test_the_keyboard_adds_weighs_and_removes(page: Any, client: httpx.Client) -> None:
    page.wait_for_selector(FIELD)
    tabbed(page, f"{FIELD} .chip")
    page.keyboard.press("Space")
    tabbed(page, WEIGHT)
    page.keyboard.press("ArrowUp")
    assert weights(page) == ["1.05"] and chips(page)[0] == ("watercolour", True)
    drawn(page)
    assert asked(client)["lora"] == ["watercolour:1.05"]
    for _ in range(2):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert weights(page) == [] and not any(added for _, added in chips(page))


def test_a_model_shows_what_fits_it_and_no_field_where_nothing_does(page: Any) -> None:
    page.wait_for_selector(FIELD)
    for model, names in (("twin", ["pencil", "watercolour"]), ("wide", ["waves"]), ("waves", []), ("base", None)):
        page.select_option("#model", model)
        page.wait_for_function("(name) => document.querySelector('.panel #model')?.value === name", arg=model)
        page.wait_for_selector("[data-field=steps]")
        assert names is None or [name for name, _ in chips(page)] == names
    page.goto(page.url.split("#")[0] + "#/edit")
    page.wait_for_selector("#verb")
    assert [name for name, _ in chips(page)] == ["watercolour", "pencil"] and serious(page) == []


@pytest.mark.parametrize("look", [DESK, PHONE], ids=["desk", "phone"])
def test_a_dropped_picture_brings_them_back_and_it_is_said_which_is_gone(
    browser: Any, tmp_path: Path, look: dict[str, Any]
) -> None:
    runs = family(tmp_path)
    with live(settings_of(*runs)) as (client, _):
        lora = ["watercolour:0.6", "pencil:1.5"]
        (picture,) = made(client, model="base", ask={"prompts": ["cat"], "seed": 1, "count": 1, "lora": lora})
        assert bytes_of(client, picture)
        with watched(browser, str(client.base_url), look) as page:
            page.wait_for_selector(FIELD)
            page.evaluate(DROP, picture["url"])
            page.locator(WEIGHT).nth(1).wait_for()
            assert weights(page) == ["0.6", "1.5"]
    with live(settings_of(runs[0], runs[3])) as (client, _), watched(browser, str(client.base_url), look) as page:
        page.wait_for_selector(FIELD)
        page.evaluate(DROP, picture["url"])
        page.wait_for_selector(WEIGHT)
        assert weights(page) == ["0.6"] and "'pencil'" in page.locator(".notice").inner_text()
