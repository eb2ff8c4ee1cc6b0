"""How torch's threads wait."""

import os

import pytest

from carrara.cli.entry import main
from carrara.threads import rest

NAMES = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing about it, and is put back afterwards."""
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def said() -> list[str | None]:
    return [os.environ.get(name) for name in NAMES]


def test_threads_sleep_while_they_wait(silent):
    rest()
    assert said() == ["PASSIVE", "0", None]


def test_every_command_lets_them(silent):
    with pytest.raises(SystemExit):
        main(["info", "--help"])
    assert said() == ["PASSIVE", "0", None]


def test_what_the_environment_says_counts_more(silent):
    silent.setenv("OMP_WAIT_POLICY", "ACTIVE")
    rest()
    assert said() == ["ACTIVE", "0", None]


def test_a_number_of_turns_is_an_answer_too(silent):
    silent.setenv("GOMP_SPINCOUNT", "1000")
    rest()
    assert said() == [None, None, "1000"]
