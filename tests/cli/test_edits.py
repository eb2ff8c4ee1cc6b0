"""``carrara edit RUN VERB``: pictures in, pictures and a sheet out; and a sentence for each mistake."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carrara.pixels import read_recipe
from tiny import TINY, Command, awaken


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, trained when it is first needed, that no test changes."""
    return tmp_path_factory.mktemp("edits")


@pytest.fixture
def run(carrara: Command, photos: Path, made: Path) -> Path:
    folder = made / "run"
    if not folder.exists():
        code, said = carrara(
            "train", photos, "--run", folder, *TINY, "train.steps=1", "sample.steps=3", "sample.grid=uniform"
        )
        assert code == 0, said
    return folder


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures and masks, good and bad."""
    monkeypatch.chdir(tmp_path)
    value = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
    Image.fromarray(value).save("a.png")
    mask = np.zeros((10, 12), np.uint8)
    mask[2:6, 4:9] = 255
    Image.fromarray(mask).save("mask.png")
    Image.fromarray(mask[:, :, None] * np.array([0, 0, 0, 1], np.uint8)).save("strokes.png")
    Image.fromarray(mask[:8, :8]).save("small.png")
    Image.new("L", (12, 10), 255).save("white.png")
    Image.new("1", (12, 10), 0).save("black.png")
    Image.new("1", (9000, 8000)).save("huge.png")
    np.save("two.npy", np.zeros((10, 12, 2), np.float32))
    return tmp_path


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_img2img_and_variation(carrara: Command, run: Path, inputs: Path) -> None:
    code, said = carrara("edit", run, "img2img", "a.png", "mask.png", "--prompt", "red", "-n", 2, "--out", "out")
    assert code == 0, said
    assert sorted(path.name for path in Path("out").iterdir()) == [
        *("a-1.png", "a-2.png", "mask-1.png", "mask-2.png", "sheet.png")
    ]
    about = read_recipe(Path("out/a-2.png"))
    assert [image["file"] for image in about["edit"]["images"]] == ["a.png", "mask.png"]
    assert (about["edit"]["verb"], about["edit"]["strength"]) == ("img2img", 0.6)
    assert about["request"]["wishes"] == ["red", "red"]
    assert pixels_of(Path("out/a-1.png")).shape == (8, 8, 3)
    code, said = carrara("edit", run, "variation", "a.png", "-n", 2, "--size", "10x12", "--seed", 1)
    assert code == 0, said
    folder = run / "samples" / "variation"
    assert pixels_of(folder / "a-1.png").shape == (10, 12, 3)
    code, said = carrara("replay", folder / "a-1.png")
    assert code == 0 and "every pixel is the same" in said


@pytest.mark.parametrize("where", [("--mask", "mask.png"), ("--mask", "strokes.png"), ("--box", "4,2,5,4")])
def test_inpainting_keeps_what_is_not_in_the_mask(
    carrara: Command, run: Path, inputs: Path, where: tuple[str, str]
) -> None:
    for _ in range(2):  # nothing is overwritten
        code, said = carrara("edit", run, "inpaint", "a.png", *where, "--resamplings", 2, "-n", 1, "--out", "out")
        assert code == 0, said
        assert "--size 8x8 brings it to that, and --tile 8x8" in said
    assert sorted(path.name for path in Path("out").iterdir()) == ["a-1-2.png", "a-1.png", "sheet-2.png", "sheet.png"]
    before, after, new = pixels_of(Path("a.png")), pixels_of(Path("out/a-1.png")), pixels_of(Path("mask.png")) > 0
    assert np.array_equal(before[~new], after[~new])
    assert (before[new] != after[new]).mean() > 0.9


@pytest.fixture
def filler(carrara: Command, photos: Path, made: Path) -> Path:
    """A run that was trained to fill holes, in pictures that are not square."""
    folder = made / "filler"
    if not folder.exists():
        small = ("data.size=[8, 12]", "train.steps=1", "train.minutes=null", "sample.steps=3")
        code, said = carrara("train", photos, "--preset", "inpaint", "--run", folder, *TINY[1:], *small)
        assert code == 0, said
        awaken(folder)
    return folder


def test_a_model_that_was_trained_to_fill_holes_takes_any_sampler_and_its_own_windows(
    carrara: Command, filler: Path, inputs: Path
) -> None:
    how = ("inpaint", "a.png", "--mask", "mask.png", "-n", 1, "--steps", 6)
    results = []
    for out, sampler in (("a", ()), ("b", ("--sampler", "dpmpp")), ("c", ("--sampler", "euler"))):
        code, said = carrara("edit", filler, *how, *sampler, "--out", out)
        assert code == 0, said
        assert "--tile" not in said and "--size" not in said, "windows of its own size make larger pictures"
        results.append(pixels_of(Path(out, "a-1.png")))
        assert "resamplings" not in read_recipe(Path(out, "a-1.png"))["edit"]
    assert np.array_equal(results[0], results[1]) and not np.array_equal(results[1], results[2])
    code, said = carrara("edit", filler, *how, "--size", "6x6")
    assert code == 0 and "--size 8x12 brings it to that." in said, said
    for option in ("--resamplings", "--jump"):
        code, said = carrara("edit", filler, *how, option, 3)
        assert code == 2 and "fills holes as it was trained to" in said and "Traceback" not in said, said


def test_outpainting_keeps_the_picture(carrara: Command, run: Path, inputs: Path) -> None:
    for how in (("--canvas", "14x16"), ("--margins", "2,2,2,2", "--tile", "8")):
        code, said = carrara("edit", run, "outpaint", "a.png", *how, "--resamplings", 1, "-n", 1, "--out", how[0][2:])
        assert code == 0, said
        after = pixels_of(Path(how[0][2:], "a-1.png"))
        assert after.shape == (14, 16, 3)
        assert np.array_equal(after[2:12, 2:14], pixels_of(Path("a.png")))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("img2im a.png", "'img2im'"),
        ("img2img", "none is named"),
        ("img2img nowhere.png", "no picture 'nowhere.png'"),
        ("img2img huge.png", "more than 64 million"),
        ("img2img two.npy", "2 channels"),
        ("img2img a.png --strength 1.5", "goes from 0"),
        ("img2img a.png --strength 0.1", "more steps"),
        ("img2img a.png --prompt green", "unknown label 'green'"),
        ("img2img a.png -n 0", "ask for at least 1"),
        ("img2img a.png --fast", "no distilled decoder"),
        ("img2img a.png --size 100000", "pictures of 100000x100000 cannot be made"),
        ("img2img a.png --size 0", "pictures of 0x0 cannot be made"),
        ("inpaint a.png --box 0,0,5,5 --size 100000", "pictures of 100000x100000 cannot be made"),
        ("inpaint a.png", "--mask PICTURE or by --box"),
        ("inpaint a.png --mask mask.png --box 1,1,2,2", "one of them only"),
        ("inpaint a.png --mask small.png", "8x8 and the picture 10x12"),
        ("inpaint a.png --mask white.png", "white everywhere"),
        ("inpaint a.png --mask black.png", "black everywhere"),
        ("inpaint a.png --mask two.npy", "cannot be a mask"),
        ("inpaint a.png --box 8,2,5,4", "not within the picture"),
        ("inpaint a.png --box 1,2,3", "say x,y,w,h"),
        ("inpaint a.png --box 0,0,5,5 --sampler dpmpp", "ddim"),
        ("inpaint a.png --box 0,0,5,5 --resamplings 0", "1 or more"),
        ("inpaint a.png --box 0,0,5,5 --feather=-1", "feather of -1"),
        ("inpaint a.png --box 0,0,5,5 --feather 2", "leave --feather out"),
        ("outpaint a.png", "--canvas HEIGHTxWIDTH"),
        ("outpaint a.png --canvas 9x16", "does not hold"),
        ("outpaint a.png --canvas 10x12", "ask for a larger one"),
        ("outpaint a.png --canvas 100000x100000", "cannot be made"),
        ("outpaint a.png --margins 1,2,3", "top,right,bottom,left"),
        ("outpaint a.png --margins 1,-2,3,0", "below 0"),
    ],
)
def test_mistakes(carrara: Command, run: Path, inputs: Path, arguments: str, words: str) -> None:
    before = sorted(path for folder in (run, inputs) for path in folder.rglob("*"))
    code, said = carrara("edit", run, *arguments.split())
    assert code == 2, said
    assert words in said
    assert "Traceback" not in said
    assert said.count("\n") == 1, said
    assert sorted(path for folder in (run, inputs) for path in folder.rglob("*")) == before


def test_help_begins_with_the_run(carrara: Command) -> None:
    for words in (("edit", "runs/a", "inpaint", "--help"), ("edit", "inpaint", "--help")):
        code, said = carrara(*words)
        assert code == 0
        assert "carrara edit RUN inpaint" in said and "--resamplings" in said
    code, said = carrara("edit", "runs/a")
    assert code == 2 and "inpaint|outpaint" in said
