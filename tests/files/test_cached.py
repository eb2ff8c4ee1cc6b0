"""What is kept of what lies afar: bounded at every moment, whoever writes."""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from carrara.files.cached import Cache

WRITER = """
import sys
from pathlib import Path
from carrara.files.cached import Cache
cache = Cache(Path(sys.argv[1]), 100_000)
for k in range(150):
    key = f"{sys.argv[2]} {k}" if k % 3 else f"shared {k}"
    content = bytes([k % 256]) * (1000 + 37 * (k % 50))
    assert cache.get(key, lambda: content, 10_000) == content
"""


def total(folder: Path) -> int:
    """The bytes of all that is kept, half-written files too."""
    found = 0
    for path in folder.rglob("*"):
        if path.name != ".bytes" and path.is_file():
            try:
                found += path.stat().st_size
            except FileNotFoundError:
                continue
    return found


def test_what_is_kept_is_not_made_again(tmp_path: Path) -> None:
    cache, made = Cache(tmp_path / "cache", 1000), list[str]()

    def make(what: str) -> bytes:
        made.append(what)
        return what.encode()

    for what in ("a", "b", "a", "a"):
        assert cache.get(what, lambda what=what: make(what), 10) == what.encode()
    assert made == ["a", "b"]
    cache.forget("a")
    assert cache.get("a", lambda: make("c"), 10) == b"c"
    assert Cache(tmp_path / "cache", 1000).get("b", lambda: make("d"), 10) == b"b"


def test_what_was_longest_not_used_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    for k in range(4):
        cache.get(str(k), lambda: bytes(250), 250)
        os.utime(cache.path(str(k)), (k, k))
    cache.get("0", lambda: b"", 250)
    assert cache.path("0").is_file() and total(tmp_path) == 1000
    cache.get("4", lambda: bytes(250), 250)
    assert total(tmp_path) <= 1000
    assert [cache.path(str(k)).is_file() for k in range(5)] == [True, False, False, True, True]


def test_what_does_not_fit_is_not_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 1000)
    assert cache.get("large", lambda: bytes(900), 1000) == bytes(900)
    assert cache.file("large", lambda: bytes(900)) is None
    assert Cache(tmp_path / "none", 0).get("a", lambda: b"a", 10) == b"a"
    assert not (tmp_path / "none").exists()


def test_a_disk_that_refuses_is_only_slow(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    assert Cache(tmp_path / "cache", 1000).get("a", lambda: b"a", 10) == b"a"


def test_what_a_killed_process_has_counted_is_found_out(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    cache.get("a", lambda: bytes(100), 100)
    (tmp_path / ".bytes").write_bytes((990).to_bytes(8, "little"))
    cache.get("b", lambda: bytes(100), 100)
    assert int.from_bytes((tmp_path / ".bytes").read_bytes(), "little") == total(tmp_path) == 200


@pytest.mark.parametrize("processes", [4])
def test_several_processes_stay_below_the_bound(tmp_path: Path, processes: int) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    running = [subprocess.Popen([*command, str(number)]) for number in range(processes)]
    most = 0
    (tmp_path / ".bytes").touch()
    with (tmp_path / ".bytes").open("rb") as count:
        while any(process.poll() is None for process in running):
            fcntl.flock(count, fcntl.LOCK_EX)  # nobody adds or deletes while it is looked at
            most = max(most, total(tmp_path))
            fcntl.flock(count, fcntl.LOCK_UN)
            time.sleep(0.002)
    assert [process.returncode for process in running] == [0] * processes
    assert 50_000 < most <= 100_000
    assert not list(tmp_path.rglob("*.tmp"))
