"""Classifiers through the command: trained, guiding an unconditional model, and refused where they do not fit."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from carrara.pixels import read_recipe
from tiny import TINY, Command

UNET = "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [1], head_width: 8}"
CARRIED = ("model.schedule=cosine", "model.parameterization=v", "sample.grid=uniform")
"""By a network that knows nothing yet what is drawn follows from x_t all the same, and so from guidance."""
BRIEF = ("train.batch=4", "train.precision=float32", "train.steps=2", "preview.every=2", UNET)


@pytest.fixture
def run(carrara: Command, photos: Path, tmp_path: Path) -> Path:
    """An unconditional model, and beside it a classifier, ``judge``."""
    folder = tmp_path / "run"
    code, said = carrara("train", photos, "--run", folder, *TINY, "train.steps=2", "model.conditioner=none", *CARRIED)
    assert code == 0, said
    code, said = carrara("train", photos, "--preset", "classifier", "--run", tmp_path / "judge", "data.size=8", *BRIEF)
    assert code == 0, said
    assert "right, from little noise to much" in " ".join(said.split())
    assert "--classifier" in said
    return folder


def test_a_classifier_guides_and_pictures_carry_it(
    carrara: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = run.parent / "judge"
    code, said = carrara("sample", run, "-n", "2", "--classifier", judge, "--class", "red", "--classifier-scale", "3")
    assert code == 0, said
    picture = run / "samples" / "sample" / "0001.png"
    found = read_recipe(picture)["request"]["guide"]
    assert (found["run"], found["name"], found["scale"]) == (str(judge), "red", 3.0)
    code, said = carrara("replay", picture)
    assert code == 2 and "was made by a classifier in" in said and "begin in a folder above it" in said
    monkeypatch.chdir(run.parent)
    code, said = carrara("replay", picture)
    assert code == 0 and "every pixel is the same" in said
    code, said = carrara("train", "--run", judge)
    assert code == 0, said


def test_a_classifier_guides_what_is_drawn_over_pictures(carrara: Command, run: Path, photos: Path) -> None:
    """Each verb goes another way to it; a scale so large that even two steps of training show in the result."""
    picture, judged = photos / "red" / "0.png", ("--classifier", run.parent / "judge", "--class", "red")
    for verb, *how in (("img2img",), ("inpaint", "--box", "0,0,4,4"), ("restore", "--task", "colour")):
        made = []
        for name, options in (("plain", ()), ("judged", (*judged, "--classifier-scale", "1000"))):
            out = run.parent / f"{verb}-{name}"
            code, said = carrara("edit", run, verb, picture, *how, "-n", "1", "--out", out, "--size", "8", *options)
            assert code == 0, said
            made.append(out / "0-1.png")
        assert read_recipe(made[1])["request"]["guide"]["name"] == "red"
        with Image.open(made[0]) as plain, Image.open(made[1]) as guided:
            assert not np.array_equal(np.asarray(plain), np.asarray(guided)), verb
    for verb in ("img2img", "invert"):
        code, said = carrara("edit", run, verb, picture, "--class", "red")
        assert code == 2 and ("who shall find 'red'?" if verb == "img2img" else "--class") in said, said


def test_mistakes(carrara: Command, run: Path, photos: Path, tmp_path: Path) -> None:
    judge, other = run.parent / "judge", tmp_path / "other"
    code, said = carrara("train", photos, "--preset", "classifier", "--run", other, "data.size=12", *BRIEF)
    assert code == 0, said
    for arguments, words in (
        (("sample", run, "--classifier", judge), "what shall the classifier find? Say --class and one of blue, red"),
        (("sample", run, "--classifier", judge, "--class", "rad"), "unknown class 'rad'"),
        (("sample", run, "--class", "red"), "who shall find 'red'?"),
        (("sample", run, "--classifier", run, "--class", "red"), "holds no classifier"),
        (("sample", run, "--classifier", other, "--class", "red"), "its shape is another one"),
        (("sample", judge), "holds a classifier, which guides other models"),
        (("train", photos, "--preset", "classifier", "--run", tmp_path / "n", "model.backbone=dit"), "model.backbone"),
    ):
        code, said = carrara(*arguments)
        assert code == 2, said
        assert words in said
        assert "Traceback" not in said


def test_a_classifier_is_of_the_size_of_the_model_that_it_will_guide(
    carrara: Command, run: Path, photos: Path, tmp_path: Path
) -> None:
    named = ("--preset", "classifier", f"model.first_stage={{kind: trained, run: {run}}}")
    code, said = carrara("train", photos, "--run", tmp_path / "for", *named, *BRIEF)
    assert code == 0, said
    assert f"size 8x8: that of the pictures of '{run}'" in " ".join(said.split())
    judged = ("--classifier", tmp_path / "for", "--class", "red")
    code, said = carrara("sample", run, "-n", "1", *judged)
    assert code == 0, said
    code, said = carrara("train", photos, "--run", tmp_path / "n", *named, "data.size=12", *BRIEF)
    assert code == 2 and "draws pictures of 8x8, and data.size is 12x12" in said, said


def test_data_without_labels_are_refused(carrara: Command, photos: Path, tmp_path: Path) -> None:
    code, said = carrara("train", photos / "red", "--preset", "classifier", "--run", tmp_path / "n")
    assert code == 2
    assert "the data has none: make one sub-folder per class" in said


def test_the_recipe_of_a_classifier_is_complete(run: Path) -> None:
    recipe = yaml.safe_load((run.parent / "judge" / "recipe.yaml").read_text())
    assert recipe["objective"] == {"kind": "classification"}
    assert recipe["model"]["conditioner"]["classes"] == ["blue", "red"]
