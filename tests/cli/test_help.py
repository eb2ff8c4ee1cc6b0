"""``carrara --help`` is quick, because it loads little, and complete, because the commands say it themselves."""

import subprocess
import sys
from importlib import import_module

import pytest

from carrara.cli.app import LATER, app
from carrara.cli.entry import main

MOST = 185
"""Modules that the help may load; it loads 162 with Python 3.11, and loaded 236 with all that prints in colours."""
LOADED = """
import sys
from carrara.cli.entry import main
try:
    main({arguments})
except SystemExit as ended:
    print(ended.code, len(sys.modules), *{{name.partition(".")[0] for name in sys.modules}}, file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["--no-verify", "--help"]])
def test_the_help_loads_little(arguments: list[str]) -> None:
    code = LOADED.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ended, count, *names = done.stderr.split()
    assert ended == "0" and int(count) <= MOST
    assert not {"torch", "pydantic", "numpy", "rich", "asyncio"} & set(names)
    assert done.stdout.startswith("Usage: carrara COMMAND\n")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    lines = said(capsys).splitlines()
    for name in app:
        if name.startswith("-"):
            assert any(name in line.split() for line in lines)
        else:
            first = (LATER[name][1] if name in LATER else app[name].help).strip().splitlines()[0]
            assert any(line.split(maxsplit=1) == [name, first] for line in lines), name


def test_the_help_is_as_wide_as_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, said(capsys).splitlines())) <= 60


def test_commands_that_are_loaded_later_are_there() -> None:
    for place, _ in LATER.values():
        module, _, name = place.partition(":")
        assert callable(getattr(import_module(module), name))
