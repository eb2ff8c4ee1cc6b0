"""Every verb of ``carrara edit`` with absurd numbers and with every kind of picture: it works, or it says why not."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from small_models import KINDS, saved
from tiny import Command

DRAWING = ("guidance", "steps", "size", "tile", "seed", "count")
PAINTING = (*DRAWING, "feather", "resamplings", "jump")
ASKING = ("guidance", "steps", "size", "tile")
QUICK = {"steps": 2, "count": 1, "resamplings": 1, "refinements": 0, "frames": 2}
VERBS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "img2img": ("pixels", "PICTURE", ("strength", *DRAWING)),
    "variation": ("pixels", "PICTURE", ("strength", *DRAWING)),
    "upscale": ("lowres", "PICTURE", ("noise", *DRAWING)),
    "map": ("map", "PICTURE", DRAWING),
    "restore": ("pixels", "PICTURE --task upscale --factor 2", ("factor", *DRAWING)),
    "restore ": ("pixels", "PICTURE --task deblur", ("blur", "noise", *DRAWING)),
    "inpaint": ("pixels", "PICTURE --box 0,0,4,4", PAINTING),
    "outpaint": ("pixels", "PICTURE --margins 1,1,1,1", PAINTING),
    "invert": ("pixels", "PICTURE", ("strength", "refinements", *ASKING)),
    "rewrite": ("pixels", "PICTURE --prompt cat", ("strength", "refinements", *ASKING)),
    "interpolate": ("pixels", "PICTURE PICTURE", ("frames", "refinements", *ASKING)),
    "interpolate ": ("pixels", "--to cat", ("frames", "refinements", "seed", "to-seed", *ASKING)),
    "interpolate  ": ("autoencoder", "PICTURE PICTURE", ("frames",)),
    "reconstruct": ("autoencoder", "PICTURE", ()),
    "traverse": ("vae", "", ("steps", "layer")),
}
"""The kind of model, what is asked besides, and the options that are numbers."""
OPTIONS = [(verb, option) for verb, (_, _, options) in VERBS.items() for option in options]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {kind: saved(kind, folder / kind) for kind in KINDS}


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save("a.png")
    return Path("a.png")


def command(runs: dict[str, Path], verb: str, picture: Path, **changes: object) -> Iterator[str]:
    """A quick edit with some options changed."""
    kind, asked, options = VERBS[verb]
    yield from ("edit", str(runs[kind]), verb.strip(), *asked.replace("PICTURE", str(picture)).split())
    quick = {name: value for name, value in QUICK.items() if name in options}
    for name, value in ({"out": "out"} | quick | changes).items():
        yield f"--{name}={value}"


@pytest.mark.parametrize(("verb", "option"), OPTIONS, ids=lambda value: value.strip())
def test_absurd_numbers(carrara: Command, runs: dict[str, Path], photo: Path, verb: str, option: str) -> None:
    refused = 0
    for k, value in enumerate(("0", "-1", "nan", "1000000000", "1" + 30 * "0")):
        code, said = carrara(*command(runs, verb, photo, **{option: value, "out": f"out-{k}"}))
        assert code in (0, 2), f"{value}: {said}"
        assert "Traceback" not in said
        if code == 2:
            refused += 1
            assert said.count("\n") == (2 if "carrara --help" in said else 1), said
            assert not Path(f"out-{k}").exists(), f"{value} left something"
    assert refused, "at least nan is no number"
    assert sorted(path.name for path in Path().iterdir() if not path.name.startswith("out-")) == ["a.png"]


@pytest.fixture
def ramp() -> np.ndarray:
    """(8, 8, 3), whose corners tell how it is turned."""
    rows, columns = np.indices((8, 8), np.uint8)
    return np.stack([rows * 30, columns * 30, np.full_like(rows, 90)], -1)


def written(kind: str, ramp: np.ndarray) -> tuple[Path, np.ndarray]:
    """A file of a kind, and the picture that is in it."""
    image, path = Image.fromarray(ramp), Path(f"a.{'jpg' if kind in ('cmyk', 'turned') else 'png'}")
    grey = np.repeat(ramp[..., :1], 3, -1)
    match kind:
        case "transparent":
            alpha = np.where(np.indices((8, 8))[0] < 4, 0, 255).astype(np.uint8)
            Image.fromarray(np.dstack([ramp, alpha])).save(path)
            return path, np.where(alpha[..., None] == 0, 255, ramp)
        case "palette":
            indexed = Image.fromarray((ramp[..., 0] > 100).astype(np.uint8)).convert("P")
            indexed.putpalette([10, 20, 30, 200, 100, 50])
            indexed.save(path, transparency=0)
            return path, np.where(ramp[..., :1] > 100, (200, 100, 50), 255)
        case "sixteen":
            Image.fromarray(ramp[..., 0].astype(np.uint16) * 257).save(path)
            return path, grey
        case "grey":
            Image.fromarray(ramp[..., 0]).save(path)
            return path, grey
        case "cmyk":
            Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(path, quality=100)
            return path, np.broadcast_to((255, 0, 0), (8, 8, 3))
        case "turned":
            exif = Image.Exif()
            exif[0x0112] = 6
            image.save(path, quality=100, subsampling=0, exif=exif)
            return path, np.rot90(ramp, -1)
        case "moving":
            image.quantize(64).save(path := Path("a.gif"), save_all=True, append_images=[Image.new("L", (8, 8))])
            return path, ramp
        case "point":
            Image.new("RGB", (1, 1), (200, 30, 30)).save(path)
            return path, np.broadcast_to((200, 30, 30), (8, 8, 3))
        case _:
            image.resize((400, 400)).save(path)
            path.write_bytes(path.read_bytes()[:300])
            return path, ramp


KINDS_OF_FILES = ("transparent", "palette", "sixteen", "grey", "cmyk", "turned", "moving", "point", "truncated")


@pytest.mark.parametrize("kind", KINDS_OF_FILES)
def test_every_kind_of_picture(
    carrara: Command, runs: dict[str, Path], photo: Path, ramp: np.ndarray, kind: str
) -> None:
    """At strength 0 it comes back as it is shown: turned, over white. Every other verb takes it, or says why not."""
    path, shown = written(kind, ramp)
    code, said = carrara("edit", runs["pixels"], "img2img", path, "--strength", 0, "-n", 1, "--out", "same")
    if kind == "truncated":
        assert code == 2 and "truncated" in said and said.count("\n") == 1
    else:
        assert code == 0, said
        with Image.open("same/a-1.png") as same:
            error = np.abs(np.asarray(same).astype(int) - shown)
        assert error.max() <= (8 if kind in ("cmyk", "turned", "moving") else 0)
    for verb in [verb for verb, (_, asked, _) in VERBS.items() if "PICTURE" in asked]:
        code, said = carrara(*command(runs, verb, path))
        assert code in (0, 2) and "Traceback" not in said, f"{verb}: {said}"
        if code == 2:
            assert kind in ("truncated", "point", "sixteen") and said.count("\n") == 1, f"{verb}: {said}"
