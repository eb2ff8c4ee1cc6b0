"""``carrara edit RUN restore``: pictures in, a sheet out, and a sentence for every mistake."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carrara.pixels import fresh, read_recipe
from tiny import TINY, Command, awaken


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, trained when it is first needed."""
    return tmp_path_factory.mktemp("restore")


@pytest.fixture
def run(carrara: Command, photos: Path, made: Path) -> Path:
    folder = made / "run"
    if not folder.exists():
        photos = photos.rename(made / "photos")
        code, said = carrara("train", photos, "--run", folder, *TINY, "train.steps=1", "data.held_out=0.3")
        assert code == 0, said
        awaken(folder)
    return folder


@pytest.mark.parametrize(
    "options",
    [
        ("upscale", "--factor", "2"),
        ("deblur", "--blur", "1.5", "--noise", "3", "--prompt", "red", "--guidance", "2"),
        ("colour", "--by", "dps"),
    ],
    ids=lambda options: options[0],
)
def test_held_out_pictures_are_spoilt_and_restored(
    carrara: Command, run: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    code, said = carrara("edit", run, "restore", "--task", *options, "-n", "2", "--out", tmp_path / "out")
    assert code == 0, said
    assert "held-out-1-2.png" in {path.name for path in (tmp_path / "out").iterdir()}
    about = read_recipe(tmp_path / "out" / "sheet.png")["edit"]
    assert (about["verb"], about["task"]) == ("restore", options[0])
    with Image.open(tmp_path / "out" / "held-out-1-1.png") as made:
        assert made.size == (8, 8)
    code, said = carrara("replay", tmp_path / "out" / "sheet.png", "--run", run / "model")
    assert code == 0 and "every pixel is the same" in said, said


def test_every_option_counts(carrara: Command, run: Path, tmp_path: Path) -> None:
    """Each changes what comes out, and the same options give the same."""
    value = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(value).save(tmp_path / "a.png")
    usual = {"task": "deblur", "blur": 1.5, "noise": 3, "by": "pigdm", "steps": 3, "prompt": "red", "guidance": 2}

    def restored(**options: object) -> bytes:
        asked = [f"--{name}={value}" for name, value in (usual | options).items()]
        out = fresh(tmp_path / "out")
        code, said = carrara("edit", run, "restore", tmp_path / "a.png", *asked, "-n", "1", "--out", out)
        assert code == 0, said
        with Image.open(out / "a-1.png") as made:
            return made.tobytes()

    first = restored()
    assert restored() == first
    for option, other in (
        *(("task", "colour"), ("blur", 1.0), ("noise", 30), ("by", "dps"), ("steps", 4), ("prompt", "blue")),
        *(("guidance", 3), ("seed", 2), ("sampler", "ddpm"), ("grid", "quadratic"), ("size", 12), ("negative", "blue")),
    ):
        assert restored(**{option: other}) != first, f"--{option} counts"
    assert restored(task="upscale", factor=2) != restored(task="upscale", factor=3)


def test_a_small_picture_becomes_large(carrara: Command, run: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6, 3), 90, np.uint8)).save(tmp_path / "small.png")
    task = ("restore", "--task", "upscale", "--factor", "2")
    done = carrara("edit", run, *task, tmp_path / "small.png", "-n", "1", "--out", tmp_path / "out")
    assert done[0] == 0, done[1]
    assert "the model knows pictures of 8x8, and some become 8x12" in done[1]
    with Image.open(tmp_path / "out" / "small-1.png") as made:
        assert made.size == (12, 8)
    for size, words in (("8x6", "the model knows pictures of 8x8, and some become 16x12"), ("4", "")):
        code, said = carrara("edit", run, *task, tmp_path / "small.png", "--size", size, "-n", "1")
        assert code == 0 and words in said and ("the model knows" in said) == bool(words), said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--task", "sharpen"), "unknown task 'sharpen'"),
        (("--task", "upscale", "--factor", "3"), "a factor of 3 does not divide pictures of 8x8"),
        (("--task", "upscale", "--factor=-2"), "take 2 or more"),
        (("--task", "deblur", "--blur", "0"), "a blur has a positive width"),
        (("--task", "deblur", "--noise", "-1"), "noise -1 is none"),
        (("--task", "colour", "--by", "ddp"), "Did you mean 'dps'"),
        (("--task", "colour", "--size", "16"), "leave --size out"),
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
