"""The best model on held-out data, and patience."""

from pathlib import Path
from typing import Any

import pytest
import torch

from carrara.errors import UserError
from carrara.model import read_config
from carrara.run.plan import plan
from carrara.run.previews import Previews
from carrara.run.session import Diagnosis, HeldOut, ModelSaved, Session
from carrara.store.best import is_better, kept, leader, score, waited
from carrara.store.runs import open_model
from carrara.store.shipping import working_folder
from carrara.train import StepReport
from small_models import saved

SMALL = (
    "data.size=8",
    "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [], head_width: 8}",
    "train.batch=4",
    "train.minutes=null",
    "train.precision=float32",
    "preview.every=1",
    "preview.count=1",
    "preview.held_out=4",
    "checkpoint.every=2",
    "sample.steps=1",
)


def session(run: Path, *changes: str, preset: str = "digits") -> Session:
    (stage,) = plan("digits", preset, run, [*(SMALL if preset == "digits" else ()), *changes]).stages
    return Session(stage, torch.device("cpu"))


def scripted(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """What is measured on held-out data at each step."""
    look, now = Session._look, [0]

    def looked(session: Session, step: int, *rest: Any) -> Any:
        now[0] = step
        return look(session, step, *rest)

    monkeypatch.setattr(Session, "_look", looked)
    monkeypatch.setattr(Previews, "measure", lambda *_: {"loss@t=0.5": losses[now[0] - 1]})


def step_of(folder: Path) -> int:
    return int(read_config(folder)[1]["step"])


def test_what_is_better(tmp_path) -> None:
    lines = [{"step": 1, "loss@t=0.1": 2.0, "loss@t=0.9": 4.0, "kid": 1.0}, {"step": 2, "loss@t=0.1": 1.0, "kid": 2.0}]
    assert [score(line, "loss") for line in lines] == [-3, -1] and [score(line, "kid") for line in lines] == [-1, -2]
    first, second = lines
    assert is_better(second, [first], 1, "loss") and not is_better(second, [first], 1, "kid")
    assert is_better(second, [first], None, "kid") and is_better(second, [], None, "kid")
    assert is_better(second, [{"step": 1, "loss@t=0.1": 2.0}], 1, "kid"), "another measure begins anew"
    assert not is_better(first, [first], 1, "loss") and not is_better({}, [], None, "loss")
    assert (waited(lines, 1), waited(lines, 2), waited(lines, None), waited([], 3)) == (1, 0, 0, 0)
    assert score({"step": 1, "psnr": 30.0, "perceptual": 2.0}, "loss") == 30
    assert score({"step": 1, "elbo": -90.0, "kl_1": 2.0}, "loss") == -90
    assert score({"step": 1, "bound": 3.0}, "loss") == -3
    assert score({"step": 1, "loss@t=0.1": None}, "loss") == score({"step": 1}, "kid") == float("-inf")
    assert kept(tmp_path) is None


def test_the_lines_say_which_step_leads_and_the_folder_does_so_where_they_do_not(tmp_path) -> None:
    lines = [{"step": 1, "loss@t=0.5": 2.0}, {"step": 2, "loss@t=0.5": 3.0}]
    assert leader([], tmp_path) is None and leader(lines, tmp_path) is None
    model = open_model(saved("pixels", tmp_path / "best"))
    model.save(tmp_path / "best", step=1)
    assert leader(lines, tmp_path) == 1
    model.save(tmp_path / "best", step=4)
    assert leader(lines, tmp_path) is None, "the step of best/ is yet to be made again"
    assert leader([*lines, {"step": 3, "best": 2}], tmp_path) == 2
    (tmp_path / "best" / "config.json").write_text("{")
    assert kept(tmp_path) is None and leader(lines, tmp_path) is None


def test_a_measure_that_is_asked_for_later_begins_with_the_model_that_is_there(tmp_path, monkeypatch) -> None:
    scripted(monkeypatch, [1.0, 2.0, 3.0, 2.5])
    list(session(tmp_path / "run", "train.steps=2"))
    assert kept(tmp_path / "run") is None
    list(session(tmp_path / "run", "train.steps=4", "preview.best=loss", "preview.patience=2"))
    assert kept(tmp_path / "run") == 2


def test_samples_of_the_best_are_not_in_the_folder_that_is_replaced(tmp_path) -> None:
    list(session(tmp_path / "run", "train.steps=1", "preview.best=loss"))
    assert working_folder(tmp_path / "run" / "best") == tmp_path / "run"


def test_the_best_is_kept_and_patience_ends_the_training(tmp_path, monkeypatch) -> None:
    scripted(monkeypatch, [3.0, 2.0, 2.5, 2.2])
    asked = "train.steps=9", "preview.best=loss"
    running = session(tmp_path / "run", *asked, "preview.patience=2")
    events = list(running)
    assert [event.step for event in events if isinstance(event, HeldOut)] == [1, 2, 3, 4]
    (said,) = (event.text for event in events if isinstance(event, Diagnosis))
    assert "2 previews brought no better model" in said and said.endswith("has that of step 2")
    assert [event.step for event in events if isinstance(event, ModelSaved)] == [1, 2, 4]
    assert running.training.clock.step == 4 and step_of(tmp_path / "run" / "model") == 4


def test_a_training_that_patience_ended_is_finished_until_it_is_given_more(tmp_path, monkeypatch) -> None:
    scripted(monkeypatch, [3.0, 2.0, 2.5, 2.2, 2.3, 2.1, 1.9])
    asked = "train.steps=7", "preview.best=loss"
    list(session(tmp_path / "run", *asked, "preview.patience=2"))
    again = session(tmp_path / "run", *asked, "preview.patience=2")
    assert again.finished and not list(again)
    more = session(tmp_path / "run", *asked, "preview.patience=9")
    steps = [event.step for event in more if isinstance(event, StepReport)]
    assert steps == [5, 6, 7] and step_of(tmp_path / "run" / "best") == 7
    open_model(tmp_path / "run" / "best")


def test_the_best_by_kernel_distance(tmp_path) -> None:
    events = list(session(tmp_path / "run", "train.steps=2", "preview.best=kid"))
    assert all("kid" in event.values for event in events if isinstance(event, HeldOut))
    assert (tmp_path / "run" / "best" / "config.json").is_file()


def test_the_best_autoencoder_is_measured_and_training_goes_on_as_without(tmp_path) -> None:
    vae = "train.steps=4", "train.minutes=null", "preview.every=1", "preview.count=4", "preview.held_out=4"
    for name, best in (("kept", "loss"), ("plain", "null")):
        list(session(tmp_path / name, *vae, f"preview.best={best}", preset="vae"))
    a, b = (open_model(tmp_path / name).state_dict() for name in ("kept", "plain"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not (open_model(tmp_path / "kept" / "best").first_stage.std == 1).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["preview.patience=2"], "say by what"),
        (["preview.best=loss", "preview.every=0"], "must be above 0"),
        (["preview.best=kid", "preview.held_out=1"], "two held-out samples"),
        (["preview.best=fid"], "preview.best is 'fid'"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, changes: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        session(tmp_path / "run", *changes)
    with pytest.raises(UserError, match="no model that draws"):
        session(tmp_path / "vae", "preview.best=kid", preset="vae")


@pytest.mark.parametrize(
    ("source", "changes", "says"),
    [
        ("digits", ["data.held_out=0", "preview.best=loss"], "there are 0"),
        ("swissroll", ["preview.best=kid"], "points"),
    ],
)
def test_nothing_to_find_the_best_by(tmp_path, source: str, changes: list[str], says: str) -> None:
    (stage,) = plan(source, source, tmp_path / "run", ["train.steps=1", "train.minutes=null", *changes]).stages
    with pytest.raises(UserError, match=says):
        Session(stage, torch.device("cpu"))
