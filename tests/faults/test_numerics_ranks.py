"""Two processes of which one alone meets a NaN, or has too little memory: both do the same."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path


def ends(folder: Path, trouble: str) -> list[tuple[int, str]]:
    """Exit codes and outputs of both."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [start(rank, port, folder, trouble) for rank in range(2)]
    try:
        return [(rank.wait(timeout=120), rank.communicate(timeout=60)[0]) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


def start(rank: int, port: int, folder: Path, trouble: str) -> subprocess.Popen[str]:
    rendezvous = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("numerics_ranks.py"), folder, trouble],
        env={**os.environ, **rendezvous, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_what_one_rank_meets_all_skip_and_all_go_back(tmp_path):
    results = ends(tmp_path, "numbers")
    assert [code for code, _ in results] == [0, 0], results
    one, two = (json.loads(text) for _, text in results)
    assert one["told"] == two["told"] and one["weights"] == two["weights"] and one["step"] == two["step"] == 30
    # The checkpoint of step 4 is one of a skipped step, so the run goes back to its beginning
    assert [(step, back) for step, back, _ in one["told"]] == [(4, None), (7, None), (26, 0), (4, None)]
    assert one["told"][0][2].endswith("(look at '27')")  # the last rank's second sample of eight in turns
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-28", "step-30"]


def test_where_one_rank_has_too_little_memory_both_end_with_a_sentence(tmp_path):
    (zero, other), (one, own) = ends(tmp_path, "memory")
    assert (zero, one) == (2, 2), (other, own)
    assert "train.accumulate=2" in own and len(own.strip().splitlines()) == 1
    assert "another process of this training has ended" in other and "Traceback" not in other
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-4"]
