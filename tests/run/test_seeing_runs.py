"""Runs whose models see pictures: in latents with labels, from the command line, measured and reported."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carrara.draw import Ask, result_of
from carrara.draw.verbs import Edited
from carrara.draw.verbs.map import Map
from carrara.errors import UserError
from carrara.medium import Picture
from carrara.run.plan import plan
from carrara.run.session import ModelSaved, Session
from carrara.seeds import torch_generator
from carrara.store import OpenModel, Store, open_model
from tiny import TINY, Command

LATENT = (
    "data.size=16",
    "train.steps=2",
    "train.batch=2",
    "train.precision=float32",
    "preview.every=1",
    "preview.count=3",
    "preview.held_out=2",
    "checkpoint.every=2",
    "sample.steps=2",
    "data.held_out=0.3",
    "autoencoder.first_stage.channels=8",
    "autoencoder.train.steps=2",
    "autoencoder.preview.every=0",
    "model.conditioner=labels",
    "model.image=masked",
)


def trained(source: Path, preset: str, run: Path, *options: str) -> None:
    planned = plan(str(source), preset, run, options)
    with torch_generator(0):
        events = [event for stage in planned.stages for event in Session(stage, torch.device("cpu"))]
    assert isinstance(events[-1], ModelSaved)


def test_a_model_of_latents_sees_encoded_pictures_and_keeps_no_cache(photos: Path, tmp_path: Path) -> None:
    planned = plan(str(photos), "latent", tmp_path / "run", LATENT)
    assert any("encoded at each step" in reason for reason in planned.reasons)
    trained(photos, "latent", tmp_path / "run", *LATENT)
    assert not (tmp_path / "run" / "latents").exists()
    with Image.open(tmp_path / "run" / "samples" / "step-000002.png") as sheet:
        assert sheet.width > 6 * 96
    assert open_model(tmp_path / "run").config.image is not None  # type: ignore[union-attr]


def test_an_upscaler_from_the_command_line(carrara: Command, photos: Path, tmp_path: Path) -> None:
    run, small, other = tmp_path / "run", tmp_path / "small.png", tmp_path / "other.png"
    options = (*TINY, "train.minutes=null", "train.steps=2", "model.image.factor=2", "data.held_out=0.3")
    code, said = carrara("train", photos, "--preset", "upscale-x4", "--run", run, *options)
    assert code == 0, said
    assert f"edit {run} upscale" in said.replace("\n", "")
    Image.fromarray(np.full((6, 9, 3), 90, np.uint8)).save(small)
    Image.fromarray(np.full((8, 4, 3), 90, np.uint8)).save(other)
    noise = ("--noise", "0.5", "--out")
    code, said = carrara("edit", run, "upscale", small, other, "-n", "2", *noise, tmp_path / "out")
    assert code == 0, said
    with Image.open(tmp_path / "out" / "small-2.png") as picture:
        assert picture.size == (18, 12)
        assert carrara("edit", run, "upscale", small, "-n", "1", "--seed", "1", *noise, tmp_path / "alone")[0] == 0
        with Image.open(tmp_path / "alone" / "small-1.png") as alone:
            assert np.abs(np.asarray(picture, int) - np.asarray(alone, int)).max() <= 1
    for arguments, word in (
        (("sample", run), "enlarges pictures"),
        (("edit", run, "map", small), "--preset segmentation"),
        (("edit", run, "upscale"), "none is named"),
        (("edit", run, "upscale", small, "--noise", "1.5"), "noise 1.5 is none"),
        (("edit", run, "upscale", tmp_path / "no.png"), "there is no picture"),
        (("edit", run, "img2img", small), "enlarges pictures"),
    ):
        code, said = carrara(*arguments)
        assert code == 2 and word in said and "Traceback" not in said, said
    code, said = carrara("evaluate", run, "--metrics", "nll")
    assert code == 0, said
    code, said = carrara("evaluate", run, "--report")
    assert code == 0, said
    code, said = carrara("inspect", run)
    assert code == 0 and "Lowres" in said, said


def painted(opened: OpenModel, layout: Path, ask: Ask) -> Edited:
    verb = Map(images=(Picture.read(layout),))
    edited = result_of(verb.run(opened, verb.request(opened, ask)))
    assert isinstance(edited, Edited)
    return edited


def test_a_map_is_painted_over(photos: Path, tmp_path: Path) -> None:
    for path in list(photos.rglob("*.png")):
        Image.fromarray(np.asarray(Image.open(path)) // 128 * 255).save(path.with_suffix(".map.png"))
    options = (*TINY, "train.minutes=null", "train.steps=2")
    trained(photos, "segmentation", tmp_path / "run", *options)
    recipe = json.loads((tmp_path / "run" / "model" / "config.json").read_text())["model"]["image"]
    assert recipe["colours"] == [[0, 0, 0], [0, 0, 255], [255, 0, 0]]
    opened, layout = Store().open(tmp_path / "run"), next(photos.rglob("*.map.png"))
    edited = painted(opened, layout, Ask(count=2, steps=2))
    assert edited.rows[0].results.shape == (2, 3, 8, 8)
    assert edited.rows[0].before.shape == (1, 3, 8, 8)
    for size in (0, 100_000):
        with pytest.raises(UserError, match="cannot be made"):
            painted(opened, layout, Ask(count=1, size=size))
