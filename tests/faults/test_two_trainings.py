"""A second training in a run's folder is refused; whoever reads it is not."""

from pathlib import Path

from carrara.files.lock import LOCK, Lock
from tiny import TINY, Command


def test_a_second_training_is_refused_and_reading_is_not(carrara: Command, photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train = ("train", photos, "--run", run, *TINY, "train.steps=2")
    assert carrara(*train)[0] == 0
    assert not (run / LOCK).exists()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    first = Lock(run)
    code, said = carrara(*train[:-1], "train.steps=4")
    assert code == 2 and "works in" in said and "run the same command again" in said, said
    code, said = carrara("sample", run, "-n", "1", "--out", tmp_path / "out")
    assert code == 0, said
    assert carrara("inspect", run)[0] == 0
    first.release()
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before
    code, said = carrara(*train[:-1], "train.steps=4")
    assert code == 0 and "going on from step 2" in said, said
