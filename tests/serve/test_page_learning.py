"""The Learn tab in a browser: what is moved moves what is seen, with a mouse, a finger or the keyboard alone."""

from pathlib import Path
from typing import Any

import pytest
from test_page import serious, shown, tabbed

pytestmark = pytest.mark.browser
EXHIBITS = ("noise", "schedules", "ways", "roll", "guidance")


@pytest.fixture
def learn(page: Any) -> Any:
    """The page with the tab open."""
    shown(page, "learn")
    page.wait_for_selector(".learn")
    return page


def exhibit(page: Any, name: str) -> Any:
    """An exhibit that is there, and filled."""
    page.evaluate("(name) => document.getElementById(name).scrollIntoView()", name)
    page.wait_for_selector(f"#{name} .seen :is(canvas, img)")
    return page.locator(f"#{name}")


def ink(page: Any, name: str) -> str:
    """What the first canvas of an exhibit shows."""
    page.wait_for_timeout(50)
    return page.locator(f"#{name} canvas").first.evaluate("(canvas) => canvas.toDataURL()")


def pressed(page: Any, slider: Any, key: str, times: int = 1) -> None:
    slider.focus()
    for _ in range(times):
        page.keyboard.press(key)


def changed(page: Any, name: str, before: str) -> str:
    for _ in range(200):
        if (now := ink(page, name)) != before:
            return now
    raise AssertionError(f"{name} looks as before")


def test_each_exhibit_has_a_formula_and_something_to_see(learn: Any) -> None:
    for name in EXHIBITS:
        here = exhibit(learn, name)
        assert here.locator("math").evaluate("(math) => math.namespaceURI").endswith("MathML")
        assert here.locator("math").bounding_box()["height"] > 20
        assert here.locator("h2").inner_text() and "learn." not in here.inner_text()
    width = learn.evaluate("document.documentElement.scrollWidth")
    assert width <= learn.viewport_size["width"]


def test_the_slider_turns_the_picture_into_noise(learn: Any) -> None:
    here = exhibit(learn, "noise")
    picture, slider = here.locator(".pair img").first, here.locator(".seen input[type=range]")
    pressed(learn, slider, "Home")
    first = picture.get_attribute("src")
    assert slider.get_attribute("aria-valuetext") == "0.00"
    pressed(learn, slider, "ArrowRight")
    assert picture.get_attribute("src") != first
    pressed(learn, slider, "End")
    assert slider.get_attribute("aria-valuetext") == "1.00"
    assert here.locator(".shares dd").all_inner_texts()[1].startswith("1.00")
    learn.wait_for_function("() => document.querySelectorAll('#noise .pair img').length === 2")


def test_ones_own_picture_is_noised(learn: Any, png: bytes, tmp_path: Path) -> None:
    (tmp_path / "own.png").write_bytes(png)
    here = exhibit(learn, "noise")
    before = here.locator(".pair img").first.get_attribute("src")
    here.locator("input[type=file]").set_input_files(str(tmp_path / "own.png"))
    learn.wait_for_function(
        "(before) => document.querySelector('#noise .pair img').getAttribute('src') !== before", arg=before
    )
    assert learn.evaluate("document.querySelector('#noise .pair img').naturalWidth") == 12


def test_schedules_are_chosen(learn: Any) -> None:
    here = exhibit(learn, "schedules")
    learn.wait_for_function("() => document.querySelectorAll('#schedules .film img').length === 27")
    before = ink(learn, "schedules")
    here.get_by_text("ve", exact=True).click()
    learn.wait_for_function("() => document.querySelectorAll('#schedules .film img').length === 36")
    before = changed(learn, "schedules", before)
    pressed(learn, here.locator(".seen input[type=range]"), "ArrowLeft", 5)
    changed(learn, "schedules", before)


@pytest.mark.parametrize("name", ["ways", "roll", "guidance"])
def test_time_is_moved_with_keys_and_plays_by_itself(learn: Any, name: str) -> None:
    here = exhibit(learn, name)
    slider = here.locator(".player input").first
    pressed(learn, slider, "Home")
    before = ink(learn, name)
    pressed(learn, slider, "ArrowRight", 3)
    before = changed(learn, name, before)
    here.locator(".player button").first.click()
    learn.wait_for_function(
        "(name) => { const s = document.querySelector(`#${name} .player input`); return s.value === s.max; }", arg=name
    )
    changed(learn, name, before)


@pytest.mark.parametrize("name", ["ways", "roll", "guidance"])
def test_what_is_asked_is_drawn_anew(learn: Any, name: str) -> None:
    here = exhibit(learn, name)
    pressed(learn, here.locator(".player input").first, "End")
    before = ink(learn, name)
    pressed(learn, here.locator(".moved input[type=range]").first, "ArrowLeft", 2)
    changed(learn, name, before)


def test_a_model_draws_both_ways(learn: Any) -> None:
    here = exhibit(learn, "ways")
    here.locator(".models select").first.select_option("pixels")
    here.locator("#learn-prompt").fill("cat")
    learn.keyboard.press("Enter")
    learn.wait_for_function("() => document.querySelectorAll('#ways .four img').length === 4")
    last = here.locator(".four img").first.get_attribute("src")
    pressed(learn, here.locator(".models .player input"), "Home")
    assert here.locator(".four img").first.get_attribute("src") != last


def test_it_is_reached_with_the_keyboard(learn: Any) -> None:
    tabbed(learn, ".learn nav a:last-child")
    learn.keyboard.press("Enter")
    assert learn.evaluate("document.activeElement.id") == "guidance"
    tabbed(learn, "#guidance .moved input")


def test_nobody_is_kept_out(learn: Any) -> None:
    for name in EXHIBITS:
        exhibit(learn, name)
    assert serious(learn) == []
