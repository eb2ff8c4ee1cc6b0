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
