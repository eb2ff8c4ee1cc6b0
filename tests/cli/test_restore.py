"""``carrara edit RUN restore``: pictures in, a sheet out, and a sentence for every mistake."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carrara.pixels import read_recipe
from tiny import TINY, Command


@pytest.fixture
def run(carrara: Command, photos: Path, tmp_path: Path) -> Path:
    code, said = carrara("train", photos, "--run", tmp_path / "run", *TINY, "train.steps=2", "data.held_out=0.3")
    assert code == 0, said
    return tmp_path / "run"


@pytest.mark.parametrize(
    "options",
    [
        ("upscale", "--factor", "2"),
        ("deblur", "--blur", "1.5", "--noise", "3", "--prompt", "red", "--guidance", "2"),
        ("colour", "--by", "dps"),
    ],
    ids=lambda options: options[0],
)
def test_held_out_pictures_are_spoilt_and_restored(carrara: Command, run: Path, options: tuple[str, ...]) -> None:
    code, said = carrara("edit", run, "restore", "--task", *options, "-n", "2", "--out", run / "out")
    assert code == 0, said
    assert "held-out-1-2.png" in {path.name for path in (run / "out").iterdir()}
    about = read_recipe(run / "out" / "sheet.png")["edit"]
    assert (about["verb"], about["spoilt"]["task"]) == ("restore", options[0])
    with Image.open(run / "out" / "held-out-1-1.png") as made:
        assert made.size == (8, 8)


def test_a_small_picture_becomes_large(carrara: Command, run: Path) -> None:
    Image.fromarray(np.full((4, 6, 3), 90, np.uint8)).save(run / "small.png")
    done = carrara(
        "edit", run, "restore", run / "small.png", "--task", "upscale", "--factor", "2", "--out", run / "out"
    )
    assert done[0] == 0, done[1]
    assert "the model knows pictures of 8x8, and these become 8x12" in done[1]
    with Image.open(run / "out" / "small-1.png") as made:
        assert made.size == (12, 8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--task", "sharpen"), "unknown task 'sharpen'"),
        (("--task", "upscale", "--factor", "3"), "a factor of 3 does not divide pictures of 8x8"),
        (("--task", "upscale", "--factor=-2"), "take 2 or more"),
        (("--task", "deblur", "--blur", "0"), "a blur has a positive width"),
        (("--task", "deblur", "--noise", "-1"), "noise -1 is none"),
        (("--task", "colour", "--by", "ddp"), "Did you mean 'dps'"),
        (("nowhere.png", "--task", "colour"), "no picture 'nowhere.png'"),
    ],
)
def test_mistakes(carrara: Command, run: Path, options: tuple[str, ...], words: str) -> None:
    before = sorted(run.rglob("*"))
    code, said = carrara("edit", run, "restore", *options)
    assert code == 2, said
    assert words in said
    assert "Traceback" not in said
    assert sorted(run.rglob("*")) == before
