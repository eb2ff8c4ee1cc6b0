"""What a stranger sends does no harm: nothing of it runs, nothing outside its folder is read, one sentence says why.

The corpus is in ``strangers_*.py``; ``judge.py`` runs it in children, and says what they did.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import strangers_data
import strangers_logs
import strangers_models
import strangers_pictures
import strangers_records
import strangers_runs
from strangers import CASES

HERE = Path(__file__).parent
CORPUS = (strangers_data, strangers_logs, strangers_models, strangers_pictures, strangers_records, strangers_runs)
EVERY = 3
"""So manieth cases are among the quick tests."""
GIGABYTE = 1 << 30
pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc/self").exists(), reason="asks the kernel")


class Judge:
    """The process that runs cases."""

    def __init__(self) -> None:
        script, pipe = str(HERE / "judge.py"), subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, script], stdin=pipe, stdout=pipe, text=True)
        self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def __call__(self, name: str) -> list[dict[str, Any]]:
        """What the commands of a case did."""
        assert self._process.stdin is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Waits for its end."""
        self._process.communicate()


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    made = Judge()
    yield made
    made.close()


def faults(did: dict[str, Any]) -> list[str]:
    """What is wrong with what a command did."""
    found = list(did.get("events", ()))
    if did["code"] != {"refused": 2, "harmless": 0}[did["end"]]:
        found.append(f"ended with {did['code']}, and not {did['end']}")
    if did.get("bytes", 0) > GIGABYTE:
        found.append(f"took {did['bytes'] >> 20} MB")
    said = did.get("stdout", "") + did.get("stderr", "")
    lines = [line for line in did.get("stderr", "").splitlines() if line.strip()]
    if any("panicked at" in line for line in lines):  # the package tokenizers says so by itself, before we do
        lines = lines[-1:]
    if did["code"] == 2 and len(lines) != 1:
        found.append(f"said {len(lines)} lines")
    if "Traceback" in said or "Warning" in said:
        found.append("said what is for programmers")
    if any(not letter.isprintable() and letter not in "\n" for letter in said):
        found.append("said what a terminal obeys")
    return found


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if k % EVERY == 0 else [pytest.mark.slow]) for k, name in enumerate(CASES)]
)
def test_it_does_no_harm(judge: Judge, name: str) -> None:
    for did in judge(name):
        assert not faults(did), f"carrara {did['command']}\n{did.get('stdout')}{did.get('stderr')}"


def test_there_are_enough() -> None:
    assert len(CASES) >= 60
