"""The same request gives the same samples, however they are batched; and nothing asks the network for anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from carrara.draw import Ask, request
from carrara.draw.generate import sample
from carrara.pixels import displayed
from carrara.store import Store
from small_models import saved
from tiny import TINY

COUNT = 8
WATCHED = """
import sys
from carrara.cli import main
asked = []
sys.addaudithook(lambda event, _: asked.append(event) if event.startswith(("socket.", "http.", "urllib.")) else None)
for line in sys.stdin.read().splitlines():
    try:
        main(line.split("\\t"))
    except SystemExit as end:
        assert not end.code, (line, end.code)
print(sorted({event for event in asked if event != "socket.gethostname"}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("pixels", tmp_path_factory.mktemp("model") / "run")


@pytest.mark.parametrize("batch", [1, 2, 4, 8])
def test_samples_do_not_depend_on_how_they_are_batched(folder: Path, batch: int) -> None:
    opened = Store(torch.device("cpu")).open(folder)
    asked = request(opened, Ask(count=COUNT, seed=3, steps=4))
    made = [
        torch.cat([at.pixels for at in sample(opened, asked, batch=size) if at.pixels is not None])
        for size in (COUNT, batch)
    ]
    assert made[0].shape[0] == COUNT
    torch.testing.assert_close(made[0], made[1], rtol=1e-5, atol=1e-5)
    assert (displayed(made[0]) - displayed(made[1])).abs().max() <= 1
    again = torch.cat([at.pixels for at in sample(opened, asked, batch=batch) if at.pixels is not None])
    assert torch.equal(made[1], again), "the same batches give the same bits"


def test_train_sample_and_evaluate_open_no_socket(photos: Path, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    commands = (
        ("train", str(photos), "--run", run, *TINY, "train.steps=2", "data.held_out=0.3"),
        ("sample", run, "-n", "2"),
        ("evaluate", run, "--metrics", "nll"),
        ("evaluate", run, "--report"),
    )
    text = "\n".join("\t".join(one) for one in commands)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], input=text, capture_output=True, text=True, env=dict(os.environ), timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]", done.stdout
