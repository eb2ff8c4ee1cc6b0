"""Whole runs whose numbers go wrong: what the command says, what it leaves, and that its advice works."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from carrara.cli.entry import main
from carrara.data import Loader, batch_of
from carrara.errors import UserError
from carrara.files import NotWritten
from carrara.objective.base import LossReport
from carrara.recipe import build
from carrara.recipe.loading import load
from carrara.run import Diagnosis, HeldOut, Preview
from carrara.run.plan import plan
from carrara.run.session import Event, Session
from carrara.train import StepReport, read_log

SMALL = (
    "data.size=8",
    "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [], head_width: 8}",
    "train.batch=4",
    "train.precision=float32",
    "train.warmup=0",
    "preview.every=0",
    "checkpoint.every=5",
    "sample.steps=2",
)


def session(run: Path, *changes: str) -> Session:
    (stage,) = plan("digits", "digits", run, [*SMALL, *changes]).stages
    return Session(stage, torch.device("cpu"))


def command(run: Path, *changes: str) -> int:
    """The exit code."""
    with pytest.raises(SystemExit) as end:
        main(["train", "digits", "--run", str(run), *SMALL, *changes])
    return int(end.value.code or 0)


def largest(run: Path) -> float:
    """The largest weight of a run's checkpoints and models; NaN if one is none."""
    tensors = [tensor for file in run.rglob("*.safetensors") for tensor in load_file(file).values()]
    assert tensors
    sizes = torch.stack([tensor.float().abs().max() for tensor in tensors if tensor.ndim])
    return math.nan if sizes.isnan().any() else sizes.max().item()


def sick(made: Session, at: range, place: int) -> Session:
    """One sample's loss is not finite at these steps, from 0, until the rate is halved."""
    forward = made.objective.forward

    def ill(batch, role, draws):
        report = forward(batch, role, draws)
        if draws.step not in at or made.training.clock.halvings:
            return report
        hit = torch.arange(len(batch)) == place
        return LossReport(torch.where(hit, report.per_sample * math.nan, report.per_sample), report.logs)

    made.objective.forward = ill
    return made


def said(events: Iterator[Event]) -> list[Diagnosis]:
    return [event for event in events if isinstance(event, Diagnosis)]


@pytest.mark.slow
def test_a_rate_that_is_much_too_large_spoils_nothing_and_the_advice_works(tmp_path, capsys):
    run = tmp_path / "run"
    assert command(run, "train.steps=40") == 0
    capsys.readouterr()
    assert command(run, "train.steps=60", "train.lr=1e6") == 2
    out, err = capsys.readouterr()
    assert out.count("the run goes back to step 40, and on with half the learning rate") == 3
    assert "The run is at step 40 again" in err and err.count("look at 'digits ") == 4 and "Traceback" not in err
    assert largest(run) < 10
    assert [line["step"] for line in read_log(run / "log.jsonl")] == list(range(1, 41))
    advice = re.search(r"run the same command with (train\.lr=\S+),", err)
    assert advice is not None
    assert command(run, "train.steps=60", advice[1]) == 0
    assert largest(run) < 10
    losses = [line["loss"] for line in read_log(run / "log.jsonl")]
    assert len(losses) == 60 and max(losses[40:]) < 2 * max(losses[:40])


@pytest.mark.parametrize("steps", [3, 30])
def test_a_run_whose_every_step_was_skipped_writes_no_model(tmp_path, capsys, steps):
    run = tmp_path / "run"
    ill = f"train.steps={steps}", "objective.weighting={kind: p2, k: -1e9, gamma: 0.5}"  # the root of less than 0
    for _ in range(2):
        assert command(run, *ill) == 2
        out, err = capsys.readouterr()
        assert "nothing was learned" in err and "model saved" not in out
        assert not (run / "model").exists()
    assert "look at the numbers in the recipe's objective" in err and "begin a new run" in err
    assert command(tmp_path / "new", "train.steps=3") == 0


