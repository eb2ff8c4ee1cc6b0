"""What a newer version wrote is refused in one sentence, whatever else stands in it; nothing said is format 1."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from carrara import pixels
from carrara.data import latents
from carrara.errors import UserError
from carrara.files import read_yaml, sealed
from carrara.measure.account import read_measurements
from carrara.model import load_model
from carrara.recipe.loading import load
from carrara.store import open_model
from carrara.train import checkpoint

RUNS = Path(__file__).parent.parent / "golden" / "runs"
NEW = {"format": 999, "model": "another thing now", "files": [], "run": None, "request": 7, "train": "later"}
SENTENCE = r"^[^\n]*'[^'\n]*' was written by a newer Carrara, in format 999, and this one reads 1: update Carrara"


def config(run: Path) -> None:
    (run / "model" / "config.json").write_text(json.dumps(NEW))
    sealed.seal(run / "model")
    load_model(run / "model")


def manifest(run: Path) -> None:
    (run / "model" / "manifest.json").write_text(json.dumps(NEW))
    open_model(run)


def state(run: Path) -> None:
    kept = checkpoint.save(run / "checkpoints", checkpoint.Checkpoint(step=3, parts={}))
    (kept / "state.json").write_text(json.dumps(NEW))
    sealed.seal(kept)
    checkpoint.load_checkpoint(kept)


def checkpoints_manifest(run: Path) -> None:
    kept = checkpoint.save(run / "checkpoints", checkpoint.Checkpoint(step=3, parts={}))
    (kept / "manifest.json").write_text(json.dumps(NEW))
    checkpoint.latest(run / "checkpoints")


def picture(run: Path) -> None:
    path = pixels.save_png(Image.new("RGB", (8, 8)), run / "new.png", NEW)
    pixels.read_recipe(path)


def cached_latents(run: Path) -> None:
    (run / "latents" / "key").mkdir(parents=True)
    (run / "latents" / "key" / "manifest.json").write_text(json.dumps(NEW))
    latents.has_cache(run / "latents", "key")


def measurement(run: Path) -> None:
    (run / "evaluation").mkdir()
    (run / "evaluation" / "nll.json").write_text(json.dumps(NEW))
    read_measurements(run, "weights")


def recipe(run: Path) -> None:
    (run / "recipe.yaml").write_text(yaml.safe_dump(NEW))
    load(run / "recipe.yaml")


def data_of_a_recipe(run: Path) -> None:
    (run / "recipe.yaml").write_text(yaml.safe_dump(NEW))
    read_yaml(run / "recipe.yaml")


KINDS = (
    *(config, manifest, state, checkpoints_manifest, picture, cached_latents, measurement, recipe, data_of_a_recipe),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RUNS / "sealed-pixel", tmp_path / "run"))


@pytest.mark.parametrize("opens", KINDS, ids=lambda opens: opens.__name__)
def test_what_a_newer_version_wrote_is_refused(run: Path, opens: Callable[[Path], Any]) -> None:
    with pytest.raises(UserError, match=SENTENCE):
        opens(run)


def test_a_recipe_may_say_its_format(run: Path) -> None:
    path = run / "recipe.yaml"
    saying_nothing = load(path)
    path.write_text(f"format: 1\n{path.read_text()}")
    assert load(path) == saying_nothing
    path.write_text(f"format: first\n{path.read_text()}".replace("format: 1\n", ""))
    with pytest.raises(UserError, match="unknown key 'format'"):
        load(path)


def test_what_says_no_format_has_the_first(run: Path) -> None:
    path = run / "model" / "config.json"
    document = json.loads(path.read_text())
    del document["format"]
    path.write_text(json.dumps(document))
    sealed.seal(run / "model")
    assert load_model(run / "model").config == load_model(RUNS / "sealed-pixel" / "model").config
