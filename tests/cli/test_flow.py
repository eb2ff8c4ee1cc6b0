"""What a user does, from a folder to samples, through the command."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from carrara import load
from carrara.pixels import read_recipe
from tiny import TINY, Command


@pytest.fixture
def run(carrara: Command, photos: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    code, said = carrara("train", photos, "--run", folder, *TINY, "train.steps=4")
    assert code == 0, said
    return folder


def test_a_run_is_a_folder_that_knows_itself(run: Path) -> None:
    names = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    assert {"recipe.yaml", "log.jsonl", "model/config.json", "model/denoiser.safetensors"} <= names
    assert "checkpoints/step-4/manifest.json" in names
    assert "samples/step-000002.png" in names
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all({"step", "loss", "images", "seconds"} <= line.keys() for line in lines)
    assert lines[-1]["images"] == 16
    config = json.loads((run / "model" / "config.json").read_text())
    assert config["model"]["conditioner"]["classes"] == ["blue", "red"]
    assert config["about"]["step"] == 4


def test_choices_are_explained(carrara: Command, photos: Path, tmp_path: Path) -> None:
    code, said = carrara("train", photos, "--run", tmp_path / "r", "--dry-run", "train.batch=2", "train.steps=5")
    assert code == 0, said
    for word in (
        "size 16x16",
        "3 channels",
        "network: a U-Net",
        "the data's 2 classes",
        "parameters",
        "memory",
        "5 steps",
    ):
        assert word in said
    assert not (tmp_path / "r").exists()


def test_sampling_carries_its_recipe_and_replays(carrara: Command, run: Path) -> None:
    code, said = carrara("sample", run, "red", "blue", "-n", "3", "--steps", "3", "--seed", "5", "--sampler", "ddim")
    assert code == 0, said
    out = run / "samples" / "sample"
    assert len(list(out.glob("0*.png"))) == 6
    about = read_recipe(out / "0004.png")
    assert about["request"]["wishes"] == ["blue"]
    assert about["request"]["seeds"] == [6]
    for name in ("0004.png", "grid.png"):
        code, said = carrara("replay", out / name)
        assert code == 0, said
        assert "every pixel is the same" in said
        again = out / name.replace(".png", "-replay.png")
        assert np.array_equal(np.asarray(Image.open(again)), np.asarray(Image.open(out / name)))


def test_replay_notices_another_model(carrara: Command, run: Path) -> None:
    carrara("sample", run, "-n", "1")
    carrara("train", "--run", run, "train.steps=6", "data.size=8")
    code, said = carrara("replay", run / "samples" / "sample" / "grid.png")
    assert code == 0 and "every pixel is the same" in said, "the checkpoint of that step is still there"
    code, said = carrara("replay", run / "samples" / "step-000002.png")
    assert code == 2
    gone = "has changed since", "as training went on from step 2 to step 6, and that checkpoint is not kept"
    assert all(words in said for words in gone), said


def test_previews_and_strips_replay_too(carrara: Command, run: Path) -> None:
    """A preview was drawn with the averages of its step, which that step's checkpoint still has."""
    code, said = carrara("replay", run / "samples" / "step-000004.png", "--run", run / "checkpoints" / "step-4")
    assert code == 0, said
    assert "every pixel is the same" in said
    carrara("sample", run, "-n", "3", "--strip")
    code, said = carrara("replay", run / "samples" / "sample" / "strip.png")
    assert code == 0, said
    assert "every pixel is the same" in said