def test_a_skipped_step_names_the_example_that_the_batch_held(tmp_path):
    made = sick(session(tmp_path / "run", "train.steps=6"), range(2, 3), place=1)
    (told,) = said(iter(made))
    (name,) = re.findall(r"look at '([^']+)'\)", told.text)
    names = [made.training_data.name(k) for k in range(len(made.training_data))]
    shown = made._loader().at(2).x[1]
    alone = batch_of(made.training_data, build.transform(made.recipe), [names.index(name)])
    assert torch.equal(shown, alone.x[0])


def test_names_are_those_of_every_ranks_examples():
    recipe = load("digits", SMALL)
    data, pictures = build.dataset(recipe), build.transform(recipe)
    for turns in (False, True):
        ranks = [Loader(data, pictures, 4, 0, rank, 2, turns=turns) for rank in (0, 1)]
        for step in (0, 7, 700):
            for loader in ranks:
                shown, named = loader.at(step), [other.names(loader.at(step).position.tolist()) for other in ranks]
                assert named[0] == named[1]
                indices = [int(name.rpartition(" ")[2]) for name in named[0]]
                assert torch.equal(batch_of(data, pictures, indices).x, shown.x)


def test_measurements_go_back_with_the_run(tmp_path):
    previews = "train.steps=40", "preview.every=2", "preview.held_out=4", "preview.count=1", "checkpoint.every=4"
    made = sick(session(tmp_path / "run", *previews), range(9, 100), place=0)
    seen, lines = [], None
    for event in made:
        seen.append(event)
        if isinstance(event, Diagnosis) and "goes back to step 8" in event.text:
            lines = [line["step"] for line in read_log(tmp_path / "run" / "held_out.jsonl")]
    assert lines == [2, 4, 6, 8]
    assert [line["step"] for line in read_log(tmp_path / "run" / "held_out.jsonl")] == list(range(2, 41, 2))
    assert max(event.step for event in seen if isinstance(event, HeldOut)) == 40


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Of the model that it made."""
    files = sorted(run.glob("model/*.safetensors"))
    return {f"{file.name}: {name}": tensor for file in files for name, tensor in load_file(file).items()}


def test_previews_and_measurements_change_nothing(tmp_path):
    with_them = "preview.every=2", "preview.held_out=4", "preview.count=2", "preview.best=loss"
    seen = list(session(tmp_path / "seen", "train.steps=7", *with_them))
    assert sum(isinstance(event, Preview) for event in seen) == 4
    list(session(tmp_path / "blind", "train.steps=7"))
    logs = [[line["loss"] for line in read_log(tmp_path / run / "log.jsonl")] for run in ("seen", "blind")]
    assert logs[0] == logs[1]
    files = [(tmp_path / run / "checkpoints/step-7").glob("*.safetensors") for run in ("seen", "blind")]
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(*map(sorted, files), strict=True))


ERRORS = RuntimeError("CUDA out of memory"), ZeroDivisionError("division by zero"), UserError("no pictures any more")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("what", ["picture", pytest.param("measure", marks=pytest.mark.slow)])
def test_a_preview_that_fails_does_not_end_the_training(tmp_path, monkeypatch, error, what):
    def fails(*_):
        raise error

    monkeypatch.setattr(f"carrara.run.previews.Previews.{what}", fails)
    made = session(tmp_path / "run", "train.steps=6", "preview.every=3", "preview.held_out=4", "preview.count=1")
    events = list(made)
    told = said(iter(events))
    assert [one.step for one in told] == [3, 6]
    assert told[0].text.startswith("the preview of step 3 could not be drawn (") and str(error) in told[0].text
    assert [event.step for event in events if isinstance(event, StepReport)] == [1, 2, 3, 4, 5, 6]
    list(session(tmp_path / "blind", "train.steps=6"))
    assert all(torch.equal(t, weights(tmp_path / "blind")[name]) for name, t in weights(tmp_path / "run").items())


@pytest.mark.parametrize("error", [NotWritten("the disk is full"), KeyboardInterrupt()], ids=["full", "Ctrl-C"])
def test_a_full_disk_in_a_preview_does(tmp_path, monkeypatch, error):
    def fails(*_):
        raise error

    monkeypatch.setattr("carrara.run.previews.Previews.picture", fails)
    with pytest.raises(type(error)):
        list(session(tmp_path / "run", "train.steps=6", "preview.every=3", "preview.count=1"))
