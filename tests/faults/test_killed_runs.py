"""A run that is killed at any place, and begun again by the same command, ends as one that nobody disturbed.

What is compared is all that the run's folder holds: weights, records, logs, previews, what has a hidden name. The runs
are a diffusion of pixels with previews, the best and an early model; an autoencoder and a diffusion in its latents; one
of captions that a frozen encoder reads; and a model of few steps that learns from a teacher.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from thorough import EACH

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL and fork are POSIX")
LEAST = {"pixel": 220, "latent": 250, "text": 120, "student": 120}
"""Places of each kind of run, at least."""


def outcome(kind: str, *how: str) -> dict[str, Any]:
    script = Path(__file__).with_name("killed_runs.py")
    done = subprocess.run([sys.executable, str(script), kind, *how], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_killed_at_some_places() -> None:
    result = outcome("pixel", "some", "5")
    assert result["places"] >= LEAST["pixel"] and result["different"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEAST)
def test_killed_at_every_place(kind: str) -> None:
    result = outcome(kind, "each", str(EACH))
    assert result["places"] >= LEAST[kind] and result["different"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEAST)
def test_killed_at_random_moments(kind: str) -> None:
    result = outcome(kind, "random", "25")
    assert result["kills"] >= 25 and result["different"] == {}
