"""Damaged files and refusing disks: one sentence each, and nothing that was whole is lost."""

import errno
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_training import Tiny, assert_equal_states, run_until, settings, training

from carrara.errors import UserError
from carrara.train import Checkpoint, TrainState, checkpoint

FILES = [
    "conditioner.safetensors", "denoiser.safetensors", "frozen.safetensors", "ema.safetensors", "optimizer.safetensors",
    "state.json", "config.json", "manifest.json",
]  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    run_until(training(folder, every=2, keep=9, extra={"config.json": b"{}"}), 5)
    return folder


@pytest.fixture
def run(tmp_path, original) -> Path:
    """A run stopped at step 5, saved at 2 and 4."""
    return Path(shutil.copytree(original, tmp_path / "run"))


def rewrite_manifest(folder: Path) -> None:
    """As an attacker, or another tool, would: the hashes are right."""
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for file in folder.iterdir()
        if file.name != "manifest.json"
    }
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": files}))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def rename(file: Path) -> None:
    file.rename(file.with_name("renamed"))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", [truncate, empty, flip, rename, Path.unlink])
def test_a_damaged_checkpoint_is_passed_over_with_a_sentence(run, name, harm):
    harm(run / "checkpoints/step-4" / name)
    with pytest.raises(UserError, match=r"step-4 is damaged"):
        checkpoint.load_checkpoint(run / "checkpoints/step-4")
    again = training(run)
    assert again.clock.step == 2
    (sentence,) = again.warnings
    assert "step-4" in sentence and name in sentence and "\n" not in sentence


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": []}', '{"files": {"a": 1}}', '{"files": {}}', "\xff"])
def test_a_manifest_that_says_nothing_is_a_damaged_checkpoint(run, text):
    (run / "checkpoints/step-4/manifest.json").write_text(text, encoding="latin-1")
    assert training(run).clock.step == 2


def test_a_damaged_step_is_written_again_when_training_gets_there(run, tmp_path):
    flip(run / "checkpoints/step-4/ema.safetensors")
    again, whole = training(run, every=2, keep=9), training(tmp_path / "whole")
    run_until(again, 5), run_until(whole, 5)
    assert checkpoint.damage(run / "checkpoints/step-4") is None
    assert_equal_states(again.state, whole.state)


def test_if_every_checkpoint_is_damaged_training_does_not_start_again(run):
    for step in (2, 4):
        flip(run / f"checkpoints/step-{step}/state.json")
    with pytest.raises(UserError, match=r"no checkpoint in .* can be used .*step-4"):
        training(run)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_a_pickle_in_a_tensor_files_clothes_is_refused_and_does_not_run(run, monkeypatch):
    monkeypatch.chdir(run)
    for content in (pickle.dumps(Bomb()), b"\xff" * 100, (2**62).to_bytes(8, "little") + b"{}"):
        (run / "checkpoints/step-4/denoiser.safetensors").write_bytes(content)
        rewrite_manifest(run / "checkpoints/step-4")
        with pytest.raises(UserError, match="step-4 cannot be read"):
            training(run)
    assert not (run / "exploded").exists()


@pytest.mark.parametrize(
    "state",
    ["", "[]", "{}", '{"format": 1}', '{"format": "x", "step": 1}', '{"format": 1, "step": 4, "other": 1}', "null"],
)
def test_a_state_that_is_none_is_refused(run, state):
    (run / "checkpoints/step-4/state.json").write_text(state)
    rewrite_manifest(run / "checkpoints/step-4")
    with pytest.raises(UserError, match=r"step-4 (cannot be read|is not one of a training)"):
        training(run)


def test_a_newer_format_is_refused(run):
    (run / "checkpoints/step-4/state.json").write_text('{"format": 2, "step": 4}')
    rewrite_manifest(run / "checkpoints/step-4")
    with pytest.raises(UserError, match="newer Carrara, in format 2"):
        training(run)


def drop(tensors):
    del tensors["0.weight"]


def add(tensors):
    tensors["9.weight"] = torch.zeros(2)


def reshape(tensors):
    tensors["0.weight"] = tensors["0.weight"].T.contiguous()


def retype(tensors):
    tensors["0.weight"] = tensors["0.weight"].double()


