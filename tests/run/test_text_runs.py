"""From a folder with captions to pictures of prompts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carrara.conditioning import EncodedTextConfig, LearnedTextConfig, TextConditioner
from carrara.conditioning.prompts import read_prompt
from carrara.draw import Ask, collect, draw_variation, read_variation, request, result_of
from carrara.errors import UserError
from carrara.measure.evaluation import measure_run
from carrara.model import DiffusionModel
from carrara.recipe.loading import load
from carrara.run.plan import plan
from carrara.run.session import Session
from carrara.store import OpenModel, Store, open_model, ship, shipped, working_folder
from carrara.train import StepReport

SMALL = (
    "data.size=8",
    "data.held_out=0.4",
    "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], blocks: 1, attention_levels: [1], "
    "transformer_depths: [0, 1], context_width: 0}",
    "train.batch=4",
    "train.minutes=null",
    "train.precision=float32",
    "preview.every=0",
    "sample.steps=2",
)
BLIND = ("model.backbone.transformer_depths=[]", "model.backbone.context_width=null")
TEXT = "model.conditioner={kind: text, width: 8, depth: 1, heads: 1, pieces: 100}"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for k in range(12):
        Image.fromarray(np.full((8, 8, 3), 20 * k, np.uint8)).save(folder / f"{k}.png")
        if k % 6 != 5:
            (folder / f"{k}.txt").write_text(f"a picture with the number {k}", encoding="utf-8")
    return folder


def trained(photos: Path, run: Path, *changes: str) -> DiffusionModel:
    planned = plan(str(photos), "pixel", run, [*SMALL, *changes])
    events = [event for stage in planned.stages for event in Session(stage, torch.device("cpu"))]
    assert any(isinstance(event, StepReport) for event in events)
    model = open_model(run)
    assert isinstance(model, DiffusionModel)
    return model


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "text"
    trained(photos, folder, TEXT, "train.steps=3", "sample.guidance=2")
    return folder


def test_a_folder_with_captions_gets_a_text_encoder(photos: Path, tmp_path: Path) -> None:
    model = trained(photos, tmp_path / "run", "train.steps=2")
    conditioner = model.config.conditioner
    assert isinstance(conditioner, EncodedTextConfig) and conditioner.width == 384 and conditioner.fingerprint
    assert model.config.backbone.context_width == 384
    (kept,) = (tmp_path / "run" / "captions").iterdir()
    assert kept.name == f"encoder-{conditioner.fingerprint}" and len(list(kept.iterdir())) == 1


def test_the_vocabulary_is_in_the_recipe(run: Path) -> None:
    conditioner = load(run / "recipe.yaml").model.conditioner
    assert isinstance(conditioner, LearnedTextConfig)
    assert {"picture", "number"} <= set(conditioner.vocabulary.split(" "))


def test_a_network_that_waits_for_tokens_is_refused_without_them(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the condition has none"):
        trained(photos, tmp_path / "run", "model.conditioner=none", "train.steps=2")


def test_a_network_without_tokens_cannot_be_told_text(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the network looks at no tokens"):
        trained(photos, tmp_path / "run", TEXT, "train.steps=2", *BLIND)


def test_data_without_captions_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "photos" / "a.png")
    with pytest.raises(UserError, match="the data has no captions"):
        plan(str(tmp_path / "photos"), "pixel", tmp_path / "run", ["model.conditioner=encoder"])


@pytest.mark.parametrize("conditioner", ["model.conditioner=encoder", TEXT])
def test_the_same_command_goes_on_where_it_stopped(photos: Path, tmp_path: Path, conditioner: str) -> None:
    said = (conditioner, "train.steps=4", "seed=3", "checkpoint.every=2")
    planned = plan(str(photos), "pixel", tmp_path / "parts", [*SMALL, *said])
    for event in Session(planned, torch.device("cpu")):
        if isinstance(event, StepReport) and event.step == 2:
            break
    parts = trained(photos, tmp_path / "parts", *said)
    vocabulary = getattr(load(tmp_path / "parts" / "recipe.yaml").model.conditioner, "vocabulary", None)
    same = (conditioner.replace("pieces: 100", f"pieces: 100, vocabulary: '{vocabulary}'"), *said[1:])
    whole = trained(photos, tmp_path / "whole", *same)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)


def test_prompts_are_heard(run: Path) -> None:
    opened = Store().open(run)
    prompts = ("a picture", "the (number:1.5) 7")
    x = collect(opened, request(opened, Ask(prompts=prompts, count=2))).values
    assert x.shape == (4, 3, 8, 8)
    alone = collect(opened, request(opened, Ask(prompts=prompts[1:], count=1))).values
    torch.testing.assert_close(x[2:3], alone, atol=1e-5, rtol=1e-4)
    with pytest.raises(UserError, match="number above 0"):
        request(opened, Ask(prompts=("the (number:x) 7",), count=1))


def sheet(opened: OpenModel, ask: Ask, text: str) -> Image.Image:
    return result_of(draw_variation(opened, request(opened, ask), ask.changes, read_variation(text)))


def test_a_sheet_has_a_row_for_each_wish_and_a_column_for_each_value(run: Path) -> None:
    opened, wanted = Store().open(run), Ask(prompts=("a picture", "a number"), count=3)
    one, two = (sheet(opened, wanted, text) for text in ("guidance=2", "guidance=2,4"))
    assert two.height == one.height and two.width > one.width
    assert sheet(opened, wanted, "seed=0,1").size == two.size
    assert sheet(opened, wanted, "sampler=ddim,euler").height == one.height
    avoiding = replace(wanted, negative="a number")
    assert sheet(opened, avoiding, "guidance=1,2").size == two.size


@pytest.mark.parametrize("text", ["guidance", "guidance=", "guidance=1,,2", "=1"])
def test_variations_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="varies nothing"):
        read_variation(text)


def test_unknown_settings_are_refused_with_the_nearest_one() -> None:
    with pytest.raises(UserError, match="guidance"):
        read_variation("guidence=1,2")


def test_what_was_drawn_is_looked_for(run: Path) -> None:
    ((measured, paths),) = measure_run(run, "retrieval", torch.device("cpu"))
    assert 2 <= measured.data["count"] <= 12
    assert measured.data["features"].startswith("efficientnet-lite0")
    assert any("times chance" in line for line in measured.lines)
    assert {path.name for path in paths} == {"retrieval.json", "retrieval.png"}


def test_a_model_that_reads_nothing_cannot_be_looked_for(photos: Path, tmp_path: Path) -> None:
    trained(photos, tmp_path / "run", "train.steps=2", "model.conditioner=none", *BLIND)
    with pytest.raises(UserError, match="does not read captions"):
        list(measure_run(tmp_path / "run", "retrieval", torch.device("cpu")))


def test_a_shipped_model_is_known_by_name(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shipped(Path("mine")) is None
    small = ship(run, tmp_path / "models" / "mine")
    with pytest.raises(UserError, match="not empty"):
        ship(run, tmp_path / "models" / "mine")
    bytes_of = {path.name: path.stat().st_size for path in (tmp_path / "models" / "mine").iterdir()}
    assert bytes_of["denoiser.safetensors"] < 0.7 * (run / "model" / "denoiser.safetensors").stat().st_size
    monkeypatch.setattr("carrara.store.runs.SHIPPED", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    model = open_model(Path("mine"))
    assert model.digest() == small.digest()
    assert working_folder(Path("mine")) == Path("runs/mine-shipped")
    assert working_folder(run) == run
    original = open_model(run)
    for a, b in zip(model.parameters(), original.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=2**-8)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="holds no run"):
        open_model(Path("mine"))


def test_a_folder_with_captions_gets_two_stages(photos: Path, tmp_path: Path) -> None:
    planned = plan(str(photos), None, tmp_path / "run", [])
    assert planned.recipe.preset == "latent" and len(planned.stages) == 2
    assert "the pictures have captions" in planned.reasons[0]
    assert isinstance(planned.recipe.model.conditioner, EncodedTextConfig)
    assert planned.recipe.model.backbone is not None and planned.recipe.model.backbone.context_width == 384
    assert plan(str(photos), "pixel", tmp_path / "other", []).recipe.preset == "pixel"


def test_captions_that_nobody_could_type_end_no_training(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    for k, caption in enumerate(("I ❤ NY 🔥", "a plain one", "(credit: John)", "two (of: them", "")):
        Image.fromarray(np.full((8, 8, 3), 40 * k, np.uint8)).save(folder / f"{k}.png")
        (folder / f"{k}.txt").write_text(caption, encoding="utf-8")
    odd = ("train.steps=2", "preview.every=1", "preview.count=5", "data.held_out=0")
    model = trained(folder, tmp_path / "run", *odd)
    assert isinstance(model.conditioner, TextConditioner)
    assert model.conditioner.as_prompt("I ❤ NY 🔥") is None and model.conditioner.as_prompt("") is None
    prompt = model.conditioner.as_prompt("(credit: John)")
    assert prompt is not None and read_prompt(prompt).text == "(credit: John)" and not read_prompt(prompt).spans
