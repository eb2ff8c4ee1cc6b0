"""The theory page: all of its code runs and prints what it says, soon; and no formula stands without its function."""

import doctest
import importlib
import re
import time
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "theory.md"
TEXT = PAGE.read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def test_every_example_prints_what_the_page_says() -> None:
    """From top to bottom in one namespace, as a reader types it."""
    code = "\n".join(block["code"] for block in FENCE.finditer(TEXT))
    report: list[str] = []
    begun = time.perf_counter()
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    runner.run(doctest.DocTestParser().get_doctest(code, {}, "theory.md", str(PAGE), 0), out=report.append)
    assert not report, "".join(report)
    assert runner.summarize(verbose=False).attempted > 100
    assert time.perf_counter() - begun < 20


def test_every_block_of_code_is_an_example_that_runs() -> None:
    blocks = list(FENCE.finditer(TEXT))
    assert len(blocks) >= 20
    assert [block["language"] for block in blocks] == ["python"] * len(blocks)
    assert [block["code"] for block in blocks if not block["code"].startswith(">>> ")] == []


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition("\n")[0])
def test_formulas_stand_beside_the_functions_that_compute_them(section: str) -> None:
    """After a displayed formula, before the next heading, there is code that uses the package."""
    last = section.rfind("$$")
    code = "".join(block["code"] for block in FENCE.finditer(section[last + 2 :]))
    assert last == -1 or ">>>" in code
    assert "carrara" in "".join(block["code"] for block in FENCE.finditer(section)) or "$$" not in section


def test_all_that_the_page_imports_exists_where_it_says() -> None:
    """Names are imported from a package, not from the file that happens to hold them, where the package has them."""
    for module, names in re.findall(r"^>>> from (carrara\S*) import (.+)$", TEXT, re.MULTILINE):
        assert module.startswith("carrara")
        for name in names.split(", "):
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_the_likelihood_of_the_swiss_roll_names_its_thickness() -> None:
    """A density around a curve grows without bound as the curve gets thinner."""
    [section] = [section for section in SECTIONS if "Swiss roll" in section.partition("\n")[0]]
    assert "thickness" in section
    assert re.search(r"thickness[^\n]*0\.02|0\.02[^\n]*thickness", section)