@pytest.mark.parametrize(
    ("change", "words"),
    [(drop, "is missing"), (add, "is not in the model"), (reshape, r"has shape \(4, 8\)"), (retype, "has type")],
)
def test_weights_of_another_model_are_refused_and_nothing_changes(run, change, words):
    file = run / "checkpoints/step-4/denoiser.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    rewrite_manifest(run / "checkpoints/step-4")
    state, untouched = TrainState(Tiny(), settings()), TrainState(Tiny(), settings())
    with pytest.raises(UserError, match=rf"another model: in denoiser\.safetensors, '\d\.weight' {words}"):
        state.restore(run / "checkpoints/step-4")
    assert_equal_states(state, untouched)


def test_a_missing_part_is_refused(run):
    (run / "checkpoints/step-4/conditioner.safetensors").unlink()
    rewrite_manifest(run / "checkpoints/step-4")
    with pytest.raises(UserError, match=r"in conditioner\.safetensors, '.*' is missing"):
        training(run)


@pytest.mark.parametrize("operation", ["os.fsync", "pathlib.Path.write_bytes", "pathlib.Path.rename", "save_file"])
def test_a_full_disk_leaves_the_checkpoints_as_they_were(run, monkeypatch, operation):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    again = training(run, every=2, keep=1)
    steps = iter(again)
    next(steps)
    where = f"safetensors.torch.{operation}" if operation == "save_file" else operation
    with monkeypatch.context() as broken:
        broken.setattr(where, full)
        broken.setattr("carrara.train.log.Log.sync", lambda _: None)
        with pytest.raises(UserError, match=r"step-6' could not be written: the disk is full.*before step-6"):
            next(steps)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-2", "step-4"]
    recovered = training(run)
    assert recovered.clock.step == 4 and recovered.warnings == []


def tiny_checkpoint(step: int, value: float = 0.0) -> Checkpoint:
    return Checkpoint(step=step, parts={"part": {"x": torch.full((2,), value)}}, state={"images": step})


def test_saving_the_same_step_twice_is_saving_it_once(tmp_path):
    first = checkpoint.save(tmp_path, tiny_checkpoint(3))
    stamp = first.stat().st_mtime_ns
    assert checkpoint.save(tmp_path, tiny_checkpoint(3)) == first and first.stat().st_mtime_ns == stamp
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]


def test_the_newest_are_kept_by_number_and_foreign_folders_are_left_alone(tmp_path):
    (tmp_path / "step-best").mkdir()
    for step in (8, 9, 10, 100):
        checkpoint.save(tmp_path, tiny_checkpoint(step), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-10", "step-100", "step-best"]
    assert checkpoint.latest(tmp_path) == (tmp_path / "step-100", [])


def test_a_damaged_newer_checkpoint_never_costs_the_one_just_written(tmp_path):
    for step in (2, 4):
        checkpoint.save(tmp_path, tiny_checkpoint(step))
    flip(tmp_path / "step-4/part.safetensors")
    checkpoint.save(tmp_path, tiny_checkpoint(3), keep=1)
    newest, warnings = checkpoint.latest(tmp_path)
    assert newest == tmp_path / "step-3" and len(warnings) == 1


def test_what_dead_processes_left_is_cleaned_and_what_live_ones_write_is_not(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    for owner in (dead.pid, os.getppid()):
        (tmp_path / f".step-9.{owner}.tmp").mkdir()
    assert checkpoint.latest(tmp_path) == (None, [])
    checkpoint.save(tmp_path, tiny_checkpoint(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".step-9.{os.getppid()}.tmp", "step-1"]


def test_tensors_come_back_as_they_were(tmp_path):
    tied = torch.arange(6.0).reshape(2, 3)
    tensors = {"t": tied, "again": tied, "transposed": tied.T, "count": torch.tensor(3), "half": tied.bfloat16()}
    path = checkpoint.save(tmp_path, Checkpoint(step=1, parts={"part": tensors}, state={"seconds": 0.1}))
    back = checkpoint.load_checkpoint(path)
    assert back.step == 1 and back.state == {"seconds": 0.1}
    assert all(torch.equal(back.parts["part"][name], tensor) for name, tensor in tensors.items())


def test_a_step_that_is_not_finite_prunes_nothing(tmp_path):
    run = training(tmp_path, every=2, keep=1, steps=9)
    for report in run:
        if report.step == 5:
            run.state.objective.denoiser[4].register_forward_hook(lambda _m, _i, out: out * float("nan"))
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-4", "step-6", "step-8", "step-9"]
