"""A run of levels: trained, saved, opened, sampled, measured and edited; and what it refuses."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import carrara as package
from carrara.errors import UserError
from carrara.pixels import read_recipe
from carrara.recipe.loading import dump, load
from carrara.run.plan import plan
from carrara.run.session import HeldOut, Session
from carrara.store.runs import open_model
from carrara.toolkit import Toolkit
from carrara.train import StepReport
from tiny import Command, awaken

NETWORK = "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [1], head_width: 8}"
SMALL = (NETWORK, "train.steps=2", "train.minutes=null", "train.batch=8", "train.precision=float32", "preview.count=4")
BRIEF = (*SMALL, "preview.every=2", "preview.held_out=8", "sample.steps=4")


def trained(run: Path, *options: str, preset: str = "digits-absorbing") -> list[Any]:
    planned = plan("digits", preset, run, [*BRIEF, *options])
    return [event for stage in planned.stages for event in Session(stage, torch.device("cpu"))]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("absorbing") / "run"
    events = trained(run)
    losses = [event.loss for event in events if isinstance(event, StepReport)]
    assert len(losses) == 2 and max(abs(loss - np.log(17)) for loss in losses) < 0.5
    (held_out,) = (event for event in events if isinstance(event, HeldOut))
    assert held_out.values.keys() == {"bound"}
    awaken(run)
    return run


@pytest.fixture
def model(made: Path) -> Toolkit:
    return package.load(made)


@pytest.fixture
def digit(tmp_path: Path) -> Path:
    """All levels of grey, some of which are between the 17."""
    path = tmp_path / "digit.png"
    Image.fromarray((np.arange(64).reshape(8, 8) * 4).astype(np.uint8)).save(path)
    return path


def levels_of(x: torch.Tensor) -> torch.Tensor:
    return (x + 1) * 8


def test_samples_are_levels_and_the_same_in_any_batch(model: Toolkit) -> None:
    made = model.samples("3", count=64)
    assert made.shape == (64, 1, 8, 8)
    torch.testing.assert_close(levels_of(made), levels_of(made).round(), rtol=0, atol=1e-5)
    assert len(made.unique(dim=0)) == 64
    assert torch.equal(model.samples("3", count=1, seed=41), made[41:42])
    assert not torch.equal(model.samples("3", count=4, guidance=1.0), made[:4])
    assert len(levels_of(made).round().unique()) > 10


def test_saved_and_opened_it_is_the_same(model: Toolkit, made: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    open_model(made).save(again)
    assert torch.equal(package.load(again).samples("7", count=2), model.samples("7", count=2))
    assert open_model(again).digest() == open_model(made).digest()


@pytest.mark.slow
def test_the_bound_is_measured(model: Toolkit, made: Path) -> None:
    drawn, exact = model.evaluate("nll")["nll"].data, model.evaluate("nll", exact=True)["nll"].data
    for data in (drawn, exact):
        assert data["unit"] == "bits/dim" and data["n"] > 50 and data["error"] > 0
        assert data["nats"] == pytest.approx(data["total"] * 64 * np.log(2))
        assert data["nats_per_dimension"] == pytest.approx(data["nats"] / 64)
    assert drawn["total"] == pytest.approx(exact["total"], abs=0.1)
    with pytest.raises(UserError, match="draws levels, which no flow leads to"):
        model.evaluate("flow")


def test_inpainting_keeps_every_pixel_that_is_known(model: Toolkit, digit: Path) -> None:
    before = np.asarray(Image.open(digit))
    results = model.edit.inpaint(digit, box="2,3,4,2", prompt="8", count=3)
    hole = np.zeros((8, 8), bool)
    hole[3:5, 2:6] = True
    for image in results.images:
        after = np.asarray(image)
        assert (after[~hole] == before[~hole]).all()
        new = after[hole] / 255 * 16
        assert np.abs(new - new.round()).max() < 0.04, "levels"
    assert len({image.tobytes() for image in results.images}) == 3
    with pytest.raises(UserError, match="resamples nothing"):
        model.edit.inpaint(digit, box="2,3,4,2", resamplings=2)


def test_outpainting_and_drawing_again(model: Toolkit, digit: Path) -> None:
    (image,) = model.edit.outpaint(digit, canvas="8x12", count=1).images
    before = np.asarray(Image.open(digit))
    assert (np.asarray(image)[:, 2:10] == before).all()
    nearest = (before / 255 * 16).round()
    kept = []
    for strength in (0.3, 1.0):
        (again,) = model.edit.img2img(digit, strength=strength, steps=20, count=1).images
        kept.append((np.asarray(again) / 255 * 16).round() == nearest)
    assert 0.5 < kept[0].mean() < 0.95 and kept[1].mean() < 0.3


@pytest.mark.parametrize("verb", ["invert", "rewrite", "restore"])
def test_what_goes_by_way_of_noise_is_refused(model: Toolkit, digit: Path, verb: str) -> None:
    said: dict[str, Any] = {"rewrite": {"prompt": "3"}, "restore": {"task": "deblur"}}.get(verb, {})
    with pytest.raises(UserError, match=f"{verb} goes by way of noise, and this model of levels goes from masks"):
        getattr(model.edit, verb)(digit, **said)


def test_other_samplers_and_guidance_are_refused(model: Toolkit) -> None:
    with pytest.raises(UserError, match="goes from masks to levels, and ddim"):
        model.samples("3", sampler="ddim")
    with pytest.raises(UserError, match="product of probabilities"):
        model.samples("3", method="apg")
    with pytest.raises(UserError, match="no straight way from noise"):
        model.distill(steps=2)


def test_the_command_draws_replays_and_reports(carrara: Command, made: Path, digit: Path, tmp_path: Path) -> None:
    assert carrara("sample", made, "3", "-n", 2, "--out", tmp_path / "s")[0] == 0
    about = read_recipe(tmp_path / "s" / "0000.png")
    assert about["request"]["settings"]["sampler"] == {"kind": "absorbing", "remask": 0.0}
    assert "every pixel is the same" in carrara("replay", tmp_path / "s" / "0000.png", "--run", made)[1]
    assert carrara("edit", made, "inpaint", digit, "--box", "2,2,4,4", "-n", 2, "--out", tmp_path / "e")[0] == 0
    where = ("--run", made, "--pictures", tmp_path)
    assert "every pixel is the same" in carrara("replay", tmp_path / "e" / "sheet.png", *where)[1]
    shutil.copytree(made, tmp_path / "copy")
    assert carrara("evaluate", tmp_path / "copy", "--report")[0] == 0
    assert carrara("inspect", made)[0] == 0


def test_a_run_that_was_cut_off_goes_on_to_the_bit(made: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained(run, "train.steps=1", "checkpoint.every=1")
    trained(run, "train.steps=2", "checkpoint.every=1")
    whole = tmp_path / "whole"
    trained(whole, "train.steps=2", "checkpoint.every=1")
    ours, theirs = (open_model(folder).state_dict() for folder in (run, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_without_a_preset_schedule_and_sampler_are_chosen(tmp_path: Path) -> None:
    stage = "model.first_stage={kind: levels, levels: 17}"
    told = ("objective=absorbing", "model.schedule=cosine", stage, "data.size=8")
    planned = plan("digits", "pixel", tmp_path / "run", [*told, *BRIEF, "sample.clip=false"])
    recipe = planned.recipe
    assert (recipe.model.schedule.kind, recipe.sample.sampler.kind) == ("rectified_flow", "absorbing")
    said = " ".join(reason for stage in planned.stages for reason in stage.reasons)
    assert "absorbing, which reveals what is masked" in said and "rectified_flow" in said
    assert load("digits-absorbing").objective.kind == "absorbing" and "levels: 17" in dump(load("digits-absorbing"))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("model.first_stage=identity",), "the first stage makes none: say how many"),
        (("model.schedule=sigmoid",), "the schedule sigmoid masks nothing"),
        (("sample.sampler=ddim",), "goes from masks to levels, and ddim"),
        (("objective={kind: diffusion}", "sample.sampler=ddim"), "diffusion is of numbers"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(options: tuple[str, ...], why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=why):
        trained(tmp_path / "run", *options)


def test_the_sampler_of_masks_is_refused_by_models_of_numbers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is for models of levels"):
        trained(tmp_path / "run", "sample.sampler=absorbing", preset="digits")
