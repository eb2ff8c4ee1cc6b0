"""Freed memory that stays: counted in pages that the system had to clear."""

import subprocess
import sys

import pytest

from carrara.memory import keep_freed

FAULTS = """
import resource, sys
from carrara.memory import keep_freed
if sys.argv[1] == "kept":
    keep_freed()
def touch():
    kept = [bytearray(1 << 26) for _ in range(2)]
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's")
def test_memory_that_was_freed_is_not_asked_for_again() -> None:
    assert keep_freed()
    assert faults("kept") < 100 < faults("given back")
