"""``train.compile=auto``: steps are timed with and without torch's compiler, and the faster kind is taken."""

import json
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any

import pytest
import torch

from carrara.nn import compiled
from carrara.run import compilation as compiling
from carrara.run.compilation import Note
from carrara.run.plan import plan
from carrara.run.session import Session
from carrara.train import read_log

SMALL = (
    "data.size=8",
    "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [], head_width: 8}",
    "train.batch=4",
    "train.steps=3",
    "train.precision=float32",
    "preview.every=0",
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder; and a compiler is here."""
    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled.shutil, "which", lambda name: name)
    return tmp_path / "cache"


def compiler(monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[str]:
    """In the place of torch's compiler: the network as it is, and slower; says how often it is asked and called."""
    seen = list[str]()

    def compile(f: Callable[..., Any]) -> Callable[..., Any]:
        seen.append("asked")

        def slower(*inputs: Any) -> Any:
            seen.append("called")
            sleep(seconds)
            return f(*inputs)

        return slower

    monkeypatch.setattr(torch, "compile", compile)
    return seen


def trained(run: Path, *changes: str) -> tuple[list[str], list[float]]:
    """The notes, and the losses."""
    (stage,) = plan("digits", "digits", run, [*SMALL, *changes]).stages
    notes = [event.text for event in Session(stage, torch.device("cpu")) if isinstance(event, Note)]
    return notes, [line["loss"] for line in read_log(run / "log.jsonl")]


def test_what_is_slower_is_left_out_and_that_is_remembered(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = compiler(monkeypatch, 0.5)
    first, second = (trained(tmp_path / name, "train.compile=auto") for name in ("first", "second"))
    assert seen == ["asked"] + ["called"] * (compiling.ROUNDS + 2), "once, for the trial of the first run"
    assert ["measuring" in note for note in first[0]] == [True, False]
    assert "not compiled by torch: such steps were 0." in first[0][1]
    assert second[0] == first[0][1:]
    assert first[1] == second[1] == trained(tmp_path / "plain")[1], "the trial leaves the training as it is"


@pytest.mark.slow
def test_what_is_faster_is_taken(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = compiler(monkeypatch, 0.5)
    trained(tmp_path / "first", "train.compile=auto")
    (memory,) = cache.glob("compile-*.json")
    memory.write_text(json.dumps({"gain": 1.25}))
    seen.clear()
    notes, losses = trained(tmp_path / "second", "train.compile=auto")
    assert notes == ["compiled by torch: such steps were 1.25 times as fast in a trial on this machine"]
    assert seen == ["asked"] + ["called"] * 3
    assert losses == trained(tmp_path / "plain")[1]


@pytest.mark.slow
def test_a_damaged_memory_is_measured_again(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(monkeypatch, 0.0)
    trained(tmp_path / "first", "train.compile=auto")
    (memory,) = cache.glob("compile-*.json")
    for damaged in ("", "[]", '{"gain": null}', "{}"):
        memory.write_text(damaged)
        assert "measuring" in trained(tmp_path / f"run-{damaged[:1]}{len(damaged)}", "train.compile=auto")[0][0]
        assert json.loads(memory.read_text())["gain"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", ["train.batch=8", "data.size=16", "train.precision=bfloat16", "train.recompute=true"]
)
def test_other_trainings_are_measured_anew(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    compiler(monkeypatch, 0.0)
    for name, changes in (("first", ()), ("second", (change,))):
        trained(tmp_path / name, "train.compile=auto", *changes)
    assert len(list(cache.glob("compile-*.json"))) == 2


def test_without_a_compiler_training_goes_on(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    notes, losses = trained(tmp_path / "run", "train.compile=auto")
    assert "torch.compile does not work here (train.compile needs the C++ compiler" in notes[1]
    assert len(losses) == 3
    assert trained(tmp_path / "again", "train.compile=auto")[0] == notes, "it may have been installed meanwhile"


def test_a_run_that_is_finished_is_not_measured(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = compiler(monkeypatch, 0.0)
    trained(tmp_path / "run")
    assert trained(tmp_path / "run", "train.compile=auto")[0] == [] and not seen
