"""Pictures that earlier versions made are made again: their records had options in groups, and more of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from carrara.draw import replay
from carrara.medium import Picture
from carrara.pixels import read_recipe, save_png
from carrara.store import Store
from small_models import saved
from tiny import Command

AUTOENCODER = {"steps": 9, "layer": 0}
OLD: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "restore": (
        "pixels",
        ["a.png", "--task", "deblur", "--blur", "1.5", "--noise", "3", "-n", "1"],
        {"images": ["a.png"], "spoilt": {"task": "deblur", "factor": 4, "blur": 1.5, "noise": 3.0, "by": "pigdm"}},
    ),
    "inpaint": (
        "latents",
        ["a.png", "--mask", "mask.png", "--resamplings", "2", "--sampler", "ddim", "-n", "1"],
        {
            "image": "a.png",
            "mask": "mask.png",
            "box": None,
            "how": {"resamplings": 2, "jump": 1, "eta": 0.0},
            "feather": 2,
        },
    ),
    "inpaint by a model for it": (
        "masked",
        ["a.png", "--box", "2,2,4,4", "-n", "1"],
        {"image": "a.png", "mask": None, "box": "2,2,4,4", "how": None, "feather": 0},
    ),
    "outpaint": (
        "pixels",
        ["a.png", "--canvas", "14x16", "--resamplings", "2", "--jump", "2", "-n", "1"],
        {
            "image": "a.png",
            "canvas": [14, 16],
            "margins": None,
            "how": {"resamplings": 2, "jump": 2, "eta": 1.0},
            "feather": 0,
        },
    ),
    "rewrite": (
        "pixels",
        ["a.png", "--prompt", "dog", "--refinements", "0", "--steps", "4"],
        {"images": ["a.png"], "source": None, "strength": 1.0, "refinements": 0},
    ),
    "interpolate": (
        "pixels",
        ["--to-seed", "3", "--frames", "2", "--steps", "4"],
        {"images": [], "to": None, "seed": 0, "to_seed": 3, "frames": 2, "refinements": 5},
    ),
    "interpolate in an autoencoder": (
        "autoencoder",
        ["a.png", "b.png", "--frames", "3"],
        {"images": ["a.png", "b.png"], **AUTOENCODER, "steps": 3},
    ),
    "reconstruct": ("autoencoder", ["a.png", "b.png"], {"images": ["a.png", "b.png"], **AUTOENCODER}),
    "traverse": ("vae", ["--steps", "3", "--layer", "1"], {"images": [], "steps": 3, "layer": 1}),
}
"""For each: the kind of model, what it is asked today, and what an earlier version said of it in the files."""


def old(record: dict[str, Any], verb: str) -> dict[str, Any]:
    """A record with files by name and hash."""
    said = dict(record)
    for name in {"images", "image", "mask"} & said.keys():
        match said[name]:
            case str(file):
                said[name] = Picture.read(Path(file)).record
            case list(files):
                said[name] = [Picture.read(Path(file)).record for file in files]
    return {"verb": verb, **said}


@pytest.mark.parametrize("case", OLD)
def test_an_old_record_gives_the_same_pixels(
    carrara: Command, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
    Image.fromarray(picture).save("a.png")
    Image.fromarray(picture[::-1].copy()).save("b.png")
    Image.fromarray((np.indices((10, 12)).sum(0) < 8).astype(np.uint8) * 255).save("mask.png")
    (kind, arguments, record), verb = OLD[case], case.split()[0]
    run, store = saved(kind, tmp_path / "run"), Store()
    code, said = carrara("edit", run, verb, *arguments, "--out", "out")
    assert code == 0, said
    for made in sorted(Path("out").glob("*.png")):
        about = read_recipe(made) | {"edit": old(record, verb)}
        assert about["edit"] != read_recipe(made)["edit"]
        with Image.open(made) as image:
            earlier = save_png(image, Path("earlier") / made.name, about)
        again = replay(earlier, store, None, Path("again") / made.name)
        assert again.identical and read_recipe(again.path) == about
