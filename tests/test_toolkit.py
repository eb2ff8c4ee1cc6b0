"""The front door in Python: it gives what the command gives, and what it is told wrong it answers in a sentence."""

import copy
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import carrara as package
from carrara.backbone import MlpConfig
from carrara.cli import main
from carrara.draw import VERBS, Progress
from carrara.errors import UserError
from carrara.model import ModelConfig
from carrara.noise import Cosine, V
from carrara.pixels import read_recipe
from carrara.store import OpenModel
from carrara.toolkit import Toolkit
from drawings import awake
from small_models import saved
from tiny import TINY, Command

QUICK = ("objective.trajectories=8", "objective.solver=4", "train.steps=2", "train.batch=4", "preview.every=0")


def array(path: Path | str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def same(images: Sequence[Image.Image], paths: Sequence[Path]) -> bool:
    return len(images) == len(paths) and all(
        np.array_equal(np.asarray(image), array(path)) for image, path in zip(images, paths, strict=True)
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models, by their kinds."""
    folder = tmp_path_factory.mktemp("runs")
    for kind in ("pixels", "latents", "autoencoder", "vae"):
        saved(kind, folder / kind)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where two pictures and a mask are."""
    monkeypatch.chdir(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
    Image.fromarray(picture).save("a.png")
    Image.fromarray(picture[::-1].copy()).save("b.png")
    Image.fromarray((np.indices((10, 12)).sum(0) < 8).astype(np.uint8) * 255).save("mask.png")
    return tmp_path


@pytest.fixture
def model(runs: Path) -> Toolkit:
    return package.load(runs / "pixels")


def test_samples_are_those_of_the_command(carrara: Command, runs: Path, here: Path, model: Toolkit) -> None:
    asked = ["--guidance", 2, "--seed", 5, "--steps", 2, "--size", "8x12", "--sampler", "ddim", "--clip"]
    assert carrara("sample", runs / "pixels", "cat", "dog", "-n", 2, *asked, "--out", "out")[0] == 0
    said: dict[str, Any] = {"guidance": 2.0, "seed": 5, "steps": 2, "size": "8x12", "sampler": "ddim", "clip": True}
    pictures = model.generate("cat", "dog", count=2, **said)
    assert same(pictures, sorted(Path("out").glob("0*.png")))
    assert len(model.generate("cat", **said)) == 1
    samples = model.samples("cat", "dog", count=2, **said)
    assert samples.shape == (4, 3, 8, 12)
    assert torch.equal(model.samples(prompt="cat", count=2, **said), samples[:2])
    assert model.samples(count=3).shape == (3, 3, 8, 8), "each class in turn"


def test_steps_can_be_watched_and_cancelled(model: Toolkit, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = list(model.steps("cat", "dog", count=1, steps=3))
    assert [(at.step.index, at.step.total) for at in steps] == [(0, 3), (1, 3), (2, 3)]
    assert [at.pixels is None for at in steps] == [True, True, False]
    assert torch.equal(steps[-1].pixels, model.samples("cat", "dog", count=1, steps=3))

    asked, forward = [], type(model.model.denoiser).forward

    def noted(self: Any, *given: Any) -> Any:
        asked.append(self)
        return forward(self, *given)

    monkeypatch.setattr(type(model.model.denoiser), "forward", noted)
    watched = model.steps("cat", count=1, steps=100)
    assert next(watched).step.index == 0
    del watched
    edit = model.edit.img2img.steps(np.zeros((8, 8, 3), np.uint8), prompt="cat", steps=100, count=1)
    assert isinstance(next(edit), Progress)
    edit.close()
    assert len(asked) == 2, "nothing more is computed than was asked for"


Edits = dict[str, tuple[str, list[str], tuple[str, ...], dict[str, Any]]]
EDITS: Edits = {
    "inpaint": (
        "latents",
        ["a.png", "--mask", "mask.png", "--prompt", "cat", "--guidance", "2", "--resamplings", "2", "-n", "2"],
        ("a.png",),
        {"mask": "mask.png", "prompt": "cat", "guidance": 2.0, "resamplings": 2, "count": 2},
    ),
    "img2img": (
        "pixels",
        ["a.png", "b.png", "--strength", "0.7", "--prompt", "dog", "--seed", "4", "-n", "2"],
        ("a.png", "b.png"),
        {"strength": 0.7, "prompt": "dog", "seed": 4, "count": 2},
    ),
    "invert": (
        "pixels",
        ["a.png", "--steps", "4", "--refinements", "1"],
        ("a.png",),
        {"steps": 4, "refinements": 1},
    ),
    "interpolate": (
        "pixels",
        ["--prompt", "cat", "--to", "dog", "--frames", "3", "--steps", "4", "--seed", "2"],
        (),
        {"prompt": "cat", "to": "dog", "frames": 3, "steps": 4, "seed": 2},
    ),
    "reconstruct": ("autoencoder", ["a.png", "b.png"], ("a.png", "b.png"), {}),
    "traverse": ("vae", ["--steps", "3"], (), {"steps": 3}),
}
"""For each verb: the kind of model, what the command is told, and what Python is."""


@pytest.mark.parametrize("verb", EDITS)
def test_edits_are_those_of_the_command(carrara: Command, runs: Path, here: Path, verb: str) -> None:
    kind, arguments, pictures, said = EDITS[verb]
    code, text = carrara("edit", runs / kind, verb, *arguments, "--out", "out")
    assert code == 0, text
    model, results = package.load(runs / kind), sorted(Path("out").glob("*.png"))
    paths = [path for path in results if path.stem != "sheet"]
    edit = getattr(model.edit, verb)
    assert same(edit(*pictures, **said).images, paths), "by paths"

    def given(of: Any) -> tuple[list[Any], dict[str, Any]]:
        return [of(path) for path in pictures], {k: of(v) if k == "mask" else v for k, v in said.items()}

    for of in (Path, Image.open, array):
        others, options = given(of)
        assert same(edit(*others, **options).images, paths), f"by {of.__name__}"
    if "mask" in said:
        assert same(edit(*pictures, **{**said, "mask": array("mask.png") > 0}).images, paths), "by true and false"
    made = edit(*pictures, **said).save(model.opened, Path("again"))
    assert {path.name for path in made} == {path.name for path in Path("out").iterdir()}
    assert all(read_recipe(Path("again") / path.name) == read_recipe(path) for path in results)


def test_pictures_of_any_kind_are_what_their_files_are(carrara: Command, runs: Path, here: Path) -> None:
    """Turned as EXIF says, palettes and grey as colours, transparency over white."""
    model, colours = package.load(runs / "autoencoder"), Image.open("a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    colours.save("turned.png", exif=exif)
    for name, image in {
        "palette": colours.quantize(4),
        "grey": colours.convert("L"),
        "two": colours.convert("1"),
        "clear": Image.merge("RGBA", [*colours.split(), Image.open("mask.png")]),
        "deep": Image.fromarray(np.arange(120, dtype=np.uint16).reshape(10, 12) * 500),
    }.items():
        image.save(f"{name}.png")
    for name in ("turned", "palette", "grey", "two", "clear", "deep"):
        (by_path,), (by_image,) = (model.edit.reconstruct(of(f"{name}.png")).images for of in (str, Image.open))
        assert np.array_equal(np.asarray(by_path), np.asarray(by_image)), name
    assert by_path.size == (12, 10) and model.edit.reconstruct("turned.png").images[0].size == (10, 12)
    (whole,), (parts,) = (
        model.edit.reconstruct(of).images for of in (array("a.png"), array("a.png").astype(np.float64) / 255)
    )
    assert np.abs(np.asarray(whole, int) - np.asarray(parts, int)).max() <= 1
    for wrong in (np.zeros((8, 8, 3), np.int64), np.full((8, 8, 3), 2.0), np.zeros(8), None):
        with pytest.raises(UserError, match="this cannot be used as a picture"):
            model.edit.reconstruct(wrong)


def test_unknown_options_and_verbs(model: Toolkit) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    for told, words in {
        partial(model.generate, "cat", stps=3): "unknown option 'stps': .*Did you mean 'steps'",
        partial(model.samples, "cat", guidence=3): "Did you mean 'guidance'",
        partial(model.edit.img2img, picture, strenght=0.5): "Did you mean 'strength'",
        partial(model.edit.inpaint, picture, bocks="0,0,4,4"): "Did you mean 'box'",
        partial(model.evaluate, "nll", sample=3): "Did you mean 'samples'",
        partial(model.evaluate, "nl"): "unknown metric 'nl': .*Did you mean 'nll'",
        partial(getattr, model.edit, "inpiant"): "unknown edit 'inpiant': .*Did you mean 'inpaint'",
        partial(model.edit.inpaint): "inpaint takes PICTURE mask=PICTURE, and 0 are given",
        partial(model.edit.variation, picture, picture): "variation takes PICTURE, and 2 are given",
        partial(model.edit.traverse, picture): "traverse takes no picture, and 1 are given",
        partial(model.edit.restore, picture): "cannot be done without task",
        partial(model.edit.invert, picture, seed=3): "invert takes no seed",
        partial(model.edit.inpaint, picture): "by mask=PICTURE or by box=x,y,w,h",
        partial(model.edit.img2img, "nowhere.png"): "there is no picture 'nowhere.png'",
        partial(model.generate, "cat", steps=2.5): "steps cannot be 2.5",
        partial(model.edit.inpaint, picture, box=(0, 0, 4, 4)): "box cannot be",
        partial(model.edit.restore, picture, task="sharpen"): "unknown task 'sharpen'",
        partial(model.generate, "cow"): "unknown label 'cow'",
        partial(model.generate, "cat", count=0): "0 samples are none",
        partial(model.distill, run="elsewhere"): "leave run out, or say how many steps",
    }.items():
        with pytest.raises(UserError, match=words) as error:
            told()
        assert "\n" not in str(error.value) and "--" not in str(error.value)


def test_pictures_may_be_named(here: Path, model: Toolkit) -> None:
    said: dict[str, Any] = {"count": 1, "prompt": "cat"}
    one, two = model.edit.variation("a.png", **said), model.edit.variation(image="a.png", **said)
    assert np.array_equal(np.asarray(one.images[0]), np.asarray(two.images[0]))
    assert len(model.edit.img2img(images=["a.png", "b.png"], **said).images) == 2


def test_an_editor_lists_its_verbs_and_can_be_copied(model: Toolkit) -> None:
    assert set(dir(model.edit)) == set(VERBS)
    assert copy.copy(model.edit).opened is model.opened
    assert not hasattr(model.edit, "__array_interface__")


def test_points_are_no_pictures(tmp_path: Path) -> None:
    config = ModelConfig(shape=(2,), backbone=MlpConfig(width=8, depth=1), schedule=Cosine(), parameterization=V())
    model = Toolkit(OpenModel(model=awake(config)))
    assert model.samples(count=3, steps=2).shape == (3, 2)
    with pytest.raises(UserError, match=r"not pictures: call samples\(\)"):
        model.generate(count=1, steps=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained for no time on random pictures."""
    folder, rng = tmp_path_factory.mktemp("trained"), np.random.default_rng(0)
    for k in range(16):
        path = folder / "photos" / ("red" if k % 2 else "blue") / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    brief = [*TINY, "preview.every=0", "train.steps=2", "data.held_out=0.3"]
    with pytest.raises(SystemExit, match="0"):
        main(["train", str(folder / "photos"), "--run", str(folder / "run"), *brief])
    return folder / "run"


def test_evaluate_measures_what_the_command_does(carrara: Command, trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    found = package.load(run).evaluate()
    assert list(found) == ["nll"] and (run / "evaluation" / "nll.json").is_file()
    mine = (run / "evaluation" / "nll.json").read_text()
    code, said = carrara("evaluate", run, "--metrics", "nll")
    assert code == 0 and (run / "evaluation" / "nll.json").read_text() == mine
    assert found["nll"].lines and found["nll"].lines[0] in said


def test_distill_makes_a_model_of_few_steps(trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    model = package.load(run)
    for event in model.distilling(*QUICK, steps=2):
        assert event is not None
        break  # cancelled at once; what was begun goes on below
    fast = model.distill(*QUICK, steps=2)
    assert fast.opened.folder == tmp_path / "run-2-steps"
    assert fast.model.few_steps == 2
    assert [at.step.total for at in fast.steps("red", count=1)] == [2, 2]
    other = model.distill(*QUICK, steps=2, run=tmp_path / "other")
    assert other.opened.folder == tmp_path / "other"
    assert torch.equal(other.samples("red", count=2), fast.samples("red", count=2))
    with pytest.raises(UserError, match="takes 2 steps already"):
        fast.distill(steps=2)


def test_distill_makes_a_decoder_that_is_used_from_then_on(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = "model.first_stage={kind: kl, channels: 8, multipliers: [1, 1], blocks: 1}"
    monkeypatch.chdir(tmp_path)
    brief = [small, "data.size=8", "train.steps=1", "train.batch=4", "train.precision=float32", "preview.every=0"]
    with pytest.raises(SystemExit, match="0"):
        main(["train", str(trained.parent / "photos"), "--preset", "autoencoder-kl-f4", "--run", "stage", *brief])
    model = package.load("stage")
    assert model.model.fast is None
    faster = model.distill("train.steps=1", "train.batch=4", "preview.every=0")
    assert faster.model.fast is not None and model.model.fast is None
    assert package.load("stage").model.fast is not None
