"""Messages name options and commands, and each front end spells them; none is spelled below the front ends."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from carrara.cli.app import app
from carrara.cli.terminal import SHELL
from carrara.errors import UserError, command, option, spelled
from test_docs import SCHEMA, properties
from test_layers import PACKAGE

FRONT_ENDS = ("cli", "serve", "export", "share")
VERBS = "|".join(sorted(name for name in app if not name.startswith("-")))
SPELLED = re.compile(rf"(?<![\w-])--[a-z]|\bcarrara (?:{VERBS})\b")
STYLE_SHEET = "evaluate/page.py", ":root"
"""Whose variables look like options."""


KEYS = {re.sub(r"^data\.source\.\w+\.", "data.source.", key) for key, _ in properties(SCHEMA)} | {"data.source.kind"}
"""Those of recipes, which the same marks name; a source's without its kind."""


def below() -> list[Path]:
    """The files below the front ends, of which the runtime's command is one."""
    paths = (path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "runtime" / "__main__.py")
    return [path for path in paths if path.relative_to(PACKAGE).parts[0] not in FRONT_ENDS]


def literals(tree: ast.Module) -> Iterator[ast.Constant]:
    """All strings but those that stand alone, which are docstrings."""
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node


def test_nothing_is_spelled_below_the_front_ends() -> None:
    for path in below():
        name = str(path.relative_to(PACKAGE))
        for literal in literals(ast.parse(path.read_text(encoding="utf-8"))):
            text = str(literal.value)
            if name == STYLE_SHEET[0] and STYLE_SHEET[1] in text:
                continue
            assert not SPELLED.search(text), f"{name}, line {literal.lineno}: {text!r}"


def marks() -> Iterator[tuple[str, str, set[str]]]:
    """Where something is marked, the words of a command, and the names of options."""
    for path in below():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            where = f"{path.relative_to(PACKAGE)}, line {node.lineno}"
            if node.func.id == "option" and isinstance(node.args[0], ast.Constant):
                yield where, "", {str(node.args[0].value)}
            if node.func.id == "command" and path.name != "errors.py":
                words = ast.unparse(node.args[0]).lstrip("f").strip("'\"")
                yield where, words, {str(word.arg) for word in node.keywords}


def flags(of: App) -> set[str]:
    """All options of a command and of its own commands."""
    arguments = of.assemble_argument_collection() if of.default_command else []
    own = {name for argument in arguments for name in argument.names}
    return own.union(*(flags(of[name]) for name in of if not name.startswith("-")))


def test_what_is_marked_exists() -> None:
    known, found = flags(app), list(marks())
    assert len(found) > 40
    for where, words, names in found:
        keys, options = ({name for name in names if ("." in name) == dotted} for dotted in (True, False))
        assert {spelled(option(name), SHELL) for name in options} <= known, f"{where}: {names}"
        assert keys <= KEYS, f"{where}: {names}"
        assert re.match(VERBS, words or "train"), f"{where}: {words}"


@pytest.mark.parametrize(
    ("text", "plain", "shell"),
    [
        ("nothing", "nothing", "nothing"),
        (option("weak"), "weak", "--weak"),
        (option("to_seed", 3), "to_seed=3", "--to-seed 3"),
        (option("label", "cat"), "label=cat", "--class cat"),
        (f"a {option('a')} b {option('c', '1,2')}", "a a b c=1,2", "a --a b --c 1,2"),
        (f"'{command('train')}' does", "'train' does", "'carrara train' does"),
        (
            command("train DATA", "a.b=1", preset="classifier", run="DIR"),
            "train DATA preset=classifier run=DIR a.b=1",
            "carrara train DATA --preset classifier --run DIR a.b=1",
        ),
        (command("distill RUN", decoder=True), "distill RUN decoder", "carrara distill RUN --decoder"),
    ],
)
def test_each_front_end_spells_a_mark(text: str, plain: str, shell: str) -> None:
    assert (spelled(text), spelled(text, SHELL)) == (plain, shell)
    error = UserError(text)
    assert (str(error), error.spelled(SHELL)) == (plain, shell)
    assert str(UserError(f"first: {error.message}")) == f"first: {plain}"
    assert UserError(f"first: {error.message}").spelled(SHELL) == f"first: {shell}"
