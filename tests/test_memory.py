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


GAPS = """
import os, sys
from carrara.memory import give_back
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
parts = [bytearray(50_000) for _ in range(4000)]
kept = parts[::100]
full = resident()
del parts
if sys.argv[1] == "trimmed":
    assert give_back()
print(full - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's")
def test_gaps_between_what_is_in_use_are_given_back() -> None:
    """Of 200 MB, of which every hundredth part is in use."""
    freed = {
        how: int(subprocess.run([sys.executable, "-c", GAPS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("trimmed", "left")
    }
    assert freed["trimmed"] > 150e6 > freed["left"]


ARENAS = """
import ctypes, threading
from carrara.memory import share_arena
assert share_arena()
def work():
    ctypes.CDLL(None).malloc(100)
threads = [threading.Thread(target=work) for _ in range(8)]
for one in threads: one.start()
for one in threads: one.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's")
def test_threads_share_one_arena() -> None:
    told = subprocess.run([sys.executable, "-c", ARENAS], capture_output=True, text=True, check=True).stdout
    assert told.count("<heap nr=") == 1
