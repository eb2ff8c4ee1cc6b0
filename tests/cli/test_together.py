"""``carrara sample`` and ``carrara evaluate`` in several processes: what one process draws and measures, to the bit."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from carrara.cli.app import app
from carrara.cli.options import typed
from carrara.cli.sample import PARAMETERS
from carrara.ranks import each, share
from carrara.run.plan import plan
from carrara.run.session import Session

SMALL = (
    *("data.size=8", "data.channels=3", "data.held_out=0.4", "model.conditioner=labels", "sample.steps=2"),
    "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [], head_width: 8}",
    *("train.minutes=null", "train.steps=3", "train.batch=4", "train.precision=float32", "preview.every=0"),
)
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": str(torch.get_num_threads()),
    "CUDA_VISIBLE_DEVICES": "",
    "CARRARA_TUNE": "0",
}


TURNS = """
import os, sys
from carrara.cli.entry import main

for port, words in eval(sys.argv[1]):
    os.environ["MASTER_PORT"] = port
    try:
        main(words)
    except SystemExit as ended:
        assert ended.code == 0
"""
"""Several commands, one after the other, in a process that has imported what they need."""


def free_ports(count: int) -> list[str]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [str(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def in_two(*commands: Sequence[object]) -> str:
    """Runs commands in two processes, as torchrun would start them; returns what is said."""
    turns = list(zip(free_ports(len(commands)), (list(map(str, words)) for words in commands), strict=True))
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", TURNS, repr(turns)],
            env={**ENVIRONMENT, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [rank.communicate(timeout=240)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0] and not said[1], said
    return said[0]


def trained(folder: Path, photos: Path) -> Path:
    for stage in plan(str(photos), "pixel", folder, SMALL).stages:
        list(Session(stage, torch.device("cpu")))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_launched_command_is_what_was_typed() -> None:
    options = ["--interval", "0.2", "0.8", "--lora", "one", "--lora", "two:0.5", "--no-clip", "--class=-1", "--strip"]

    def given(words: list[str]) -> dict[str, Any]:
        _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
        return {"run": bound.args[0], "prompts": bound.args[1:], **bound.kwargs}

    first = given(["sample", *options, "--launch=3", "--", "runs/a b", "-x y", "a:0.5+b:0.5"])
    assert first.pop("launch") == 3 and first["clip"] is False and first["prompts"] == ("-x y", "a:0.5+b:0.5")
    assert given(["sample", *typed(first, PARAMETERS)]) == first


def test_each_rank_has_an_even_part_and_one_process_all() -> None:
    for count in range(8):
        parts = [share(range(count), number, 3) for number in range(3)]
        assert [k for part in parts for k in part] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1 and len(parts[0]) == max(map(len, parts))
    assert share(range(5), 0, 1) == range(5) and list(each(str, range(3))) == ["0", "1", "2"]


@pytest.mark.slow
def test_two_processes_draw_and_measure_what_one_does(
    carrara: Callable[..., tuple[int, str]], photos: Path, tmp_path: Path
) -> None:
    """To the bit: of 150 samples one process draws 128 and the other 22."""
    alone = trained(tmp_path / "run", photos)
    several = shutil.copytree(alone, tmp_path / "several")
    draws, measures = ("-n", 150, "--strip", "--out"), ("--metrics", "nll,memorisation", "--samples", 70)
    assert carrara("sample", alone, "red", *draws, tmp_path / "one")[0] == 0
    assert carrara("evaluate", alone, *measures)[0] == 0
    said = in_two(("sample", alone, "red", *draws, tmp_path / "two"), ("evaluate", several, *measures))
    assert said.count("150 samples in") == said.count("bits/dim") == said.count("verdict") == 1, said
    assert files(tmp_path / "one") == files(tmp_path / "two") and len(files(tmp_path / "two")) == 152
    for name in ("nll", "memorisation"):
        one, two = (json.loads((run / "evaluation" / f"{name}.json").read_text()) for run in (alone, several))
        assert one == two, name


@pytest.mark.slow
def test_what_is_wrong_is_said_once(photos: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", photos)
    command = [sys.executable, "-m", "carrara", "sample", str(run), "green", "--launch", "2"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert (done.returncode, said.count("unknown label 'green'"), said.count("Traceback")) == (2, 1, 0), said
