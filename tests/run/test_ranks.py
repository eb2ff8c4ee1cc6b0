"""Two processes train both stages as one does: codebook, latent statistics and the shared cache among them."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from carrara.train import read_log

RECIPE = """
data: {size: 8, channels: 3, flip: true, held_out: 0.2}
autoencoder:
  first_stage: {kind: vq, channels: 8, multipliers: [1, 2], blocks: 1, latent_channels: 2, codes: 8}
  objective: {kind: autoencoding, perceptual: 0}
  train: {steps: 3, batch: 4, precision: float32}
  preview: {every: 0}
model:
  backbone: {kind: unet, channels: 8, multipliers: [1], blocks: 1, attention_levels: []}
train: {steps: 3, batch: 4, precision: float32}
preview: {every: 0}
"""


SLOWLY = """
import sys, time
from carrara.cli.entry import main
from carrara.run.models import Models

write = Models.write
Models.write = lambda *arguments: (time.sleep(1), write(*arguments))
sys.exit(main(sys.argv[1:]))
"""
"""The command, on a disk so slow that whoever does not wait for a model finds none."""


def start(arguments: list[str], rank: int, world: int, port: int) -> subprocess.Popen[str]:
    ranks = {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, "-c", SLOWLY, *arguments],
        env={**os.environ, **(ranks if world > 1 else {}), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_two_ranks_equal_one(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(RECIPE)
    for world in (1, 2):
        arguments = ["train", str(photos), "--preset", str(file), "--run", str(tmp_path / str(world))]
        port = free_port()
        processes = [start(arguments, rank, world, port) for rank in range(world)]
        try:
            said = [process.communicate(timeout=120)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
        assert [process.returncode for process in processes] == [0] * world, said
    for part in ("autoencoder/model/first_stage", "model/first_stage", "model/denoiser"):
        one, two = (load_file(tmp_path / str(world) / f"{part}.safetensors") for world in (1, 2))
        assert one.keys() == two.keys()
        for name in one:
            assert torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-4), (part, name)
    for one, two in zip(*(read_log(tmp_path / world / "autoencoder/log.jsonl") for world in ("1", "2")), strict=True):
        assert all(two[name] == pytest.approx(one[name], rel=1e-4) for name in ("loss", "usage", "perplexity"))
    shards = [list((tmp_path / str(world)).glob("latents/*/manifest.json")) for world in (1, 2)]
    assert [len(found) for found in shards] == [1, 1]