def test_a_run_that_went_on_is_sampled_as_it_is_now(carrara: Command, run: Path) -> None:
    """model/ is of step 4; a checkpoint of step 6, whose process was killed before it wrote model/, is newer."""
    old = load(run).model.digest()
    shutil.copytree(run / "model", run / "kept")
    carrara("train", "--run", run, "train.steps=6")
    new = load(run).model.digest()
    shutil.rmtree(run / "model")
    (run / "kept").rename(run / "model")
    assert load(run).model.digest() == new != old


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_says_how_to_go_on(photos: Path, tmp_path: Path, number: int) -> None:
    run = tmp_path / "long"
    command = [sys.executable, "-m", "carrara", "train", str(photos), "--run", str(run), *TINY, "train.steps=100000"]
    former = signal.signal(number, signal.SIG_DFL)  # who started the tests may ignore it, as nohup does
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    signal.signal(number, former)
    deadline = time.monotonic() + 60
    while not (run / "log.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert not (run / ".lock").exists()
    assert "Stopped and saved after step" in said
    assert "same command goes on" in said
    steps = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert (run / "checkpoints" / f"step-{steps[-1]}" / "manifest.json").exists()


def test_nothing_is_overwritten(carrara: Command, run: Path) -> None:
    for _ in range(2):
        carrara("sample", run, "-n", "1", "--strip")
    assert (run / "samples" / "sample" / "strip.png").exists()
    assert (run / "samples" / "sample-2" / "grid.png").exists()
    code, _ = carrara("sample", run, "-n", "1", "--out", run / "samples" / "sample")
    assert code == 0
    assert (run / "samples" / "sample" / "grid-2.png").exists()


def test_running_again_goes_on_to_the_same_end(carrara: Command, photos: Path, tmp_path: Path) -> None:
    """6 steps in one go, and 6 steps as 2, then more of the same command: the same weights to the bit."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert carrara("train", photos, "--run", whole, *TINY, "train.steps=6")[0] == 0
    assert carrara("train", photos, "--run", parts, *TINY, "train.steps=2")[0] == 0
    code, said = carrara("train", photos, "--run", parts, "train.steps=6")
    assert code == 0
    assert "going on from step 2" in said
    for name in ("denoiser", "conditioner", "ema", "optimizer"):
        one = load_file(whole / "checkpoints" / "step-6" / f"{name}.safetensors")
        two = load_file(parts / "checkpoints" / "step-6" / f"{name}.safetensors")
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_another_model_does_not_go_into_the_same_run(carrara: Command, photos: Path, run: Path) -> None:
    before = (run / "recipe.yaml").read_text()
    code, said = carrara("train", photos, "--run", run, "model.schedule=linear")
    assert code == 2
    assert "model.schedule is rectified_flow, not linear" in said
    assert "--run" in said
    assert (run / "recipe.yaml").read_text() == before


def test_a_recipe_file_is_the_truth_about_a_run(carrara: Command, photos: Path, tmp_path: Path) -> None:
    """An edited file changes the run's length, but never silently another model's."""
    file, run = tmp_path / "own.yaml", tmp_path / "own"
    text = f"preset: pixel\ndata: {{source: {photos}}}\ntrain: {{steps: 2, batch: 2}}\npreview: {{every: 0}}\n"
    file.write_text(text)
    command = ("train", "--preset", file, "--run", run, "data.size=8")
    assert carrara(*command)[0] == 0
    file.write_text(text.replace("steps: 2", "steps: 3"))
    code, said = carrara(*command)
    assert code == 0, said
    assert len((run / "log.jsonl").read_text().splitlines()) == 3
    file.write_text(text + "seed: 5\n")
    code, said = carrara(*command)
    assert code == 2
    assert "seed is 0, not 5" in said


def test_data_that_changed_its_classes_do_not_go_on(carrara: Command, photos: Path, run: Path) -> None:
    (photos / "red").rename(photos / "green")
    code, said = carrara("train", "--run", run, "train.steps=8")
    assert code == 2
    assert "green" in said


def test_a_built_in_name_is_not_a_folder_of_the_same_name(
    carrara: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    code, said = carrara("train", "digits", *TINY, "--dry-run", "train.steps=1")
    assert code == 0, said
    assert "examples to train on" in said


def test_a_run_without_its_model_is_read_from_its_checkpoint(carrara: Command, run: Path) -> None:
    one = load(run).samples("red", count=2, steps=2)
    shutil.rmtree(run / "model")
    two = load(run).samples("red", count=2, steps=2)
    assert torch.equal(one, two)
    three = load(run / "checkpoints" / "step-4").samples("red", count=2, steps=2)
    assert torch.equal(one, three)
    code, said = carrara("train", "--run", run, "data.size=8")
    assert code == 0, said
    assert (run / "model" / "config.json").exists()


def test_python_is_the_other_front_door(run: Path) -> None:
    pipeline = load(str(run))
    pictures = pipeline.generate("red", "blue:0.5+red:0.5", count=2, steps=2, sampler="euler", guidance=1.5)
    assert [picture.size for picture in pictures] == [(8, 8)] * 4
    alone = pipeline.generate("red", seed=1, steps=2, sampler="euler", guidance=1.5)
    assert np.abs(np.asarray(alone[0]).astype(int) - np.asarray(pictures[1])).max() <= 1


def test_inspect_says_what_is_there(carrara: Command, run: Path) -> None:
    code, said = carrara("inspect", run)
    assert code == 0
    for word in ("UNetConfig", "2 labels: blue, red", "4 steps", "guidance", "held out", "step-4"):
        assert word in said


def test_points_train_and_sample(carrara: Command, tmp_path: Path) -> None:
    small = (
        "train.steps=3",
        "train.batch=16",
        "data.points=200",
        "preview.every=3",
        "preview.count=50",
        "sample.steps=3",
    )
    folder = tmp_path / "roll"
    code, said = carrara("train", "swissroll", "--run", folder, *small)
    assert code == 0, said
    assert carrara("sample", folder, "-n", "20", "--strip")[0] == 0
    assert np.load(folder / "samples" / "sample" / "samples.npy").shape == (20, 2)
    assert (folder / "samples" / "sample" / "strip.png").exists()


def test_a_model_without_a_condition_is_guided_by_its_earlier_self(
    carrara: Command, photos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "alone"
    code, said = carrara("train", photos, "--run", run, *TINY, "train.steps=4", "model.conditioner=none")
    assert code == 0, said
    code, said = carrara("sample", run, "-n", 2)
    assert code == 0 and "guided by 3 away from what the model was early" in " ".join(said.split())
    code, said = carrara("replay", run / "samples" / "sample" / "0001.png")
    assert code == 0 and "every pixel is the same" in said
    code, said = carrara("sample", run, "-n", 2, "--guidance", 1)
    assert code == 0 and "guided by" not in said
