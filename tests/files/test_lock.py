"""One process at a time in a folder; who has ended, wherever that was, keeps nobody waiting."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from carrara.errors import UserError
from carrara.files import lock
from carrara.files.lock import LOCK, Lock, holder_of

HOLD = """
import sys, time
from pathlib import Path
from carrara.files.lock import Lock
held = Lock(Path(sys.argv[1]))
print(1, flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path):
    """Another process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"1\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def left_by(folder: Path, age: float, **values: object) -> None:
    """A lock file that nobody holds, ``age`` seconds old."""
    holder = {"process": 1, "host": "elsewhere", "since": "2026-01-01T00:00:00+00:00", **values}
    (folder / LOCK).write_text(json.dumps(holder))
    now = (folder / LOCK).stat().st_mtime
    os.utime(folder / LOCK, (now - age, now - age))


def test_it_says_who_holds_it_and_is_gone_afterwards(tmp_path):
    held = Lock(tmp_path)
    found = holder_of(tmp_path)
    assert found is not None and found.process == os.getpid()
    held.check()
    held.release()
    held.release()
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_is_refused_with_a_sentence(tmp_path, other):
    with pytest.raises(UserError, match=rf"process {other.pid} on .* works in .*run the same command again"):
        Lock(tmp_path)
    assert holder_of(tmp_path).process == other.pid


def test_a_second_one_of_the_same_process_is_refused(tmp_path):
    held = Lock(tmp_path)
    with pytest.raises(UserError, match="works in"):
        Lock(tmp_path)
    held.release()
    Lock(tmp_path).release()


def test_a_killed_process_keeps_nobody_waiting(tmp_path, other):
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert (tmp_path / LOCK).exists()
    Lock(tmp_path).release()


def test_another_host_holds_it_while_it_touches_it(tmp_path):
    left_by(tmp_path, lock.STALE - 60)
    with pytest.raises(UserError, match="process 1 on elsewhere"):
        Lock(tmp_path)
    assert (tmp_path / LOCK).stat().st_mtime < Path(tmp_path).stat().st_mtime - 30, "asking does not touch it"
    left_by(tmp_path, lock.STALE + 60)
    Lock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_who_takes_over_waits_for_another_host_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_WAITING", 0.05)
    left_by(tmp_path, lock.STALE - 0.5)
    begun = time.monotonic()
    Lock(tmp_path, patience=30.0).release()
    assert 0.2 < time.monotonic() - begun < 10
    left_by(tmp_path, 0)
    with pytest.raises(UserError, match="process 1 on elsewhere"):
        Lock(tmp_path, patience=0.2)


def test_the_holder_touches_it(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "TOUCHED", 0.01)
    held = Lock(tmp_path)
    os.utime(tmp_path / LOCK, (0, 0))
    for _ in range(1000):
        if (tmp_path / LOCK).stat().st_mtime > 0:
            break
        threading.Event().wait(0.01)
    assert (tmp_path / LOCK).stat().st_mtime > 0
    held.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"process": "x"}', b"\xff" * 10_000])
def test_what_is_in_the_file_matters_not_if_nobody_holds_it(tmp_path, content):
    (tmp_path / LOCK).write_bytes(content)
    Lock(tmp_path).release()


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="could not be written"):
        Lock(tmp_path)
    assert (tmp_path / "precious").read_text() == "mine"


def test_where_files_cannot_be_locked_a_living_process_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_lock", lambda _: None)
    left_by(tmp_path, 0, process=os.getppid(), host=lock.socket.gethostname())
    with pytest.raises(UserError, match="works in"):
        Lock(tmp_path)
    left_by(tmp_path, 0, process=2**22 + 1, host=lock.socket.gethostname())
    Lock(tmp_path).release()


def test_who_lost_it_may_not_write(tmp_path):
    held = Lock(tmp_path / "run")
    (tmp_path / "run" / LOCK).unlink()
    with pytest.raises(UserError, match="no longer"):
        held.check()
    (tmp_path / "run").rmdir()
    with pytest.raises(UserError, match="is gone"):
        held.check()
    held.release()
    assert not (tmp_path / "run").exists()
