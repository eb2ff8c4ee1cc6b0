"""Two processes that each see half of every batch do what one does that sees it whole."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ddp_training import experiments

from carrara.train import read_log


def start(rank: int, port: int, folder: Path) -> subprocess.Popen[str]:
    rendezvous = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("ddp_training.py"), folder],
        env={**os.environ, **rendezvous, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_two_ranks_equal_one(tmp_path):
    port = free_port()
    ranks = [start(rank, port, tmp_path / "two") for rank in range(2)]
    try:
        outputs = [rank.communicate(timeout=60) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
    assert [rank.returncode for rank in ranks] == [0, 0], outputs
    two, one = json.loads(outputs[0][0]), experiments(tmp_path / "one")
    for name in one:
        assert two[name]["losses"] == pytest.approx(one[name]["losses"], rel=1e-4)
        assert two[name]["tensors"] == pytest.approx(one[name]["tensors"], rel=1e-3, abs=1e-4)
    lines = [read_log(tmp_path / ranks / "tiny/log.jsonl") for ranks in ("one", "two")]
    assert [(line["step"], line["images"]) for line in lines[0]] == [(k, 8 * k) for k in range(1, 9)]
    assert [(line["step"], line["images"]) for line in lines[1]] == [(k, 8 * k) for k in range(1, 9)]
