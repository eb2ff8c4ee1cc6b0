"""How torch's threads wait."""

import os
from itertools import cycle

import pytest

from carrara import threads
from carrara.cli.entry import main

NAMES = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT")
LOOPING, SLEEPING = [None, None, None], ["PASSIVE", "0", None]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing about it, and is put back afterwards; and a machine of four cores."""
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    return monkeypatch


def running(monkeypatch: pytest.MonkeyPatch, *counts: float) -> None:
    """As many threads run at each look."""
    looks = cycle(counts)
    monkeypatch.setattr(threads, "_running", lambda: float(next(looks)))


def said() -> list[str | None]:
    return [os.environ.get(name) for name in NAMES]


@pytest.mark.parametrize(
    ("counts", "then"),
    [
        ((1,), LOOPING),
        ((2,), LOOPING),
        ((3,), SLEEPING),
        ((9,), SLEEPING),
        ((1, 1, 9, 1, 9), LOOPING),
        ((9, 9, 9, 9, 1, 1, 1, 1, 1), LOOPING),
    ],
    ids=["nobody", "one of four", "half", "many", "only now and then", "only as the command begins"],
)
def test_threads_sleep_where_others_are_at_work(silent, counts, then):
    running(silent, *counts)
    threads.rest_beside_others()
    assert said() == then


def test_every_command_looks(silent):
    running(silent, 9)
    with pytest.raises(SystemExit):
        main(["info", "no such run"])
    assert said() == SLEEPING


def test_a_server_s_always_sleep(silent):
    running(silent, 1)
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert said() == SLEEPING


@pytest.mark.parametrize("name", NAMES)
def test_what_the_environment_says_counts_more(silent, name):
    running(silent, 9)
    silent.setenv(name, "7")
    threads.rest_beside_others()
    assert said() == ["7" if each == name else None for each in NAMES]


def test_a_system_that_does_not_say_is_a_quiet_one(silent):
    def unknown() -> float:
        raise FileNotFoundError

    silent.setattr(threads, "_running", unknown)
    threads.rest_beside_others()
    assert said() == LOOPING


def test_this_one_is_not_among_the_others():
    assert 0 <= threads.others_at_work() < 10_000


def test_other_processes_look_for_themselves(silent):
    silent.setattr(threads, "_rested", list[bool]())
    silent.setenv("KMP_BLOCKTIME", "0")
    threads.rest()
    assert threads.as_before() == dict(os.environ)
    silent.delenv("KMP_BLOCKTIME")
    threads.rest()
    assert said() == SLEEPING
    assert threads.as_before() == {name: value for name, value in os.environ.items() if name not in NAMES}
