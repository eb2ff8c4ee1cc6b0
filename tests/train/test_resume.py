"""Stopping and going on changes nothing, to the bit."""

import pytest
import torch
from tiny_training import Tiny, assert_equal_states, batches, run_until, settings, training

from carrara.train import TrainState, held_out, read_log, train
from carrara.train.checkpoint import latest


def logged(folder) -> list[tuple]:
    return [tuple(v for k, v in line.items() if k != "seconds") for line in read_log(folder / "log.jsonl")]


@pytest.mark.parametrize("stop", [1, 5, 11])
@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_resume_equals_the_uninterrupted_run(tmp_path, accumulate, precision, decay, stop):
    options = {"accumulate": accumulate, "precision": precision, "decay": decay, "every": stop}
    whole = training(tmp_path / "whole", **options)
    losses = run_until(whole, 12)
    first = run_until(training(tmp_path / "parts", **options), stop)
    second = training(tmp_path / "parts", **options)
    assert second.clock.step == stop
    assert first + run_until(second, 12) == losses
    assert_equal_states(second.state, whole.state)
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")
    assert [line[0] for line in logged(tmp_path / "parts")] == list(range(1, 13))


def test_steps_after_the_last_checkpoint_are_done_again(tmp_path):
    whole = training(tmp_path / "whole")
    run_until(whole, 12)
    run_until(training(tmp_path / "parts", every=4), 6)
    assert read_log(tmp_path / "parts/log.jsonl")[-1]["step"] == 6
    again = training(tmp_path / "parts", every=4)
    assert again.clock.step == 4
    run_until(again, 12)
    assert_equal_states(again.state, whole.state)
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")


def test_saving_and_previews_do_not_change_the_numbers(tmp_path):
    quiet, busy = training(tmp_path / "quiet"), training(tmp_path / "busy", every=1)
    for _ in quiet:
        pass
    for _ in busy:
        with busy.ema.swapped_in():
            held_out(busy.state.objective, [next(batches(99))], seed=0)
            torch.rand(3)
    assert_equal_states(quiet.state, busy.state)


def test_a_longer_run_goes_on_from_a_finished_one(tmp_path):
    run_until(training(tmp_path / "run", steps=5), 5)
    longer, whole = training(tmp_path / "run", steps=12), training(tmp_path / "whole", steps=12)
    assert longer.clock.step == 5
    run_until(longer, 12), run_until(whole, 12)
    assert_equal_states(longer.state, whole.state)


def test_a_finished_run_has_nothing_left_to_do(tmp_path):
    run_until(training(tmp_path), 12)
    again = training(tmp_path)
    assert list(again) == [] and again.clock.step == 12
    assert len(read_log(tmp_path / "log.jsonl")) == 12


def test_the_run_does_not_depend_on_torchs_generator():
    states = [TrainState(Tiny(), settings()) for _ in range(2)]
    for number, state in enumerate(states):
        torch.rand(number + 1)
        list(train(state, batches, settings(), seed=3))
    assert_equal_states(*states)


def test_training_leaves_torchs_generator_alone():
    state = TrainState(Tiny(), settings())
    before = torch.get_rng_state()
    list(train(state, batches, settings(), seed=3))
    assert torch.equal(before, torch.get_rng_state())


def test_seeds_make_different_runs():
    states = [TrainState(Tiny(), settings()) for _ in range(2)]
    for seed, state in enumerate(states):
        list(train(state, batches, settings(), seed=seed))
    assert not torch.equal(states[0].objective.denoiser[0].weight, states[1].objective.denoiser[0].weight)


def test_the_last_step_is_saved_with_the_callers_files(tmp_path):
    run_until(training(tmp_path, every=5, keep=1, extra={"config.json": b"{}"}), 12)
    list(training(tmp_path, every=5, keep=1))
    path, warnings = latest(tmp_path / "checkpoints")
    assert path is not None and path.name == "step-12" and warnings == []
    assert [folder.name for folder in (tmp_path / "checkpoints").iterdir()] == ["step-12"]
    assert {file.name for file in path.iterdir()} == {
        "conditioner.safetensors", "denoiser.safetensors", "frozen.safetensors", "ema.safetensors",
        "optimizer.safetensors", "state.json", "config.json", "manifest.json",
    }  # fmt: skip


def test_muon_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("carrara.train.muon._SMALLEST", 4)
    whole = training(tmp_path / "whole", optimizer="muon")
    assert any(name.endswith("/momentum") for name in whole.state.tensors()["optimizer"])
    losses = run_until(whole, 12)
    first = run_until(training(tmp_path / "parts", optimizer="muon", every=5), 5)
    second = training(tmp_path / "parts", optimizer="muon", every=5)
    assert first + run_until(second, 12) == losses
    assert_equal_states(second.state, whole.state)
