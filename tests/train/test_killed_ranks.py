"""Processes that are killed, or asked to stop: the others never hang, and nothing that was saved is lost."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_sharded import ENVIRONMENT, SHARDED, assert_same

from carrara.train import read_log
from thorough import EACH

KILLS = 10 if EACH == 1 else 4
"""More than are made good without a new checkpoint."""
RECIPE = """
data: {size: 8, channels: 3, flip: true}
model:
  backbone: {kind: unet, channels: 8, multipliers: [1], blocks: 1, attention_levels: []}
train: {steps: 70, batch: 4, precision: float32, warmup: 10}
checkpoint: {every: 2}
preview: {every: 0}
"""


class Launched:
    """``carrara train --launch 2``, forked."""

    def __init__(self, photos: Path, run: Path, *changes: str, **environment: str) -> None:
        recipe = run.with_name("recipe.yaml")
        recipe.write_text(RECIPE)
        self.run, self._ranks = run, run.with_name(f"{run.name} has") / "ranks.txt"
        words = ["train", str(photos), *changes, "--preset", str(recipe), "--run", str(run), "--launch", "2"]
        self.process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("forked_ranks.py")),
                str(self._ranks.parent),
                "carrara",
                *words,
            ],
            env={**ENVIRONMENT, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @property
    def ranks(self) -> list[tuple[int, int]]:
        """Every rank and process that has been begun."""
        lines = self._ranks.read_text().splitlines() if self._ranks.exists() else []
        return [(int(rank), int(process)) for rank, process in (line.split() for line in lines)]

    @property
    def saved(self) -> int:
        """The newest checkpoint's step."""
        return max((int(path.name[5:]) for path in self.run.glob("checkpoints/step-*")), default=0)

    def until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end or self.process.poll() is not None:
                pytest.fail(f"not so after {seconds} seconds: {self.process.poll()} {self.end()}")
            time.sleep(0.01)

    def end(self) -> tuple[int, str]:
        """The exit code, and what was said."""
        said, _ = self.process.communicate(timeout=240)
        return self.process.returncode, said


@pytest.fixture
def launched(photos: Path, tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    begun = list[Launched]()

    def begin(name: str, *changes: str, **environment: str) -> Launched:
        begun.append(Launched(photos, tmp_path / name, *changes, **environment))
        return begun[-1]

    yield begin
    for one in begun:
        if one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGKILL)
            one.process.communicate()


def losses(run: Path) -> list[float]:
    lines: list[Any] = list(read_log(run / "log.jsonl"))
    assert [(line["step"], line["images"]) for line in lines] == [(step, 4 * step) for step in range(1, 71)]
    return [line["loss"] for line in lines]


@pytest.mark.slow
def test_kills_change_nothing(launched: Callable[..., Launched]) -> None:
    """Before the first step of an attempt, in the middle of one, and in the middle of a save in parts."""
    whole, killed, rng = launched("whole", "checkpoint.every=70"), launched("killed", SHARDED), random.Random(0)
    for kill in range(KILLS):
        before = killed.saved
        killed.until(lambda kill=kill: len(killed.ranks) == 2 * (kill + 1))
        if kill % 2:
            killed.until(lambda before=before: killed.saved > before)
        time.sleep(rng.uniform(0, 0.2))
        os.kill(rng.choice(killed.ranks[-2:])[1], signal.SIGKILL)
    assert whole.end()[0] == 0
    code, said = killed.end()
    assert code == 0 and said.count("ended by signal 9: all begin again") == KILLS, said
    assert losses(killed.run) == pytest.approx(losses(whole.run), rel=0, abs=1e-6)
    assert_same(whole.run, killed.run, 1e-6)


@pytest.mark.slow
def test_all_are_asked_to_stop_and_leave_together(launched: Callable[..., Launched]) -> None:
    """As Slurm does it: every process is asked, and the launcher passes it on, so that the others are asked twice."""
    run = launched("stopped", "train.steps=100000", "checkpoint.every=100000")
    run.until(lambda: (run.run / "log.jsonl").exists())
    os.kill(run.process.pid, signal.SIGUSR1)
    run.until(lambda: run.saved > 0)
    os.killpg(run.process.pid, signal.SIGTERM)
    code, said = run.end()
    assert code == 128 + signal.SIGTERM and said.count("Stopped and saved after step") == 1, said
    assert "begin again" not in said and len(run.ranks) == 2
    assert not any(Path(f"/proc/{process}").exists() for _, process in run.ranks)
    saved = sorted(int(path.name[5:]) for path in run.run.glob("checkpoints/step-*"))
    last = list(read_log(run.run / "log.jsonl"))[-1]["step"]
    assert len(saved) == 2 and saved[-1] == last and not (run.run / ".lock").exists()
