"""A run that goes on with other data than it began with says so, once, and goes on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiny import TINY, Command

SENTENCE = "the data are not those of step 2"


@pytest.fixture
def run(carrara: Command, photos: Path, tmp_path: Path) -> Path:
    code, said = carrara("train", photos, "--run", tmp_path / "run", *TINY, "train.steps=2")
    assert code == 0, said
    return tmp_path / "run"


def test_the_same_data_are_no_news(carrara: Command, run: Path) -> None:
    code, said = carrara("train", "--run", run, "train.steps=3")
    assert code == 0 and "the data are not" not in said, said


def test_a_picture_that_is_new_or_another_one_is_told(carrara: Command, photos: Path, run: Path) -> None:
    picture = sorted(photos.rglob("*.png"))[0]
    Image.fromarray(np.full((12, 12, 3), 200, np.uint8)).save(picture.with_name("new.png"))
    code, said = carrara("train", "--run", run, "train.steps=3")
    assert code == 0 and SENTENCE in said, said
    code, said = carrara("train", "--run", run, "train.steps=4")
    assert code == 0 and "the data are not" not in said, "from step 3 on they are"


def added(photos: Path, name: str = "new.png", level: int = 200) -> Path:
    """A picture that was not there, beside the first one."""
    path = sorted(photos.rglob("*.png"))[0].parent / name
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((12, 12, 3), level, np.uint8)).save(path)
    return path


def test_what_is_new_gone_renamed_and_changed_is_counted(carrara: Command, photos: Path, run: Path) -> None:
    gone, renamed, changed, *_ = sorted(photos.rglob("*.png"))
    added(photos)
    gone.unlink()
    renamed.rename(renamed.with_name("renamed.png"))
    Image.fromarray(np.full((12, 12, 3), 9, np.uint8)).save(changed)
    code, said = carrara("train", "--run", run, "train.steps=3")
    assert code == 0 and ": 1 new, 1 gone, 1 renamed, 1 changed)" in said, said


def test_the_list_of_before_can_be_taken(carrara: Command, photos: Path, run: Path) -> None:
    before = (run / "pictures" / "step-0.csv").read_text().splitlines()
    assert before[0] == "file_name,content" and len(before) == 1 + len(list(photos.rglob("*.png")))
    picture = added(photos)
    code, said = carrara("train", "--run", run, "train.steps=3", f"data.source.only={run}/pictures/step-0.csv")
    assert code == 0 and SENTENCE not in said, said
    assert not (run / "pictures" / "step-2.csv").exists()
    code, said = carrara("train", "--run", run, "train.steps=4")
    assert code == 0 and SENTENCE not in said, "the run has kept what it was told"
    code, said = carrara("train", "--run", run, "train.steps=5", "data.source.only=all")
    assert code == 0 and "the data are not those of step 4" in said and "1 new" in said, said
    assert picture.name in (run / "pictures" / "step-4.csv").read_text()


def test_a_new_class_is_refused_and_the_list_of_before_is_named(carrara: Command, photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "labelled"
    code, said = carrara("train", photos, "--run", run, *TINY, "train.steps=2", "model.conditioner=labels")
    assert code == 0, said
    added(photos, "../a new class/x.png")
    code, said = carrara("train", "--run", run, "train.steps=3")
    assert code == 2 and f"data.source.only={run}/pictures/step-0.csv goes on with the pictures of before" in said, said
    code, said = carrara("train", "--run", run, "train.steps=3", f"data.source.only={run}/pictures/step-0.csv")
    assert code == 0, said


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("none.txt", "", "lists no pictures"),
        ("other.txt", "x.png\ny.png\n", "has no picture of the folder: data.source.only=all takes all"),
        ("other.csv", "file_name\nx.png\n", "has no picture of the folder"),
    ],
)
def test_a_list_of_nothing_is_refused(
    name: str, text: str, why: str, carrara: Command, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    code, said = carrara("train", photos, "--dry-run", *TINY, f"data.source.only={tmp_path / name}")
    assert code == 2 and why in said, said


def test_anybody_can_make_a_list(carrara: Command, photos: Path, tmp_path: Path) -> None:
    names = [path.relative_to(photos).as_posix() for path in sorted(photos.rglob("*.png"))]
    (tmp_path / "some.txt").write_text("\n".join([*names[:-1], "gone.png"]))
    code, said = carrara("train", photos, "--dry-run", *TINY, f"data.source.only={tmp_path / 'some.txt'}")
    assert code == 0 and "and not 1 other; 1 of the list are not there" in said, said
