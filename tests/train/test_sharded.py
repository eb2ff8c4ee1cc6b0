"""As many processes as one likes train what one does: with DDP or FSDP2, either optimizer, and whoever goes on."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from carrara.errors import spelled
from carrara.store.runs import open_model
from carrara.train import read_log, sharding

DIFFUSION = """
data: {size: 8, channels: 3, flip: true, held_out: 0.2}
model:
  backbone: {kind: unet, channels: 16, multipliers: [1, 2], blocks: 1, attention_levels: [1]}
train: {steps: 50, batch: 8, precision: float32, warmup: 10}
checkpoint: {every: 20, early: 0.4}
preview: {every: 25, count: 4, held_out: 4}
sample: {steps: 2}
"""
AUTOENCODER = """
data: {size: 16, channels: 3, flip: true, held_out: 0.2}
model:
  first_stage: {kind: kl, channels: 16, multipliers: [1, 2], blocks: 1, latent_channels: 2}
objective:
  kind: autoencoding
  perceptual: 0
  learned_scale: true
  critic: {channels: 16, layers: 1, start: 3, lead: 3}
train: {steps: 50, batch: 8, precision: float32, warmup: 10}
checkpoint: {every: 20}
preview: {every: 50, count: 4, held_out: 4}
"""
SHARDED = "train.shard=full"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "CARRARA_TUNE": "0"}


class Trainings:
    """Runs of one recipe on the same pictures."""

    def __init__(self, folder: Path, photos: Path, recipe: str) -> None:
        self.folder, self.photos, self.recipe = folder, photos, folder / "recipe.yaml"
        self.recipe.write_text(recipe)

    def run(self, name: str, processes: int | None, *changes: str) -> Path:
        """Trains in ``processes``, or without a launcher, and returns the run."""
        words = self.words(name, processes, *changes)
        done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0 and "could not be drawn" not in done.stdout, done.stdout + done.stderr
        return self.folder / name

    def words(self, name: str, processes: int | None, *changes: str) -> list[str]:
        """The command."""
        words = [str(self.photos), *changes, "--preset", str(self.recipe), "--run", str(self.folder / name)]
        words += [] if processes is None else ["--launch", str(processes)]
        return [sys.executable, "-m", "carrara", "train", *words]


def losses(run: Path) -> list[float]:
    lines: list[Any] = list(read_log(run / "log.jsonl"))
    assert [line["step"] for line in lines] == list(range(1, 51))
    assert [line["images"] for line in lines] == [8 * step for step in range(1, 51)]
    return [line["loss"] for line in lines]


def assert_same(run: Path, other: Path, most: float) -> None:
    """The models, which have averaged weights."""
    for path in sorted((run / "model").glob("*.safetensors")):
        one, two = load_file(path), load_file(other / "model" / path.name)
        assert one.keys() == two.keys()
        for name in one:
            assert torch.allclose(one[name], two[name], rtol=0, atol=most), (path.name, name)


@pytest.mark.slow
def test_losses_do_not_depend_on_the_number_of_processes(photos: Path, tmp_path: Path) -> None:
    """Within 1e-6 over 50 steps, with either optimizer; ``early/``, two previews and ``model/`` are written on the way.
    Whoever goes on in other numbers, with weights that are whole or sharded, keeps the order of the data."""
    trainings = Trainings(tmp_path, photos, DIFFUSION)
    adamw, muon = (trainings.run(name, None, f"train.optimizer={name}") for name in ("adamw", "muon"))
    less = ("train.shard=hybrid", "train.recompute=true", "train.accumulate=2")
    others = {
        trainings.run("four of adamw", 4, SHARDED): adamw,
        trainings.run("two of muon", 2, "train.optimizer=muon"): muon,
        trainings.run("two in parts", 2, "train.optimizer=muon", *less): muon,
    }
    for processes, end, how in ((4, 25, SHARDED), (1, 40, "train.shard=null"), (2, 50, SHARDED)):
        others[trainings.run("several", processes, "train.optimizer=muon", f"train.steps={end}", how)] = muon
    for run, alone in others.items():
        assert losses(run) == pytest.approx(losses(alone), rel=0, abs=1e-6), run.name
        one, several = ({line["step"]: line for line in read_log(each / "held_out.jsonl")} for each in (alone, run))
        for step in one.keys() & several.keys():  # who is to end before measures there, too
            assert several[step] == pytest.approx(one[step], rel=0, abs=1e-5), run.name
        assert several.keys() >= {25, 50}
        assert_same(alone, run, 1e-5)
    written_in_parts(tmp_path / "four of adamw")
    for run in list(others)[:3]:
        assert {path.name for path in run.iterdir()} == {path.name for path in adamw.iterdir()}
        assert len(list((run / "samples").iterdir())) == 2


def written_in_parts(run: Path) -> None:
    """A checkpoint in parts is opened like any other, and is made a model's folder by ``--consolidate``."""
    last, finished = run / "checkpoints" / "step-50", open_model(run / "model").digest()
    assert len(list(last.glob("shard-*"))) == 4 and not (last / "ema.safetensors").exists()
    assert open_model(last).digest() == finished
    (run / "model").rename(run.parent / "before")
    for more, place in (((), run / "model"), (("--out", run.parent / "out"), run.parent / "out")):
        words = [sys.executable, "-m", "carrara", "export", str(run), "--consolidate", *map(str, more)]
        done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert open_model(place).digest() == finished and (place / "manifest.json").exists()


@pytest.mark.slow
def test_critics_are_sharded_too(photos: Path, tmp_path: Path) -> None:
    """The gradient of the critic's last bias is nothing but rounding, of which AdamW makes a step: so less exactly."""
    trainings = Trainings(tmp_path, photos, AUTOENCODER)
    alone, two = trainings.run("alone", None), trainings.run("two", 2, SHARDED)
    assert losses(two) == pytest.approx(losses(alone), rel=0, abs=2e-4)
    assert losses(two)[:4] == pytest.approx(losses(alone)[:4], rel=0, abs=1e-6)
    assert_same(alone, two, 2e-5)


def test_one_process_has_nothing_to_part() -> None:
    assert sharding.unused(None) is None
    assert (
        spelled(sharding.unused("full") or "")
        == "train.shard=full parts nothing in one process: 'train DATA launch=2' starts two"
    )
