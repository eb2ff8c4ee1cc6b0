"""What the pages say is true: their code runs, their tables are complete, their links lead somewhere.

The README has a test of its own.
"""

import doctest
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from carrara.recipe.loading import presets
from carrara.recipe.schema import Recipe
from test_layers import LAYERS, PACKAGE

REPOSITORY = Path(__file__).parent.parent
PAGES = sorted({*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")} - {REPOSITORY / "README.md"})
FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)(?P<target>[^)#\s]+)(?:#[^)]*)?\)")
ROW = re.compile(r"^\| `(?P<key>[\w.]+)` \| `(?P<default>[^`]*)` \| (?P<meaning>.+) \|$", re.MULTILINE)


def page_name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def blocks(path: Path) -> Iterator[tuple[int, str]]:
    """The Python blocks of a page and their lines."""
    text = path.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        if match["language"].strip() == "python":
            yield text[: match.start()].count("\n") + 1, match["code"]


@pytest.mark.parametrize("path", [page for page in PAGES if list(blocks(page))], ids=page_name)
def test_code_on_pages_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks with ``>>>`` must print what they say; the others must run. The blocks of a page share their names."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    report: list[str] = []
    for line, code in blocks(path):
        if ">>>" in code:
            example = doctest.DocTestParser().get_doctest(code, names, page_name(path), str(path), line)
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
            runner.run(example, out=report.append, clear_globs=False)
            names |= example.globs
        else:
            exec(compile("\n" * line + code, str(path), "exec"), names)
    assert not report, "".join(report)


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_links_on_pages_lead_somewhere(path: Path) -> None:
    targets = [match["target"] for match in LINK.finditer(path.read_text(encoding="utf-8"))]
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_minimal_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("minimal", REPOSITORY / "examples" / "minimal.py")
    assert spec is not None and spec.loader is not None
    minimal = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(minimal)
    path = minimal.main(steps=2, batch=4, columns=1, out=tmp_path / "digits.png")
    assert path.stat().st_size > 1000
    assert "step 0: loss" in capsys.readouterr().out


def test_minimal_example_needs_no_recipe_and_is_short() -> None:
    text = (REPOSITORY / "examples" / "minimal.py").read_text(encoding="utf-8")
    code = [line for line in text.splitlines() if line.strip()]
    assert "carrara.recipe" not in text and len(code) <= 65


def properties(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of the schema with its default; below a union, the keys of each member after its kind."""
    for name, below in node.get("properties", {}).items():
        members = list(sections(below))
        if not members and name != "kind":
            yield path + name, below.get("default")
        for member in members:
            kind = member["properties"].get("kind", {}).get("const")
            yield from properties(member, f"{path}{name}.{kind}." if kind else f"{path}{name}.")


def sections(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a key may hold that has keys of its own."""
    for option in [*node.get("oneOf", ()), *node.get("anyOf", ())]:
        yield from sections(option)
    if "$ref" in node:
        yield SCHEMA["$defs"][node["$ref"].rsplit("/", 1)[1]]


SCHEMA = Recipe.model_json_schema()


def documented() -> dict[str, str]:
    text = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
    return {match["key"]: match["default"] for match in ROW.finditer(text)}


def test_every_key_of_a_recipe_is_documented_with_its_default() -> None:
    keys, stage = dict(properties(SCHEMA)), "autoencoder."  # whose keys are those of a run of its own
    first = {key.removeprefix(stage): default for key, default in keys.items() if key.startswith(stage)}
    own = {key: default for key, default in keys.items() if not key.startswith(stage)}
    assert {key: yaml.safe_load(text) for key, text in documented().items()} == own
    assert {own[key.replace("first_stage", "model.first_stage")] == default for key, default in first.items()} == {True}


def test_every_kind_is_documented() -> None:
    text = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
    kinds = {d["properties"]["kind"]["const"] for d in SCHEMA["$defs"].values() if "kind" in d.get("properties", {})}
    assert kinds and [kind for kind in sorted(kinds) if f"`{kind}`" not in text] == []


def test_every_preset_is_documented() -> None:
    text = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert [name for name in presets() if f"`{name}`" not in text] == []


def test_the_layers_are_documented_as_they_are() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d+ \| (.+) \|$", text, re.MULTILINE)
    there = {path.stem for path in PACKAGE.iterdir()}
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == [layer & there for layer in LAYERS]
