"""The files of the Learn tab, without a browser: what is said there is in the list of words."""

import re
from pathlib import Path

import pytest
from test_page_files import PAGE, words

FILES = sorted((PAGE / "learning").glob("*.js"))
FORMULAS = (PAGE / "learning" / "formulas.js").read_text("utf-8")
SCHEDULE_CURVES = ("share", "logsnr")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_said_is_in_the_list_of_words(path: Path) -> None:
    said = set(re.findall(r'(?<![\w.])t\("([^"]+)"', path.read_text("utf-8")))
    assert said - words("en").keys() == set()


def test_each_exhibit_is_told_and_has_a_formula() -> None:
    [names] = re.findall(r"EXHIBITS = \{([^}]*)\}", (PAGE / "learn.js").read_text("utf-8"))
    exhibits = re.findall(r"(\w+):", names)
    assert exhibits == ["noise", "schedules", "ways", "roll", "guidance"]
    needed = {f"learn.{name}{part}" for name in exhibits for part in ("", ".text", ".see")}
    needed |= {f"learn.curve.{name}" for name in SCHEDULE_CURVES} | {"learn.null", "learn.cond", "learn.guided"}
    assert needed - words("en").keys() == set()
    assert re.findall(r"^  (\w+): \{$", FORMULAS, re.MULTILINE) == exhibits


def test_a_strict_policy_forbids_nothing_of_it() -> None:
    for path in FILES:
        source = path.read_text("utf-8")
        assert not re.search(r"\beval\(|new Function|innerHTML|\sstyle=|https?://", source), path.name
