"""Trains in children that are killed with SIGKILL, restarts them, and prints how each run ended, as JSON.

One process imports torch and forks, so that a child starts in milliseconds.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "train"))

import safetensors.torch
import torch
from children import child, was_killed
from tiny_training import fingerprint, training

from carrara.seeds import Draws
from carrara.train import checkpoint, log, read_log

Result = dict[str, object]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def finish(folder: Path, steps: int) -> None:
    run = training(folder, steps=steps, every=2, keep=1, extra={"config.json": b"x" * 100_000})
    assert run.warnings == [], run.warnings
    for _ in run:
        pass


def summary(folder: Path, steps: int, **more: object) -> Result:
    run = training(folder, steps=steps)
    return {
        "bits": fingerprint(run.state),
        "losses": [(line["step"], line["loss"]) for line in read_log(folder / "log.jsonl")],
        "files": sorted(path.name for path in (folder / "checkpoints").iterdir()),
        **more,
    }


def killed_at_random_moments(folder: Path, times: int, steps: int, seconds: float) -> Result:
    """Kills ``times`` times, each within a small part of the ``seconds`` that a whole run takes, then lets it end."""
    moments = Draws(0, torch.arange(times)).uniform("moment").tolist()
    kills, unfinished, reached = 0, 0, []
    for moment in moments:
        process = child(lambda: finish(folder, steps))
        time.sleep(0.5 * moment * seconds / times)
        os.kill(process, signal.SIGKILL)
        kills += was_killed(process)
        unfinished += any((folder / "checkpoints").glob(".*.tmp"))
        newest, _ = checkpoint.latest(folder / "checkpoints")
        reached.append(newest and int(newest.name.removeprefix("step-")))
    assert not was_killed(child(lambda: finish(folder, steps)))
    return summary(folder, steps, kills=kills, unfinished=unfinished, reached=reached)


def killed_before_each_file_operation(root: Path, steps: int) -> list[Result]:
    """Run n is killed before its n-th file operation, for every n that there is."""
    results: list[Result] = []
    while True:
        folder = root / str(len(results))
        if not was_killed(child(lambda folder=folder: (die_at(len(results)), finish(folder, steps)))):
            return results
        assert not was_killed(child(lambda folder=folder: finish(folder, steps)))
        results.append(summary(folder, steps))


def die_at(moment: int) -> None:
    """Kills this process instead of its file operation number ``moment``."""
    count = 0

    def counted(operation: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **kwargs: object) -> object:
            nonlocal count
            if count == moment:
                die()
            count += 1
            return operation(*args, **kwargs)

        return run

    for owner, names in {
        os: ("fsync", "unlink", "rmdir"),
        Path: ("rename", "replace", "write_bytes", "write_text", "mkdir"),
        safetensors.torch: ("save_file",),
        log.Log: ("write",),
    }.items():
        for name in names:
            setattr(owner, name, counted(getattr(owner, name)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        if sys.argv[1] == "random":
            steps = 200
            started = time.monotonic()
            finish(root / "whole", steps)
            seconds = time.monotonic() - started
            killed = [killed_at_random_moments(root / "killed", 10, steps, seconds)]
        else:
            steps = 4
            finish(root / "whole", steps)
            killed = killed_before_each_file_operation(root, steps)
        print(json.dumps({"whole": summary(root / "whole", steps), "killed": killed}))
