"""What tests in a browser share: a page that is watched, and the keyboard."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

DESK = {"viewport": {"width": 1440, "height": 900}, "locale": "en-GB", "color_scheme": "light"}
PHONE = {"viewport": {"width": 390, "height": 844}, "locale": "zh-CN", "color_scheme": "dark", "has_touch": True}


@contextmanager
def watched(browser: Any, url: str, look: dict[str, Any], forgiven: str = "\0") -> Iterator[Any]:
    """A page of which nothing may be said on the console, but for what is forgiven, and which asks nobody but the
    studio."""
    context = browser.new_context(**look)
    shown = context.new_page()
    shown.set_default_timeout(20_000)
    said, asked = list[str](), set[str]()
    shown.on("console", lambda line: said.append(line.text) if line.type in ("error", "warning") else None)
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("request", lambda one: asked.add(urlsplit(one.url).hostname or ""))
    shown.goto(url)
    shown.wait_for_selector(".panel")
    yield shown
    context.close()
    assert [line for line in said if forgiven not in line] == []
    assert asked - {""} == {"127.0.0.1"}


def serious(page: Any) -> list[str]:
    """What axe-core finds that keeps people out."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="make test-browser installs axe-core")
    page.emulate_media(reduced_motion="reduce")  # what is half faded in has no contrast yet
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {[node['target'] for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def tabbed(page: Any, selector: str, most: int = 120) -> None:
    """Presses Tab until something of this kind has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement?.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} is not reached with Tab")
