"""A training that is killed, at any moment and however often, ends bit-equal to one that was left alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL and fork are POSIX")


def outcome(how: str) -> dict:
    script = Path(__file__).with_name("killed_training.py")
    done = subprocess.run([sys.executable, str(script), how], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_same_end(one: dict, whole: dict) -> None:
    assert one["bits"] == whole["bits"] and one["losses"] == whole["losses"]
    assert set(whole["files"]) <= set(one["files"])


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_nothing():
    result = outcome("random")
    (killed,) = result["killed"]
    assert killed["kills"] == 10
    reached = [step or 0 for step in killed["reached"]]
    assert reached == sorted(reached) and reached[-1] > reached[0]  # no checkpoint was ever lost
    assert_same_end(killed, result["whole"])


@pytest.mark.slow
def test_a_kill_before_any_file_operation_changes_nothing():
    result = outcome("each")
    assert len(result["killed"]) > 50  # 2 saves of 8 files: write, force and rename; then prune
    for killed in result["killed"]:
        assert_same_end(killed, result["whole"])
    assert result["whole"]["files"] == ["step-4"]
