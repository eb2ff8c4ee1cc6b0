"""``carrara evaluate --metrics music`` on small runs of duets and of chords."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from carrara.errors import UserError
from carrara.measure import MeasureSettings, measure_run
from carrara.measure.metrics.music import asked_like_training, heard, label_of, music_reports, voice_ranges
from carrara.measure.samples import SampleSet
from carrara.measure.subject import Subject
from carrara.notes import Grid, Key, painted, to_midi
from carrara.run.plan import plan
from carrara.run.session import Session
from carrara.store import Store

pytest.importorskip("symusic")
CPU = torch.device("cpu")
NETWORK = "{kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [], head_width: 8}"
SMALL = (
    f"model.backbone={NETWORK}",
    "train.minutes=null",
    "train.steps=3",
    "train.batch=4",
    "train.precision=float32",
    "preview.every=0",
    "data.held_out=0.4",
    "data.source.length=32",
    "sample.steps=4",
)
KEYS = [Key(tonic=0), Key(tonic=7), Key(tonic=9, mode="minor")]


def duet(seed: int) -> Grid:
    rng = np.random.default_rng(seed)
    rows = [(v, 4 * k, 4, 72 - 12 * v + int(rng.integers(0, 12))) for v in range(2) for k in range(16)]
    pitches, onsets = painted(rows, 2, 64)
    return Grid(pitches=pitches, onsets=onsets, key=KEYS[seed % 3], metre=(3, 4) if seed % 2 else (4, 4))


def trained(folder: Path, run: Path, *changes: str, preset: str = "chorales") -> Path:
    folder.mkdir(parents=True)
    for k in range(8):
        (folder / f"{k}.mid").write_bytes(to_midi(duet(k)))
    for stage in plan(str(folder), preset, run, [*SMALL, *changes]).stages:
        list(Session(stage, CPU))
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("duets")
    return trained(folder / "songs", folder / "run")


def test_what_is_heard_is_what_the_files_say(run: Path) -> None:
    subject = Subject(Store().open(run), MeasureSettings(samples=10))
    found = heard(subject, "train", 1000) + heard(subject, "held out", 1000)
    truth = [duet(k).window(start, 32) for k in range(8) for start in duet(k).bars if start + 32 <= 64]
    assert len(found) == len(truth)

    def said(grids: list[Grid]) -> list[tuple[object, ...]]:
        return sorted((g.pitches.tobytes(), g.onsets.tobytes(), str(g.key), g.metre) for g in grids)

    assert said(found) == said(truth)
    assert len(heard(subject, "train", 5)) == 5


def test_samples_are_asked_for_what_training_pieces_are(run: Path) -> None:
    subject = Subject(Store().open(run), MeasureSettings(samples=10))
    training = {f"key {one.key}".replace(" m", "+m") + f"+{one.metre[0]}/{one.metre[1]}" for one in map(duet, range(8))}
    wishes = asked_like_training(subject)
    assert len(wishes) == 10 and len(set(wishes)) > 1 and set(wishes) <= training


def test_a_run_is_measured_beside_held_out_music(run: Path) -> None:
    ((found, paths),) = measure_run(run, "music", CPU, MeasureSettings(samples=10))
    data = json.loads(paths[0].read_text())
    assert (data["fake"], data["split"]) == (10, "held-out data") and data["real"] >= 5
    assert paths[1].name == "music.png"
    assert data["held-out"]["crossings"] == 0 and data["held-out"]["in_range"] == pytest.approx(1, abs=0.1)
    assert data["samples"]["nearest_bar"] > data["samples"]["bars_copied"] == 0
    assert found.lines[0].split() == ["samples", "held-out", "data"]
    shown = {line.split("  ")[0]: float(line[14:30]) for line in found.lines[1:-1]}
    assert shown["nearest bar"] == pytest.approx(data["samples"]["nearest_bar"], abs=1e-3)


def test_training_music_is_its_own_copy() -> None:
    pieces = [duet(k).window(0, 48) for k in range(4)]
    values = music_reports({"own": pieces}, pieces)["own"].values
    assert (values["nearest bar"], values["bars copied"], values["longest copy"]) == (0, 1, 4)
    assert values["chords"] == values["intervals"] == values["lengths"] == 0 and values["in range"] == 1


def test_ranges_are_those_that_voices_sing_in() -> None:
    pitches, onsets = painted([(0, 0, 4, 60), (0, 4, 4, 67), (2, 0, 8, 40)], 3, 8)
    assert voice_ranges([Grid(pitches=pitches, onsets=onsets)]) == [(60, 67), (1, 0), (40, 40)]


def test_labels_are_written_as_one_asks_for_them() -> None:
    assert label_of(torch.tensor([1.0, 0, 1]), ["a", "b", "c"]) == "a+c"
    assert label_of(torch.zeros(2), ["a", "b"]) is None


def test_chords_in_a_roll_are_measured_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = ("data.source.voices=0", "data.source.form=roll", "sample.sampler=ddim", "sample.guidance=1")
    run = trained(tmp_path / "songs", tmp_path / "run", *changes, preset="pixel")
    with pytest.raises(UserError, match="nothing sounds"):
        list(measure_run(run, "music", CPU, MeasureSettings(samples=2)))
    x = torch.cat([batch.x for batch in Subject(Store().open(run), MeasureSettings()).data.batches("train")])
    monkeypatch.setattr(SampleSet, "made", lambda samples, wishes: x[: len(wishes)])
    ((found, _),) = measure_run(run, "music", CPU, MeasureSettings(samples=4))
    assert found.data["real"] == 4 and found.data["held-out"]["in_range"] > 0.9
    assert found.data["samples"]["in_range"] == 1 and found.data["samples"]["bars_copied"] > 0


def test_other_runs_have_no_music(tmp_path: Path) -> None:
    quick = ("train.minutes=null", "train.steps=2", "preview.every=0", "data.points=200")
    for stage in plan("swissroll", "swissroll", tmp_path / "roll", quick).stages:
        list(Session(stage, CPU))
    with pytest.raises(UserError, match=r"is of music, and .* makes points"):
        list(measure_run(tmp_path / "roll", "music", CPU))
