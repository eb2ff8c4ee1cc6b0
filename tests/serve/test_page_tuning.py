"""Fine-tuning from the Train tab, in a browser: what it starts from, what learns, and what is said of it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from browsers import serious
from studios import live, settings_of
from tuned_pictures import drawn

from small_models import saved

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Any]]:
    folder = tmp_path_factory.mktemp("tuning")
    for kind in ("pixels", "autoencoder"):
        saved(kind, folder / "runs" / kind)
    data = drawn(folder / "pets", "cat", "dog"), drawn(folder / "birds", "wren", "owl")
    with live(settings_of(home=folder / "runs", uploads=folder / "uploads", data=data)) as here:
        yield here


def key(page: Any, name: str) -> Any:
    return page.locator(f"[data-key='{name}']")


def test_what_starts_from_a_model_shows_its_own_keys_and_survives_a_reload(page: Any) -> None:
    page.set_default_timeout(60_000)
    page.goto(page.url.split("#")[0] + "#/train")
    page.select_option("#data", label="pets")
    page.wait_for_selector("#preset")
    names = page.locator("#from option").all_inner_texts()
    assert "pixels" in names and "autoencoder" not in names and page.locator("#from-doc").count() == 0
    page.select_option("#from", "pixels")
    learns = key(page, "objective.learn").locator("select")
    learns.wait_for()
    assert page.locator("#preset").count() == 0 and learns.locator("option").all_inner_texts() == ["lora", "all"]
    assert page.get_attribute("#run-name", "placeholder") == "pixels-pets" and serious(page) == []
    learns.select_option("all")
    page.wait_for_selector("[data-key='objective.learn'].changed")
    page.reload()
    learns.wait_for()
    assert page.input_value("#from") == "pixels" and learns.input_value() == "all"
    page.focus("#from")
    page.select_option("#from", "")
    page.wait_for_selector("#preset")
    assert learns.count() == 0 and page.evaluate("document.activeElement.id") == "from"


def test_data_that_it_cannot_learn_from_are_refused_until_a_caption_is_said(page: Any) -> None:
    page.set_default_timeout(60_000)
    page.goto(page.url.split("#")[0] + "#/train")
    page.select_option("#data", label="birds")
    page.wait_for_selector("#preset")
    page.select_option("#from", "pixels")
    refused = page.locator(".train .error.alone")
    refused.wait_for()
    assert "cat, dog" in refused.inner_text() and page.locator(".begin .start button").first.is_disabled()
    assert serious(page) == []
    key(page, "objective.caption").locator("input").fill("cat")
    refused.wait_for(state="detached")
    page.wait_for_selector(".begin .start button:first-child:enabled")
