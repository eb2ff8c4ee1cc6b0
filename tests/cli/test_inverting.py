"""invert, rewrite and interpolate, with a diffusion model that is hardly trained."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carrara import pixels
from carrara.cli import main
from carrara.medium.animation import save_animation
from tiny import TINY, Command

QUICK = ("--steps", 4, "--refinements", 1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    with pytest.raises(SystemExit):
        main(["train", "digits", "--run", str(folder), *TINY, "train.steps=2", "preview.every=0", "train.minutes=null"])
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("L", (8, 8), 90).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_pictures_become_noise_and_others(carrara: Command, run: Path, picture: Path, tmp_path: Path) -> None:
    code, said = carrara("edit", run, "invert", picture, *QUICK, "--out", tmp_path / "there")
    assert code == 0 and "a: made again with" in said and "autoencoder" not in said
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["a-1.png", "a-2.png", "sheet.png"]
    asked = ("--source", "3", "--prompt", "8", "--strength", 0.5)
    assert carrara("edit", run, "rewrite", picture, *asked, *QUICK, "--out", tmp_path / "other")[0] == 0
    about = pixels.read_recipe(tmp_path / "other" / "a-1.png")["edit"]
    assert (about["verb"], about["source"], about["strength"]) == ("rewrite", "3", 0.5)


@pytest.mark.parametrize("ends", [("PICTURE", "PICTURE"), ("--prompt", "3", "--to", "8 | 1"), ("--to-seed", 1)])
def test_a_way_is_a_strip_and_an_animation(
    carrara: Command, run: Path, picture: Path, tmp_path: Path, ends: tuple[object, ...]
) -> None:
    named = [picture if end == "PICTURE" else end for end in ends]
    code, said = carrara("edit", run, "interpolate", *named, *QUICK, "--frames", 4, "--out", tmp_path / "out")
    assert code == 0, said
    name = "a-a" if picture in named else "way"
    assert len(list((tmp_path / "out").glob(f"{name}-*.png"))) == 4
    for kind in ("gif", "webp"):
        with Image.open(tmp_path / "out" / f"{name}.{kind}") as moving:
            assert moving.size == (96, 96)


@pytest.mark.parametrize("kind", ["gif", "webp"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_animation_goes_there_and_back_for_ever(tmp_path: Path, kind: str, channels: int) -> None:
    frames = torch.linspace(-1, 1, 4)[:, None, None, None].expand(4, channels, 8, 8)
    with Image.open(save_animation(frames, tmp_path / f"way.{kind}")) as moving:
        assert moving.info["loop"] == 0
        shades = list[float]()
        for k in range(getattr(moving, "n_frames", 1)):
            moving.seek(k)
            shades.append(np.asarray(moving.convert("RGBA"))[4, 4, 0])
    assert len(shades) == 6
    np.testing.assert_allclose(shades[1:], [85, 170, 255, 170, 85], atol=1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["invert"], "needs a picture"),
        (["invert", "nowhere.png"], "there is no picture"),
        (["invert", "FIVE"], "5 channels"),
        (["invert", "PICTURE", "--strength", 1.5], "strength 1.5 is none"),
        (["invert", "PICTURE", "--strength", 0], "strength 0 leaves"),
        (["invert", "PICTURE", "--refinements", -1], "-1 refinements cannot be"),
        (["invert", "PICTURE", "--prompt", "eleven"], "unknown label 'eleven'"),
        (["rewrite", "PICTURE"], "say what, as in --prompt"),
        (["rewrite", "PICTURE", "--prompt", "3 |"], "says nothing"),
        (["interpolate", "PICTURE"], "between two pictures, and 1"),
        (["interpolate", "PICTURE", "PICTURE", "--to-seed", 3], "bring their own noise"),
        (["interpolate", "PICTURE", "PICTURE", "--seed", 3], "bring their own noise"),
        (["interpolate", "--to", "3", "--refinements", -1], "-1 refinements cannot be"),
        (["interpolate", "--prompt", "3"], "only one end"),
        (["interpolate", "--to", "3", "--frames", 1], "--frames 2 or more"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_mistakes_are_one_sentence(
    carrara: Command, run: Path, picture: Path, tmp_path: Path, arguments: list[object], says: str
) -> None:
    np.save(tmp_path / "five.npy", np.zeros((8, 8, 5), np.uint8))
    named = {"PICTURE": picture, "FIVE": tmp_path / "five.npy"}
    verb, *others = [named.get(str(argument), argument) for argument in arguments]
    code, said = carrara("edit", run, verb, *others, *QUICK[:2])
    assert code == 2 and says in said and "Traceback" not in said
    assert said.count("\n") == 1, said
