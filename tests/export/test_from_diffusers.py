"""What diffusers wrote draws the same here, and goes back as it was."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pipelines import (
    OURS,
    THEIRS,
    answer,
    drawn,
    exported,
    imported,
    loaded,
    noise_of,
    saved,
    their_answer,
    their_pictures,
    their_pipeline,
)
from safetensors.torch import load_file, save_file

import carrara

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

LABELS, NUMBERS = ("class 5", "class 7"), (5, 7)
WEIGHTS = "diffusion_pytorch_model.safetensors"


def written(kind: str, folder: Path) -> Any:
    pipeline = their_pipeline(kind)
    pipeline.save_pretrained(folder)
    if kind == "transformer":  # as published folders have it
        index = json.loads((folder / "model_index.json").read_text())
        names = {0: "tench, Tinca tinca", 1: "crane", 2: "crane"}
        index["id2label"] = {str(k): names.get(k, f"class {k}") for k in range(1000)}
        (folder / "model_index.json").write_text(json.dumps(index))
    return loaded(folder)


@pytest.mark.parametrize("kind", THEIRS)
def test_the_same_answers_and_pictures(kind: str, tmp_path: Path) -> None:
    pipeline = written(kind, tmp_path / "theirs")
    model = imported(tmp_path / "theirs", tmp_path / "run")
    x, last = noise_of(model, 2), (model.config.schedule.discrete_steps or 0) - 1
    for step in (0, 1, last // 2, last):
        mine, other = answer(model, x, step, LABELS), their_answer(pipeline, x, step, NUMBERS)
        assert (mine - other).abs().max() <= 1e-4 * other.abs().max()
    if kind == "as google's":
        return  # its scheduler is not deterministic
    mine, other = drawn(model, 2, LABELS), their_pictures(pipeline, 2, NUMBERS)
    assert mine.std() > 0.05
    assert (mine - other).abs().max() <= 2 / 255


@pytest.mark.parametrize("kind", THEIRS)
def test_back_again_to_the_bit(kind: str, tmp_path: Path) -> None:
    pipeline = written(kind, tmp_path / "theirs")
    imported(tmp_path / "theirs", tmp_path / "run")
    again = exported(tmp_path / "run", tmp_path / "out")
    assert type(again) is type(pipeline)
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            found, state = getattr(again, name).state_dict(), part.state_dict()
            assert found.keys() == state.keys()
            assert all(torch.equal(value, found[one]) for one, value in state.items())


@pytest.mark.parametrize("kind", ["transformer", "as it comes"])
def test_encoding_and_using_it(kind: str, tmp_path: Path) -> None:
    pipeline = written(kind, tmp_path / "theirs")
    model = imported(tmp_path / "theirs", tmp_path / "run")
    if kind == "transformer":
        assert model.conditioner.column == "label"
        assert model.config.conditioner.classes[:3] == ("tench, Tinca tinca", "crane (1)", "crane (2)")  # pyright: ignore
        x = torch.rand(2, 3, *model.size) * 2 - 1
        with torch.no_grad():
            mine, other = model.first_stage.encode_raw(x), pipeline.vae.encode(x).latent_dist.parameters
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-4 * other.abs().max().item())
    wishes = ["class 5"] if kind == "transformer" else []
    assert len(carrara.load(tmp_path / "run").generate(*wishes, steps=2, count=2)) == 2


def test_shards_half_precision_and_older_names(tmp_path: Path) -> None:
    pipeline = written("as google's", tmp_path / "theirs")
    unet = tmp_path / "theirs" / "unet"
    state = {name: value.half() for name, value in load_file(unet / WEIGHTS).items()}
    older = {"to_q": "query", "to_k": "key", "to_v": "value"}
    renamed = {
        ".".join(older.get(part, part) for part in name.replace("to_out.0", "proj_attn").split(".")): value
        for name, value in state.items()
    }
    (unet / WEIGHTS).unlink()
    names = sorted(renamed)
    places = {name: f"part-{k % 2}.safetensors" for k, name in enumerate(names)}
    for place in set(places.values()):
        save_file({name: renamed[name] for name in names if places[name] == place}, unet / place)
    (unet / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": places}))
    model = imported(tmp_path / "theirs", tmp_path / "run")
    pipeline.unet.load_state_dict({name: value.float() for name, value in state.items()})
    x = noise_of(model, 2)
    mine, other = answer(model, x, 500, ()), their_answer(pipeline, x, 500, ())
    assert (mine - other).abs().max() <= 1e-4 * other.abs().max()


def test_what_was_ours_may_be_taken_as_anybody_s(tmp_path: Path) -> None:
    model = saved(OURS["v"], tmp_path / "run")
    exported(tmp_path / "run", tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "plain")
    (tmp_path / "plain" / "carrara.json").unlink()
    again = imported(tmp_path / "plain", tmp_path / "again")
    assert again.config.backbone.steps == 1000
    assert (drawn(model, 2, ()) - drawn(again, 2, ())).abs().max() <= 2 / 255
