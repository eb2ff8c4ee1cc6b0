"""A run folder, or its data, that vanish while it trains: one sentence, and nothing comes back in part."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from carrara import run as runs
from carrara.errors import UserError
from carrara.files import make_folder, replacing
from carrara.run.session import Session
from carrara.train import StepReport, launched

SMALL = (
    "model.backbone.kind=unet",
    "model.backbone.channels=8",
    "model.backbone.multipliers=[1]",
    "model.backbone.blocks=1",
    "train.batch=2",
)
SMALL += ("model.backbone.attention_levels=[]", "preview.count=1", "sample.steps=1", "preview.held_out=0")
POINTS = ("model.backbone.width=8", "model.backbone.depth=1", "preview.count=2", "sample.steps=2", "train.batch=4")
POINTS += ("train.compile=false", "train.precision=float32", "train.steps=6", "checkpoint.every=2")
POINTS += ("data.points=200", "preview.held_out=4")


@pytest.mark.parametrize("every", [1, 100])
@pytest.mark.parametrize("moment", [2, 5])
def test_a_run_that_is_deleted_ends_with_a_sentence_and_stays_deleted(moment, every, tmp_path):
    folder = tmp_path / "runs/points"
    changes = [*POINTS, f"preview.every={every}"]
    with launched() as device:
        with pytest.raises(UserError, match="could not be written: its folder is not there any more: run the same"):
            for event in Session(runs.plan("swissroll", None, folder, changes), device):
                if isinstance(event, StepReport) and event.step == moment:
                    shutil.rmtree(folder)
        assert not folder.exists()
        for _ in Session(runs.plan("swissroll", None, folder, changes), device):
            pass
        for _ in Session(runs.plan("swissroll", None, tmp_path / "whole", changes), device):
            pass
    weights = [load_file(path / "model/denoiser.safetensors") for path in (folder, tmp_path / "whole")]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_folders_are_made_below_one_that_is_there_alone(tmp_path: Path) -> None:
    make_folder(tmp_path / "run")
    with replacing(tmp_path / "run/a/b/file", within=tmp_path / "run") as file:
        file.write(b"1")
    shutil.rmtree(tmp_path / "run")
    for within in ("run", "run/a"):
        with (
            pytest.raises(UserError, match="its folder is not there any more"),
            replacing(tmp_path / "run/a/b/file", within=tmp_path / within) as file,
        ):
            file.write(b"1")
    assert not list(tmp_path.iterdir())


def test_data_that_vanish_are_one_sentence(tmp_path: Path) -> None:
    data, folder = tmp_path / "photos", tmp_path / "run"
    data.mkdir()
    rng = np.random.default_rng(0)
    for k in range(12):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(data / f"{k}.png")
    changes = [*SMALL, "data.size=8", "train.steps=60", "train.precision=float32", "train.compile=false"]
    with launched() as device:
        session = Session(runs.plan(str(data), "pixel", folder, changes), device)
        shutil.rmtree(data)
        with pytest.raises(UserError, match="none of the 10 examples can be used"):
            list(session)
