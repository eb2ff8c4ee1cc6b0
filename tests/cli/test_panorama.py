"""Pictures of other sizes, through the command."""

from pathlib import Path

from PIL import Image

from carrara.pixels import read_recipe
from tiny import TINY, Command


def test_a_panorama_is_made_and_made_again(carrara: Command, photos: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    made = carrara("train", photos, "--run", run, *TINY, "train.steps=1")
    assert made[0] == 0, made[1]
    made = carrara("sample", run, "red", "-n", 2, "--size", "8x20", "--tile", "8", "--strip", "--out", out)
    assert made[0] == 0, made[1]
    with Image.open(out / "0001.png") as picture:
        assert picture.size == (20, 8)
    about = read_recipe(out / "0001.png")["request"]
    assert (about["size"], about["tile"]) == ([8, 20], [8, 8])
    for name in ("0001.png", "grid.png", "strip.png"):
        code, said = carrara("replay", out / name, "--run", run)
        assert code == 0, said
        assert "every pixel is the same" in said


def test_what_is_no_size_is_told(carrara: Command, tmp_path: Path) -> None:
    small = ("train.batch=4", "data.points=40", "preview.count=4", "preview.held_out=4", "sample.steps=2")
    made = carrara("train", "swissroll", "--run", tmp_path, "--preset", "swissroll", "train.steps=1", *small)
    assert made[0] == 0, made[1]
    for option, words in (("8y8", "'8y8' is no size"), ("8x8", "points, which have no size")):
        code, said = carrara("sample", tmp_path, "--size", option)
        assert code == 2
        assert words in said
