"""Space on the disk is counted before the first step of a training."""

from pathlib import Path

TINY = ("train", "swissroll", "train.steps=2", "data.points=100", "model.backbone.width=8", "model.backbone.depth=1")
TINY += ("preview.count=2", "sample.steps=2", "train.batch=4", "train.compile=false", "checkpoint.keep=3")


def test_a_run_without_room_is_refused_before_its_first_step(tmp_path: Path, carrara, monkeypatch):
    monkeypatch.setattr("carrara.files.writing.free_space", lambda _: 100_000)
    code, said = carrara(*TINY, "--run", tmp_path / "run")
    assert code == 2
    last = said.splitlines()[-1]
    assert "this run needs about 1." in last and "97.7 KiB are free" in last
    assert "lower checkpoint.keep, which is 3" in last and "--run FOLDER" in last
    assert not (tmp_path / "run/checkpoints").exists() and not (tmp_path / "run/log.jsonl").exists()
    monkeypatch.undo()
    assert carrara(*TINY, "--run", tmp_path / "run")[0] == 0


def test_what_is_counted_is_enough_and_not_much_more(tmp_path: Path, carrara, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr("carrara.run.space.check_room", lambda path, needed, *_: asked.append(needed))
    wide = ["model.backbone.width=256", "checkpoint.every=1", "train.steps=4", "preview.best=loss", "preview.every=1"]
    assert carrara(*TINY, *wide, "preview.held_out=4", "--run", tmp_path / "run")[0] == 0
    size = sum(path.stat().st_size for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert size <= asked[0] <= 2 * size + (1 << 20)


def test_a_finished_run_needs_no_room(tmp_path: Path, carrara, monkeypatch):
    assert carrara(*TINY, "--run", tmp_path / "run")[0] == 0
    monkeypatch.setattr("carrara.files.writing.free_space", lambda _: 0)
    assert carrara(*TINY, "--run", tmp_path / "run")[0] == 0


def test_a_dry_run_says_what_is_needed_and_free(tmp_path: Path, carrara):
    code, said = carrara(*TINY, "--dry-run", "--run", tmp_path / "run")
    assert code == 0 and "disk        1." in said and "are free" in said and not (tmp_path / "run").exists()
