"""Edits of pictures: what their files say of them is enough to make them again."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carrara.draw.records import Record
from carrara.draw.replay import open_again
from carrara.pixels import read_recipe, save_png
from carrara.saved import Saved
from carrara.store import Store
from carrara.store import opened as store_opened
from small_models import saved
from tiny import Command


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


VERBS: dict[str, tuple[str, list[str]]] = {
    "img2img": ("pixels", ["a.png", "a.png", "--strength", "0.7", "--prompt", "dog", "--guidance", "3", "-n", "2"]),
    "variation": ("latents", ["a.png", "--size", "8x12", "--sampler", "ddpm", "-n", "2", "--seed", "7"]),
    "upscale": ("lowres", ["a.png", "--noise", "0.25", "-n", "1"]),
    "map": ("map", ["a.png", "-n", "1"]),
    "restore": ("pixels", ["a.png", "--task", "deblur", "--blur", "1.5", "--noise", "3", "-n", "1"]),
    "inpaint": ("latents", ["a.png", "--mask", "mask.png", "--resamplings", "2", "--sampler", "ddim", "-n", "1"]),
    "inpaint by a model for it": ("masked", ["a.png", "--box", "2,2,4,4", "-n", "1"]),
    "outpaint": ("pixels", ["a.png", "--margins", "0,3,1,0", "--resamplings", "2", "--jump", "2", "-n", "1"]),
    "outpaint on a canvas": ("pixels", ["a.png", "--canvas", "14x16", "--resamplings", "1", "-n", "1"]),
    "invert": ("pixels", ["a.png", "--strength", "0.7", "--refinements", "1", "--steps", "4"]),
    "rewrite": ("pixels", ["a.png", "--source", "cat", "--prompt", "dog", "--refinements", "0", "--steps", "4"]),
    "interpolate": ("pixels", ["--prompt", "cat", "--to", "dog", "--seed", "3", "--frames", "3"]),
    "interpolate from seed to seed": ("pixels", ["--to-seed", "3", "--frames", "2", "--steps", "4"]),
    "interpolate from picture to picture": ("pixels", ["a.png", "b.png", "--refinements", "1", "--frames", "2"]),
    "interpolate in an autoencoder": ("autoencoder", ["a.png", "b.png", "--frames", "3"]),
    "reconstruct": ("autoencoder", ["a.png", "b.png"]),
    "traverse": ("vae", ["--steps", "3", "--layer", "1"]),
}
"""For each: the kind of model, and what it is asked."""


@pytest.mark.parametrize("case", VERBS)
def test_an_edit_is_made_again_from_its_record(
    carrara: Command, photo: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.asarray(Image.open(photo))[::-1].copy()).save("b.png")
    Image.fromarray((np.indices((10, 12)).sum(0) < 8).astype(np.uint8) * 255).save("mask.png")
    kind, arguments = VERBS[case]
    run = saved(kind, tmp_path / "run")
    code, said = carrara("edit", run, case.split()[0], *arguments, "--out", "out")
    assert code == 0, said
    for made in sorted(Path("out").glob("*.png")):
        code, said = carrara("replay", made, "--out", Path("again") / made.name)
        assert code == 0 and "every pixel is the same" in said, said
        assert Path("again", made.name).read_bytes() == made.read_bytes()
    assert str(tmp_path) not in json.dumps(read_recipe(made) | {"run": ""})


def test_a_record_says_what_ran(carrara: Command, photo: Path, tmp_path: Path) -> None:
    """The sampler is the one that drew, and what was left open is said as it was chosen."""
    latents, pixels = saved("latents", tmp_path / "latents"), saved("pixels", tmp_path / "pixels")
    quick = ("--steps", 4, "--refinements", 1, "--out")
    assert carrara("edit", pixels, "invert", photo, *quick, tmp_path / "there")[0] == 0
    assert carrara("edit", latents, "inpaint", photo, "--box", "2,2,4,4", "-n", 1, "--out", tmp_path / "new")[0] == 0
    file = {"file": "a.png", "sha256": hashlib.sha256(photo.read_bytes()).hexdigest()}
    there, new = read_recipe(tmp_path / "there" / "sheet.png"), read_recipe(tmp_path / "new" / "a-1.png")
    assert there["edit"] == {"verb": "invert", "images": [file], "strength": 1.0, "refinements": 1}
    assert there["request"]["settings"]["sampler"] == {"kind": "ddim", "eta": 0.0}
    how = {"resamplings": 10, "jump": 1, "feather": 2}
    assert new["edit"] == {"verb": "inpaint", "image": file, "box": "2,2,4,4", **how}
    assert new["request"]["settings"]["sampler"] == {"kind": "ddim", "eta": 1.0}
    assert (new["row"], new["column"]) == (1, 1)
    code, said = carrara("inspect", tmp_path / "new" / "a-1.png")
    assert code == 0, said
    for line in (f"image        a.png, SHA-256 {file['sha256']}", "sampler      ddim (eta 1.0)", "resamplings  10"):
        assert line in said
    for line in ("feather      2", "seeds        0", f"run          {latents}"):
        assert line in said


def test_an_edit_of_another_picture_is_not_made_again(
    carrara: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = saved("pixels", tmp_path / "run")
    assert carrara("edit", run, "img2img", photo, "-n", 1, "--out", tmp_path / "out")[0] == 0
    made = tmp_path / "out" / "a-1.png"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, said = carrara("replay", made)
    assert code == 2 and "lies neither below this folder nor beside the picture: name it with --run" in said
    code, said = carrara("replay", made, "--run", run)
    assert code == 2 and "the picture 'a.png' is not in '.': say where it is, as in --pictures" in said
    assert carrara("replay", made, "--run", run, "--pictures", tmp_path)[0] == 0
    Image.new("RGB", (12, 10)).save("a.png")
    code, said = carrara("replay", made, "--run", run)
    assert code == 2 and "'a.png' is another picture" in said
    save_png(Image.new("L", (8, 8)), tmp_path / "old.png", read_recipe(made) | {"edit": {"verb": "img2img"}})
    code, said = carrara("replay", tmp_path / "old.png", "--run", run)
    assert code == 2 and "only samples and edits can be replayed" in said
    code, said = carrara("inspect", photo)
    assert code == 2 and "carries no recipe" in said


def test_pictures_of_one_name_are_found_in_folders_within(carrara: Command, tmp_path: Path) -> None:
    run = saved("autoencoder", tmp_path / "run")
    ends = [tmp_path / "photos [1]" / name / "a.png" for name in ("dogs", "cats")]
    for path, value in zip(ends, (40, 200), strict=True):
        path.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8), (value, 90, 90)).save(path)
    assert carrara("edit", run, "interpolate", *ends, "--out", tmp_path / "out")[0] == 0
    code, said = carrara(
        "replay", tmp_path / "out" / "interpolation.png", "--run", run, "--pictures", tmp_path / "photos [1]"
    )
    assert code == 0 and "every pixel is the same" in said, said


@pytest.mark.parametrize(
    "damage",
    [
        {"edit": {}},
        {"edit": None},
        {"edit": {"verb": "unheard of"}},
        {"edit": {"verb": "restore", "images": [], "spoilt": {"task": "deblur", "strength": 2}}},
        {"edit": {"verb": "inpaint", "image": {"name": "a.png"}}},
        {"edit": {"verb": "inpaint", "how": {"resamplings": 0}}},
        {"edit": {"verb": "img2img", "images": ["a.png"], "strength": 0.6}},
        {"row": 2},
        {"column": "1"},
        {"request": None},
        {"weights": None, "run": None},
    ],
    ids=str,
)
def test_a_record_of_another_version_is_refused_in_a_sentence(
    carrara: Command, photo: Path, tmp_path: Path, damage: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = saved("pixels", tmp_path / "run")
    assert carrara("edit", run, "img2img", photo, "-n", 1, "--out", "out")[0] == 0
    save_png(Image.new("RGB", (8, 8)), Path("old.png"), read_recipe(Path("out/a-1.png")) | damage)
    code, said = carrara("replay", "old.png")
    assert code == 2 and "another kind or version" in said and "Traceback" not in said, said


@pytest.mark.parametrize(
    "damage", [{"result": 3}, {"result": None}, {"edit": {"verb": "sharpen", "images": []}}], ids=str
)
def test_a_record_of_another_autoencoder_version_is_refused_in_a_sentence(
    carrara: Command, photo: Path, tmp_path: Path, damage: dict[str, object]
) -> None:
    run = saved("autoencoder", tmp_path / "run")
    assert carrara("edit", run, "reconstruct", photo, "--out", tmp_path / "out")[0] == 0
    save_png(Image.new("RGB", (8, 8)), tmp_path / "old.png", read_recipe(tmp_path / "out" / "a.png") | damage)
    code, said = carrara("replay", tmp_path / "old.png", "--pictures", tmp_path)
    assert code == 2 and "another kind or version" in said and "Traceback" not in said, said


def test_a_replay_draws_where_edits_and_samples_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = saved("pixels", tmp_path / "run")
    monkeypatch.setattr(store_opened, "default_device", lambda: torch.device("meta"))
    monkeypatch.setattr(Saved, "digest", lambda _: "none there")
    about = Record(run=str(run), weights="none there")
    assert open_again(tmp_path / "a.png", about, Store(), None).model.device.type == "meta"
