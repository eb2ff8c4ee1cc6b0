"""Whatever is read: a value comes out, or one sentence for a user, soon, and nothing else.

Hypothesis grows values from real documents; real files are spoilt byte by byte by a generator with a seed. Both give
the same cases each time.
"""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cyclopts import CycloptsError
from hypothesis import HealthCheck, given, settings
from mutating import spoil
from parsers import FILES, PARSERS

from carrara.errors import UserError
from thorough import EACH

SECONDS = 10
LONGEST = 1010
"""Characters of a sentence."""
QUICK, SLOW = 15, 1_700
QUICK_BYTES, SLOW_BYTES = 15, 3_000


def counts(quick: int, slow: int) -> Any:
    """How many cases, in the quick tests and in the slow ones."""
    return pytest.mark.parametrize("cases", [quick, pytest.param(slow // EACH, marks=pytest.mark.slow)])


@contextmanager
def answered(what: object) -> Generator[None]:
    """A block that must end soon, well or with a sentence."""
    signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(SECONDS)
    try:
        yield
    except CycloptsError:
        pass
    except UserError as error:
        lines = error.message.split("\n")
        assert all(line.strip() for line in lines), "an empty sentence"
        assert max(map(len, lines)) <= LONGEST, f"a sentence of {max(map(len, lines))} characters"
    finally:
        signal.alarm(0)


def _too_late(number: int, frame: object) -> None:
    raise TimeoutError(f"it took more than {SECONDS} s")


@counts(QUICK, SLOW)
@pytest.mark.parametrize("name", PARSERS)
def test_values_are_read_or_refused(name: str, cases: int, tmp_path: Path) -> None:
    parser = PARSERS[name]

    @settings(
        max_examples=cases, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(parser.values)
    def holds(value: Any) -> None:
        with answered(value):
            parser.read(tmp_path, value)

    holds()


@counts(QUICK_BYTES, SLOW_BYTES)
@pytest.mark.parametrize("name", FILES)
def test_files_are_read_or_refused(name: str, cases: int, tmp_path: Path) -> None:
    paths, read = FILES[name]
    contents = [path.read_bytes() for path in paths]
    for case in range(cases):
        rng = np.random.default_rng((case, len(name)))
        content = spoil(contents[case % len(contents)], rng)
        try:
            with answered(name):
                read(tmp_path, content)
        except Exception as error:
            raise AssertionError(f"{name}, case {case}: {content[:3000]!r}") from error


def test_there_are_enough() -> None:
    assert len(PARSERS) * SLOW + len(FILES) * SLOW_BYTES >= 50_000
    assert len(FILES) * SLOW_BYTES >= 20_000
